"""One block of a log as bytes: where its lines are, and fast ways to compare and cut spans.

A span is a pair of offsets into the block. Spans are never visited one by one in Python where
many are alike: equal ones are told by comparing them as rows of a matrix, and spans of one
length are cut by gathering them into such a matrix, which is decoded and split as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Texts = npt.NDArray[np.object_]

_PAD = 64  # zeros behind the last line, so that a look a few bytes ahead needs no check
_LONG = 256  # longer spans are seldom alike, and a matrix of them would be large
_FEW = 12  # so few are cut faster one by one
_ROUNDS = 8
_KNOWN = 32


class Block:
    """Whole lines of a log; the last one may lack its line break.

    Attributes:
        a: the bytes, a line break and zeros behind them.
        starts, ends: offsets of each line, without its LF or CRLF.
    """

    def __init__(self, data: bytes, size: int) -> None:
        """The first `size` bytes of `data`, above 0."""
        whole = data[size - 1] == 10
        self.size = size + (not whole)
        self.a: Bytes = np.zeros(self.size + _PAD, dtype=np.uint8)
        self.a[:size] = np.frombuffer(data, dtype=np.uint8, count=size)
        if not whole:
            self.a[size] = 10
        newlines = np.flatnonzero(self.a[: self.size] == 10)
        self.starts: Ints = np.concatenate([np.zeros(1, np.int64), newlines[:-1] + 1])
        self.ends: Ints = newlines
        self.ends -= (newlines > self.starts) & (self.a[np.maximum(newlines - 1, 0)] == 13)

    def all(self, char: bytes) -> Ints:
        """Offsets of every `char`, with far-away sentinels so that look-ups never overrun."""
        return np.append(np.flatnonzero(self.a == ord(char)), np.full(16, len(self.a)))

    def rows(self, low: Ints, size: int) -> Bytes:
        """The `size` bytes from each offset on, as a matrix; they must lie in the block."""
        shape = (max(len(self.a) - size + 1, 0),)
        every: Any = np.ndarray(shape, dtype=f"V{size}", buffer=self.a, strides=(1,))
        rows: Bytes = every[low].view(np.uint8).reshape(-1, size)
        return rows

    def words(self, low: Ints, count: int) -> npt.NDArray[np.uint64]:
        """`count` times eight bytes from each offset on, as little-endian numbers."""
        return self.rows(low, 8 * count).view("<u8")

    def startswith(self, where: Ints, word: bytes) -> Bools:
        """Whether `word` stands at each offset."""
        same = np.ones(len(where), dtype=bool)
        top = len(self.a) - 1
        for shift, code in enumerate(word):
            same &= self.a[np.minimum(where + shift, top)] == code
        return same

    def equal(self, low: Ints, text: bytes) -> Bools:
        """Which offsets `text` stands at; from each of them on it must fit into the block."""
        size = len(text)
        count = -(-size // 8)
        wanted = np.frombuffer(text.ljust(8 * count, b"\0"), dtype="<u8")
        words = self.words(low, count)
        same: Bools = words[:, -1] & np.uint64((1 << 8 * (size - 8 * count + 8)) - 1) == wanted[-1]
        for column in range(count - 1):
            same &= words[:, column] == wanted[column]
        return same

    def bytes(self, low: int, high: int) -> bytes:
        """The bytes from `low` to `high`."""
        return self.a[low:high].tobytes()

    def text(self, low: int, high: int) -> str:
        """The text from `low` to `high`; bytes that are not UTF-8 come out as \\xNN."""
        return self.bytes(low, high).decode("utf-8", "backslashreplace")

    def cut(self, low: Ints, high: Ints) -> Texts:
        """The text between each pair of offsets."""
        found: Texts = np.empty(len(low), dtype=object)
        sizes = np.minimum(high - low, _LONG).astype(np.int16)
        order = np.argsort(sizes, kind="stable")
        borders = np.flatnonzero(np.diff(sizes[order], prepend=-1, append=_LONG + 1))
        for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            rows = order[begin:end]
            size = int(sizes[rows[0]])
            if size == 0:
                found[rows] = ""
                continue
            if size < _LONG and len(rows) >= _FEW:
                matrix = self.rows(low[rows], size + 1)
                matrix[:, -1] = 10
                pieces = matrix.tobytes()[:-1].decode("utf-8", "backslashreplace").split("\n")
                if len(pieces) == len(rows):  # else one of them holds a line break itself
                    found[rows] = pieces
                    continue
            spans = zip(low[rows].tolist(), high[rows].tolist(), strict=True)
            found[rows] = [self.text(*span) for span in spans]
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


class Dictionary:
    """Codes for strings that repeat; code 0 is the empty key."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {"": 0}

    def encode(self, block: Block, low: Ints, high: Ints) -> Ints:
        """The code of the text between each pair of offsets, new texts numbered as they come.

        All that equal the first one are found at once, then all that equal the first of the
        rest. Only what is left after a few such rounds is cut out one by one.
        """
        result = np.zeros(len(low), dtype=np.int64)
        size = high - low
        slow = np.flatnonzero(size >= _LONG)
        left = np.flatnonzero((size > 0) & (size < _LONG))
        for _ in range(_ROUNDS):
            if not len(left):
                break
            begin, end = int(low[left[0]]), int(high[left[0]])
            alike = np.flatnonzero(size[left] == end - begin)
            alike = alike[block.equal(low[left[alike]], block.bytes(begin, end))]
            result[left[alike]] = self.code(block.text(begin, end))
            keep = np.ones(len(left), dtype=bool)
            keep[alike] = False
            left = left[keep]
        for some in (left, slow):
            result[some] = [self.code(text) for text in block.cut(low[some], high[some])]
        return result

    def code(self, text: str) -> int:
        """The code of one text."""
        return self._codes.setdefault(text, len(self._codes))

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of their codes."""
        return list(self._codes)


class Prefix(NamedTuple):
    """How a line begins.

    Attributes:
        kind: what the line is thereby.
        key: what to number it by.
        width: how many bytes it takes.
        stable: whether every line that begins with these bytes is read alike.
    """

    kind: int
    key: bytes
    width: int
    stable: bool


class Prefixes:
    """Reads how lines begin, once for all lines that begin alike."""

    def __init__(self, read: Callable[[bytes], Prefix], keys: Dictionary) -> None:
        self._read, self._keys = read, keys
        self._known: dict[bytes, tuple[int, int]] = {}

    def encode(self, block: Block, low: Ints, high: Ints) -> tuple[Ints, Ints, Ints]:
        """Kind, code of the key and width of the prefix of each span."""
        kinds, codes, widths = (np.zeros(len(low), dtype=np.int64) for _ in range(3))
        left = np.arange(len(low))
        for text, (kind, code) in self._known.items():
            left = self._take(block, low, high, left, text, kind, code, (kinds, codes, widths))
        tries = 0
        while len(left) and tries < _ROUNDS and len(self._known) < _KNOWN:
            tries += 1
            one = left[:1]
            begin = int(low[one[0]])
            found = self._read(block.bytes(begin, int(high[one[0]])))
            code = self._keys.code(found.key.decode("utf-8", "backslashreplace"))
            kinds[one], codes[one], widths[one] = found.kind, code, found.width
            left = left[1:]
            if found.stable and found.width < _LONG:
                text = block.bytes(begin, begin + found.width)
                self._known[text] = found.kind, code
                left = self._take(
                    block, low, high, left, text, found.kind, code, (kinds, codes, widths)
                )
        for row in left.tolist():
            found = self._read(block.bytes(int(low[row]), int(high[row])))
            kinds[row], widths[row] = found.kind, found.width
            codes[row] = self._keys.code(found.key.decode("utf-8", "backslashreplace"))
        return kinds, codes, widths

    @staticmethod
    def _take(
        block: Block, low: Ints, high: Ints, left: Ints, text: bytes, kind: int, code: int,
        into: tuple[Ints, Ints, Ints],
    ) -> Ints:
        same = high[left] - low[left] >= len(text)
        fits = np.flatnonzero(same)
        same[fits] = block.equal(low[left[fits]], text)
        rows = left[same]
        for column, value in zip(into, (kind, code, len(text)), strict=True):
            column[rows] = value
        return left[~same]
