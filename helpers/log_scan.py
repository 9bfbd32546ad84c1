"""Byte-level scan of proxy logs: where each record and each of its fields begins and ends.

Lines are never visited one by one in Python: newlines, tabs, quotes and spaces are found for
a whole block at once and every field is a pair of offsets. Text is cut out only for the
columns that differ from record to record; what repeats (level, logger, source, plugin,
request line, response code and flags) is taken as one key and read once for each distinct
key. `helpers.bench_logs` measures it against a pattern a line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MALFORMED, AGENT, ENVOY, PLUGIN, ACCESS = range(5)
KINDS = ("malformed", "agent", "envoy", "plugin", "access")

#: 9 stands for any digit; the widths are fixed in all three formats.
_SIDECAR = b"9999-99-99T99:99:99.999999Z\t"
_ACCESS = b"[9999-99-99T99:99:99.999Z] \""
_PLAIN = b"[9999-99-99 99:99:99.999]["
_PAD = 64
_ROUNDS = 8
_NS = 1_000_000_000


class Dictionary:
    """Codes for strings that repeat; code 0 is the empty key."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {"": 0}

    def encode(self, block: _Block, low: Ints, high: Ints) -> Ints:
        """The code of the text between each pair of offsets, new texts numbered as they come.

        The texts are compared eight bytes at a time without being cut out: all that equal
        the first one, then all that equal the first of the rest. Only what is left after a
        few such rounds is cut out one by one.
        """
        result = np.zeros(len(low), dtype=np.int64)
        left = np.flatnonzero(high > low)
        for _ in range(_ROUNDS):
            if not len(left):
                return result
            same = block.equal(low[left], high[left])
            result[left[same]] = self._code(block.cut(low[left[:1]], high[left[:1]])[0])
            left = left[~same]
        result[left] = [self._code(text) for text in block.cut(low[left], high[left])]
        return result

    def _code(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of their codes."""
        return list(self._codes)


@dataclass
class Columns:
    """What one block yields, one entry a record; codes refer to the scanner's dictionaries."""

    line: Ints
    lines: Ints
    kind: npt.NDArray[np.int8]
    time: Ints
    thread: Ints
    head: Ints
    prefix: Ints
    request: Ints
    response: Ints
    cluster: Ints
    duration: Ints
    text: npt.NDArray[np.object_]
    user_agent: npt.NDArray[np.object_]
    request_id: npt.NDArray[np.object_]


@dataclass
class _Block:
    """One block of whole lines and the offsets found in it."""

    a: npt.NDArray[np.uint8]
    latin: str
    beyond_ascii: Ints
    starts: Ints
    ends: Ints
    words: npt.NDArray[np.uint64]  # eight bytes from every offset on
    marks: dict[int, Ints] = field(default_factory=dict)

    def at(self, char: str) -> Ints:
        """Offsets of every `char`, with far-away sentinels so that look-ups never overrun."""
        code = ord(char)
        if code not in self.marks:
            found = np.flatnonzero(self.a == code)
            self.marks[code] = np.concatenate([found, np.full(16, len(self.a) + _PAD)])
        return self.marks[code]

    def startswith(self, where: Ints, word: bytes) -> Bools:
        """Whether `word` stands at each offset."""
        same = np.ones(len(where), dtype=bool)
        top = len(self.a) - 1
        for shift, code in enumerate(word):
            same &= self.a[np.minimum(where + shift, top)] == code
        return same

    def equal(self, low: Ints, high: Ints) -> Bools:
        """Which spans hold the same bytes as the first one, itself not empty."""
        begin, size = int(low[0]), int(high[0] - low[0])
        same = np.asarray(high - low == size)
        for shift in range(0, size, 8):
            mask = np.uint64((1 << 8 * min(8, size - shift)) - 1)
            same &= (self.words[low + shift] ^ self.words[begin + shift]) & mask == 0
        return same

    def cut(self, low: Ints, high: Ints) -> list[str]:
        """The text between each pair of offsets, decoded as UTF-8.

        The block is held as Latin-1, one character a byte, so that byte offsets index it;
        bytes that are not UTF-8 come out as \\xNN, which prints everywhere.
        """
        spans = map(slice, low.tolist(), high.tolist())
        found = list(map(self.latin.__getitem__, spans))
        if len(self.beyond_ascii):
            marks = self.beyond_ascii
            for row in np.flatnonzero(np.searchsorted(marks, low) < np.searchsorted(marks, high)):
                found[row] = found[row].encode("latin-1").decode("utf-8", "backslashreplace")
        return found

    def number(self, low: Ints, high: Ints, *, most: int) -> Ints:
        """The decimal number between each pair of offsets; -1 where there is none."""
        value = np.zeros(len(low), dtype=np.int64)
        good = (high > low) & (high - low <= most)
        longest = int(np.max(high - low, initial=0, where=good))
        for shift in range(longest):
            here = low + shift
            inside = here < high
            digit = self.a[np.minimum(here, len(self.a) - 1)].astype(np.int64) - 48
            good &= ~inside | ((digit >= 0) & (digit <= 9))
            value = np.where(inside, value * 10 + digit, value)
        return np.where(good, value, -1)


def _block(data: bytes) -> _Block:
    if not data.endswith(b"\n"):
        data += b"\n"
    body = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(body == 10)
    starts = np.concatenate([np.zeros(1, np.int64), newlines[:-1] + 1])
    ends = newlines.copy()
    ends -= (ends > starts) & (body[np.maximum(ends - 1, 0)] == 13)
    padded = np.frombuffer(data + bytes(_PAD), dtype=np.uint8)
    words = np.ndarray((len(padded) - 8,), dtype="<u8", buffer=padded, strides=(1,))
    return _Block(padded, data.decode("latin-1"), np.flatnonzero(body >= 128), starts, ends, words)


def _fits(block: _Block, lines: Ints, template: bytes) -> tuple[Bools, Ints]:
    """Which of `lines` begin like `template` with a real date, and the time in ns since 1970."""
    first = block.a[block.starts[lines] + np.arange(len(template))[:, None]]
    shape = np.frombuffer(template, dtype=np.uint8)
    is_digit = shape == ord("9")
    values = first[is_digit] - np.uint8(48)  # anything but a digit wraps to above 9
    good = (block.ends[lines] - block.starts[lines]) >= len(template)
    good &= (first[~is_digit] == shape[~is_digit][:, None]).all(axis=0)
    good &= (values <= 9).all(axis=0)

    def number(low: int, high: int) -> Ints:
        total = np.zeros(len(lines), dtype=np.int64)
        for column in range(low, high):
            total = total * 10 + values[column]
        return total

    year, month, day = number(0, 4), number(4, 6), number(6, 8)
    hour, minute, second = number(8, 10), number(10, 12), number(12, 14)
    digits = len(values) - 14
    # datetime64[ns] ends in 2262; a log line from outside that range is not a log line.
    good &= (year >= 1970) & (year <= 2261) & (month >= 1) & (month <= 12)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    first_day = months.astype("M8[D]").astype(np.int64)
    length = (months + 1).astype("M8[D]").astype(np.int64) - first_day
    good &= (day >= 1) & (day <= length) & (hour < 24) & (minute < 60) & (second < 60)
    seconds = (first_day + day - 1) * 86_400 + hour * 3600 + minute * 60 + second
    fraction = number(14, 14 + digits) * 10 ** (9 - digits)
    return good, np.where(good, seconds * _NS + fraction, 0)


class Scanner:
    """Takes a log block by block; the dictionaries are shared by all blocks."""

    def __init__(self) -> None:
        self.heads = Dictionary()
        self.prefixes = Dictionary()
        self.requests = Dictionary()
        self.responses = Dictionary()
        self.clusters = Dictionary()
        self._line = 1

    def scan(self, data: bytes, *, final: bool) -> tuple[Columns, bytes]:
        """The records of `data`, and the bytes to put before the next block.

        The last record may go on in the next block, so unless `final` it is handed back.
        """
        cut = len(data) if final else data.rfind(b"\n") + 1
        if cut == 0:
            return empty(), data
        block, rest = _block(data[:cut]), data[cut:]
        count = len(block.starts)
        kind = np.zeros(count, dtype=np.int8)
        time = np.zeros(count, dtype=np.int64)
        begins = np.zeros(count, dtype=bool)
        body = np.zeros(count, dtype=np.int64)  # where the message begins
        head = np.zeros(count, dtype=np.int64)
        open_ended = np.zeros(count, dtype=bool)

        first = block.a[block.starts]
        for template, byte, reader in (
            (_SIDECAR, None, self._sidecar),
            (_PLAIN, 91, self._plain),
        ):
            chosen = (first >= 48) & (first <= 57) if byte is None else first == byte
            lines = np.flatnonzero(chosen)
            good, when = _fits(block, lines, template)
            lines, when = lines[good], when[good]
            kinds, bodies, keys = reader(block, lines)
            begins[lines], time[lines] = True, when
            kind[lines], body[lines], head[lines] = kinds, bodies, keys
            if byte is not None:
                open_ended[lines] = kinds != MALFORMED  # plain Envoy has no closing mark

        bracket = np.flatnonzero((first == 91) & ~begins)
        good, when = _fits(block, bracket, _ACCESS)
        bracket, when = bracket[good], when[good]
        begins[bracket] = True
        access_good, access = self._access(block, bracket)
        bracket, when = bracket[access_good], when[access_good]
        kind[bracket], time[bracket] = ACCESS, when
        time[kind == MALFORMED] = 0

        thread, mark = _threads(block)
        closes = thread >= 0
        closes &= ~begins | ((kind == ENVOY) & ~open_ended & (mark >= body))
        owner = _owners(begins, closes, (kind == ENVOY), open_ended)
        continues = owner >= 0
        record = np.flatnonzero(~continues)
        if not final and len(record):
            last = record[-1]
            if kind[last] == ENVOY and (open_ended[last] or not closes[last:].any()):
                rest = data[int(block.starts[last]) : cut] + rest
                record = record[:-1]
                count = int(last)
        lasts = np.concatenate([record[1:], [count]]) - 1 if len(record) else record
        columns = self._columns(
            block, record, lasts, kind, time, body, head, thread, mark, closes, bracket, access
        )
        self._line += count
        return columns, rest

    def _sidecar(self, block: _Block, lines: Ints) -> tuple[Ints, Ints, Ints]:
        tabs, spaces = block.at("\t"), block.at(" ")
        ends = block.ends[lines]
        index = np.searchsorted(tabs, block.starts[lines])
        t0, t1, t2 = tabs[index], tabs[index + 1], tabs[index + 2]
        has_level = t1 < ends
        has_scope = has_level & (t2 < ends)
        envoy = has_level & block.startswith(t1 + 1, b"envoy ")
        # pilot-agent leaves its default scope out; a scope is one word.
        one_word = spaces[np.searchsorted(spaces, t1)] > t2
        scoped = has_scope & (envoy | one_word)
        kinds = np.where(envoy, np.where(has_scope, ENVOY, MALFORMED), AGENT)
        kinds = np.where(has_level, kinds, MALFORMED)
        low = t0 + 1
        high = np.where(scoped, t2, t1)
        bad = kinds == MALFORMED
        body = np.where(bad, block.starts[lines], high + 1)
        return kinds, body, self.heads.encode(block, low, np.where(bad, low, high))

    def _plain(self, block: _Block, lines: Ints) -> tuple[Ints, Ints, Ints]:
        closing = block.at("]")
        starts, ends = block.starts[lines], block.ends[lines]
        index = np.searchsorted(closing, starts)
        b1, b2, b3 = closing[index + 1], closing[index + 2], closing[index + 3]
        good = b3 + 1 < ends
        good &= block.number(starts + 26, b1, most=10) >= 0
        good &= block.startswith(b1, b"][") & block.startswith(b2, b"][")
        good &= block.startswith(b3, b"] ")
        with_source = good & block.startswith(b3, b"] [")
        b4 = closing[index + 4]
        with_source &= (b4 < ends) & block.startswith(b4, b"] ")
        high = np.where(with_source, b4, b3)
        body = np.where(good, high + 2, starts)
        codes = self.heads.encode(block, b1 + 2, np.where(good, high + 1, 0))
        return np.where(good, ENVOY, MALFORMED), body, codes

    def _access(self, block: _Block, lines: Ints) -> tuple[Bools, dict[str, Any]]:
        quotes, spaces = block.at('"'), block.at(" ")
        ends = block.ends[lines]
        low = np.searchsorted(quotes, block.starts[lines])
        high = np.searchsorted(quotes, ends)
        # Envoy does not escape quotes, and a client may put them in its User-Agent: fields
        # are counted from both ends of the line and what is too much belongs to that header.
        good = high - low >= 14
        lines, ends, low, high = lines[good], ends[good], low[good], high[good]
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
        self, block: _Block, record: Ints, lasts: Ints, kind: npt.NDArray[np.int8], time: Ints,
        body: Ints, head: Ints, thread: Ints, mark: Ints, closes: Bools, bracket: Ints,
        access: dict[str, Any],
    ) -> Columns:
        count = len(record)
        kinds = kind[record].copy()
        low = np.where(kinds == MALFORMED, block.starts[record], body[record])
        closed = (kinds == ENVOY) & closes[lasts]
        high = np.where(closed, np.maximum(mark[lasts], low), block.ends[lasts])
        threads = np.where(closed, thread[lasts], -1)

        # A plugin's own line reads: wasm log NAME[ ROOT_ID]: TEXT
        prefix = np.zeros(count, dtype=np.int64)
        maybe = np.flatnonzero(kinds == ENVOY)
        maybe = maybe[block.startswith(low[maybe], b"wasm log")]
        colons = block.at(":")
        colon = colons[np.searchsorted(colons, low[maybe])]
        fits = (colon < high[maybe]) & block.startswith(colon, b": ")
        follows = block.a[np.minimum(low[maybe] + 8, len(block.a) - 1)]
        fits &= (follows == 32) | (follows == 58)
        maybe, colon = maybe[fits], colon[fits]
        kinds[maybe] = PLUGIN
        prefix[maybe] = self.prefixes.encode(block, low[maybe] + 8, colon)
        low[maybe] = np.minimum(colon + 2, high[maybe])

        result = empty(count)
        result.line, result.lines = record + self._line, lasts - record + 1
        result.kind, result.time, result.thread = kinds, time[record], threads
        result.head, result.prefix = head[record], prefix
        # An access line's text would only repeat its columns.
        wanted = np.flatnonzero(kinds != ACCESS)
        result.text[wanted] = block.cut(low[wanted], high[wanted])
        where = np.searchsorted(record, bracket)  # each access line is a record of its own
        for name, values in access.items():
            getattr(result, name)[where] = values
        return result


def empty(count: int = 0) -> Columns:
    """Columns of `count` records with nothing in them yet."""
    def codes(value: int = 0) -> Ints:
        return np.full(count, value, dtype=np.int64)

    def texts() -> npt.NDArray[np.object_]:
        return np.full(count, None, dtype=object)

    return Columns(
        line=codes(), lines=codes(), kind=np.zeros(count, dtype=np.int8), time=codes(),
        thread=codes(-1), head=codes(), prefix=codes(), request=codes(), response=codes(),
        cluster=codes(), duration=codes(-1), text=texts(), user_agent=texts(), request_id=texts(),
    )


def _threads(block: _Block) -> tuple[Ints, Ints]:
    """The thread of each line's closing mark or -1, and the mark's offset."""
    tabs = block.at("\t")
    index = np.searchsorted(tabs, block.ends) - 1
    mark = np.where(index >= 0, tabs[np.maximum(index, 0)], -1)
    thread = np.full(len(block.ends), -1, dtype=np.int64)
    near = np.flatnonzero(mark >= block.starts)
    near = near[block.startswith(mark[near] + 1, b"thread=")]
    thread[near] = block.number(mark[near] + 8, block.ends[near], most=10)
    return thread, mark


def _owners(begins: Bools, closes: Bools, envoy: Bools, open_ended: Bools) -> Ints:
    """For each line that goes on with a message, the line where it began; -1 for the others."""
    count = len(begins)
    index = np.arange(count)
    start = np.maximum.accumulate(np.where(begins, index, -1))
    known = start >= 0
    at = np.maximum(start, 0)
    closed = np.cumsum(closes)
    # Closing marks from the first line up to the line before this one.
    before: Ints = closed - closes - (closed[at] - closes[at])
    is_open = open_ended[at] | ((before == 0) & envoy[at])
    return np.where(~begins & known & is_open, start, -1)
