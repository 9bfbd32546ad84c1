"""Byte-level scan of proxy logs: where each record and each of its fields begins and ends.

Lines are never visited one by one in Python: line breaks, quotes and spaces are found for a
whole block at once and every field is a pair of offsets. Text is cut out only for the columns
that differ from record to record; what repeats (level, logger, source, plugin, request line,
response code and flags) is taken as one key and read once for each distinct key.
`helpers.bench_logs` measures it against a pattern a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers import log_heads, log_stamp
from helpers.log_block import Block, Bools, Dictionary, Ints, Prefixes, Texts
from helpers.log_heads import ACCESS, ENVOY, KINDS, MALFORMED, PLUGIN

__all__ = ["ACCESS", "ENVOY", "KINDS", "MALFORMED", "PLUGIN", "Columns", "Scanner", "empty"]

Codes = npt.NDArray[np.int32]
_MARK = b"\tthread="


@dataclass
class Columns:
    """What one block yields, one entry a record; codes refer to the scanner's dictionaries."""

    line: Ints
    lines: Codes
    kind: npt.NDArray[np.int8]
    time: Ints
    thread: Ints
    head: Codes
    prefix: Codes
    request: Codes
    response: Codes
    cluster: Codes
    duration: Ints
    text: Texts
    user_agent: Texts
    request_id: Texts


def empty(count: int = 0) -> Columns:
    """Columns of `count` records with nothing in them yet."""

    def numbers(value: int = 0) -> Ints:
        return np.full(count, value, dtype=np.int64)

    def codes() -> Codes:
        return np.zeros(count, dtype=np.int32)

    def texts() -> Texts:
        return np.full(count, np.nan, dtype=object)

    return Columns(
        line=numbers(), lines=codes(), kind=np.zeros(count, dtype=np.int8), time=numbers(),
        thread=numbers(-1), head=codes(), prefix=codes(), request=codes(), response=codes(),
        cluster=codes(), duration=numbers(-1), text=texts(), user_agent=texts(),
        request_id=texts(),
    )


class _Lines:
    """What is known of each line of one block."""

    def __init__(self, block: Block) -> None:
        count = len(block.starts)
        self.kind = np.zeros(count, dtype=np.int8)
        self.time = np.zeros(count, dtype=np.int64)
        self.begins = np.zeros(count, dtype=bool)  # starts a record of its own
        self.body = block.starts.copy()  # where the message begins
        self.head = np.zeros(count, dtype=np.int64)
        self.open_ended = np.zeros(count, dtype=bool)  # no mark will close the message


class Scanner:
    """Takes a log block by block; the dictionaries are shared by all blocks."""

    def __init__(self) -> None:
        self.heads = Dictionary()
        self.prefixes = Dictionary()
        self.requests = Dictionary()
        self.responses = Dictionary()
        self.clusters = Dictionary()
        self._sidecar = Prefixes(log_heads.sidecar, self.heads)
        self._plain = Prefixes(log_heads.plain, self.heads)
        self._plugin = Prefixes(log_heads.plugin, self.prefixes)
        self._line = 1

    def scan(self, data: bytes, *, final: bool) -> tuple[Columns, bytes]:
        """The records of `data`, and the bytes to put before the next block.

        The last record may go on in the next block, so unless `final` it is handed back.
        """
        cut = len(data) if final else data.rfind(b"\n") + 1
        if cut == 0:
            return empty(), data
        block, rest = Block(data, cut), data[cut:]
        lines = _Lines(block)
        first = block.a[block.starts]
        digit = np.flatnonzero((first >= 48) & (first <= 57))
        self._own(block, lines, digit, self._sidecar, log_heads.SIDECAR_SHAPE)
        bracket = np.flatnonzero(first == 91)
        plain = block.a[np.minimum(block.starts[bracket] + 11, block.size)] == 32
        self._own(block, lines, bracket[plain], self._plain, log_heads.PLAIN_SHAPE)

        bracket = bracket[~plain]
        good, when = log_stamp.read(block, bracket, log_heads.ACCESS_SHAPE)
        bracket, when = bracket[good], when[good]
        lines.begins[bracket] = True
        good, access = self._access(block, bracket)
        bracket = bracket[good]
        lines.kind[bracket], lines.time[bracket] = ACCESS, when[good]

        thread, mark = _threads(block)
        envoy = lines.kind == ENVOY
        closes = thread >= 0
        closes &= ~lines.begins | (envoy & ~lines.open_ended & (mark >= lines.body))
        record = np.flatnonzero(~_continues(lines, closes, envoy))
        count = len(block.starts)
        if not final and len(record):
            last = record[-1]
            if envoy[last] and (lines.open_ended[last] or not closes[last:].any()):
                rest = data[int(block.starts[last]) : cut] + rest
                record = record[:-1]
                count = int(last)
        lasts = np.append(record[1:], count) - 1 if len(record) else record
        columns = self._columns(block, lines, record, lasts, thread, mark, closes)
        where = np.searchsorted(record, bracket)  # each access line is a record of its own
        for name, values in access.items():
            getattr(columns, name)[where] = values
        self._line += count
        return columns, rest

    def _own(
        self, block: Block, lines: _Lines, which: Ints, heads: Prefixes, shape: bytes
    ) -> None:
        """Read those of the lines `which` that begin like Envoy's or pilot-agent's own."""
        good, when = log_stamp.read(block, which, shape)
        which, when = which[good], when[good]
        low = block.starts[which] + len(shape)
        kinds, codes, widths = heads.encode(block, low, block.ends[which])
        known = kinds != MALFORMED
        lines.begins[which] = True
        lines.kind[which], lines.head[which] = kinds, codes
        which = which[known]
        lines.time[which], lines.body[which] = when[known], (low + widths)[known]
        lines.open_ended[which] = heads is self._plain

    def _access(self, block: Block, lines: Ints) -> tuple[Bools, dict[str, Any]]:
        """Which lines are an access line in whole, and their columns."""
        if not len(lines):
            return np.zeros(0, dtype=bool), {}
        quotes, spaces = block.all(b'"'), block.all(b" ")
        ends = block.ends[lines]
        low = np.searchsorted(quotes, block.starts[lines])
        high = np.searchsorted(quotes, ends)
        # Envoy does not escape quotes, and a client may put them in its User-Agent: fields
        # are counted from both ends of the line and what is too much belongs to that header.
        good = high - low >= 14
        ends, low, high = ends[good], low[good], high[good]
        q = [quotes[low + i] for i in range(7)] + [quotes[high - i] for i in range(7, 0, -1)]
        after = np.searchsorted(spaces, q[1])
        four = (spaces[after] == q[1] + 1) & (spaces[after + 4] == q[2] - 1)
        sizes = np.searchsorted(spaces, q[3])
        four &= (spaces[sizes] == q[3] + 1) & (spaces[sizes + 4] == q[4] - 1)
        tail = np.searchsorted(spaces, q[13])
        four &= (spaces[tail] == q[13] + 1) & (spaces[tail + 5] < ends)
        code = block.number(spaces[after] + 1, np.minimum(spaces[after + 1], q[2]), most=3)
        four &= code >= 0
        good[good] = four
        if not four.all():
            q = [offsets[four] for offsets in q]
            after, sizes, tail = after[four], sizes[four], tail[four]
        return good, {
            "request": self.requests.encode(block, q[0] + 1, q[1]),
            "response": self.responses.encode(block, q[1] + 2, q[2] - 1),
            "cluster": self.clusters.encode(block, spaces[tail] + 1, spaces[tail + 1]),
            "duration": block.number(spaces[sizes + 2] + 1, spaces[sizes + 3], most=12),
            "user_agent": block.cut(q[6] + 1, q[7]),
            "request_id": block.cut(q[8] + 1, q[9]),
        }

    def _columns(
        self, block: Block, lines: _Lines, record: Ints, lasts: Ints, thread: Ints, mark: Ints,
        closes: Bools,
    ) -> Columns:
        kinds = lines.kind[record]
        low = lines.body[record]
        closed = (kinds == ENVOY) & closes[lasts]
        # A message may end in a line break; its mark then stands alone on the last line.
        alone = closed & (lasts > record) & (mark[lasts] == block.starts[lasts])
        closing = np.where(alone, block.ends[lasts - 1], mark[lasts])
        high = np.where(closed, np.maximum(closing, low), block.ends[lasts])

        prefix = np.zeros(len(record), dtype=np.int64)
        maybe = np.flatnonzero((kinds == ENVOY) & (high - low >= len(b"wasm log: ")))
        maybe = maybe[block.equal(low[maybe], b"wasm log")]
        found, prefix[maybe], widths = self._plugin.encode(block, low[maybe], high[maybe])
        kinds[maybe[found == PLUGIN]] = PLUGIN
        low[maybe] += widths

        result = empty(len(record))
        result.line, result.lines[:] = record + self._line, lasts - record + 1
        result.kind, result.time = kinds, lines.time[record]
        result.thread[closed] = thread[lasts[closed]]
        result.head[:], result.prefix[:] = lines.head[record], prefix
        # An access line's text would only repeat its columns.
        wanted = np.flatnonzero(kinds != ACCESS)
        result.text[wanted] = block.cut(low[wanted], high[wanted])
        return result


def _threads(block: Block) -> tuple[Ints, Ints]:
    """The thread of each line's closing mark or -1, and the mark's offset."""
    count = len(block.ends)
    thread, mark = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    room = block.ends - block.starts - len(_MARK)  # for digits
    left = np.flatnonzero(room > 0)
    value = np.zeros(len(left), dtype=np.int64)
    for shift in range(1, 11):
        # The number is read from its last digit on, by those lines that still have one.
        digit = block.a[block.ends[left] - shift].astype(np.int64) - 48
        more = (digit >= 0) & (digit <= 9) & (room[left] >= shift)
        left, value = left[more], value[more] + digit[more] * 10 ** (shift - 1)
        place = block.ends[left] - shift - len(_MARK)
        ready = block.a[place] == _MARK[0]
        ready[ready] = block.equal(place[ready], _MARK)
        thread[left[ready]], mark[left[ready]] = value[ready], place[ready]
        left, value = left[~ready], value[~ready]
        if not len(left):
            break
    return thread, mark


def _continues(lines: _Lines, closes: Bools, envoy: Bools) -> Bools:
    """Which lines go on with the message of a line before."""
    index = np.arange(len(closes))
    start = np.maximum.accumulate(np.where(lines.begins, index, -1))
    at = np.maximum(start, 0)
    closed = np.cumsum(closes)
    # Closing marks from the first line up to the line before this one.
    before: Ints = closed - closes - (closed[at] - closes[at])
    is_open = lines.open_ended[at] | ((before == 0) & envoy[at])
    goes_on: Bools = ~lines.begins & (start >= 0) & is_open
    return goes_on
