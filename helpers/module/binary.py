"""Reading the Wasm binary format: sections, imports, exports. Any bytes are taken.

A reader of our own, because a module that Envoy refuses is just what we have to explain: an
engine's parser stops at the first fault with its own words, and takes text and components,
too. Each read is held to its bounds, each count to the bytes that are left, so that hostile
numbers cost neither time nor memory. Format: WebAssembly core specification, chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MAGIC = b"\0asm"
CORE = b"\1\0\0\0"

#: V8 takes no more imports or exports than this; more sections no toolchain makes.
MOST_ENTRIES = 100_000

KINDS = ("func", "table", "memory", "global", "tag")

_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(7)
_EXPORT, _START, _ELEMENT, _CODE, _DATA, _DATA_COUNT, _TAG = range(7, 14)
_ORDER = (_TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _TAG, _GLOBAL, _EXPORT, _START, _ELEMENT,
          _DATA_COUNT, _CODE, _DATA)
_RANK = {number: rank for rank, number in enumerate(_ORDER)}


class Malformed(Exception):
    """The bytes are no Wasm module; the text says where and why."""


@dataclass(frozen=True)
class Import:
    """What a module wants from its host."""

    module: str
    name: str
    kind: str


@dataclass(frozen=True)
class Export:
    """What a module offers to its host."""

    name: str
    kind: str


@dataclass
class Parsed:
    """What was read: custom sections as (name, bytes of content), imports, exports."""

    custom: list[tuple[str, int]] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)


class _Reader:
    """A window of `data` that never reads over its `end`."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self.end = end

    @property
    def left(self) -> int:
        return self.end - self.at

    def byte(self) -> int:
        if self.at >= self.end:
            raise Malformed(f"it ends at byte {self.at}, where more must follow")
        self.at += 1
        return self._data[self.at - 1]

    def skip(self, count: int) -> int:
        """Step over `count` bytes; where they began."""
        if count > self.left:
            raise Malformed(
                f"at byte {self.at} it announces {count:,} bytes, but {self.left:,} are left")
        begun = self.at
        self.at += count
        return begun

    def leb(self, bits: int = 32) -> int:
        """An unsigned LEB128 number of at most `bits` bits."""
        begun, value, shift = self.at, 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift >= bits:
                raise Malformed(f"the number at byte {begun} is longer than {bits} bits")
        if value >> bits:
            raise Malformed(f"the number at byte {begun} is longer than {bits} bits")
        return value

    def count(self, what: str) -> int:
        """How many entries follow; each takes at least one byte."""
        begun, number = self.at, self.leb()
        if number > self.left:
            raise Malformed(
                f"at byte {begun} it announces {number:,} {what}, but {self.left:,} bytes are left")
        if number > MOST_ENTRIES and what in ("imports", "exports"):
            raise Malformed(f"it has {number:,} {what}; V8 takes at most {MOST_ENTRIES:,}")
        return number

    def name(self) -> str:
        size = self.leb()
        begun = self.skip(size)
        try:
            return self._data[begun:begun + size].decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"the name at byte {begun} is not UTF-8") from None

    def window(self, size: int) -> _Reader:
        begun = self.skip(size)
        return _Reader(self._data, begun, begun + size)


def parse(data: bytes) -> Parsed:
    """Read a core module.

    Raises:
        Malformed: it is none; no other exception, whatever the bytes are.
    """
    if data[:8] != MAGIC + CORE:
        raise Malformed("it does not begin with the magic number and version of a core module")
    parsed = Parsed()
    counts: dict[int, int] = {}
    for number, section in _sections(data):
        if number == _CUSTOM:
            name = section.name()
            parsed.custom.append((name, section.left))
            continue
        if number == _START:
            section.leb()
        elif number == _DATA_COUNT:
            counts[number] = section.leb()
        elif number == _IMPORT:
            parsed.imports = [_import(section) for _ in range(section.count("imports"))]
        elif number == _EXPORT:
            parsed.exports = [_export(section) for _ in range(section.count("exports"))]
        else:
            counts[number] = section.count("entries")
            continue  # what is in it is the engine's business
        if section.left:
            raise Malformed(f"section {number} has {section.left} bytes too many")
    bodies, functions = counts.get(_CODE, 0), counts.get(_FUNCTION, 0)
    if bodies != functions:
        raise Malformed(f"it declares {functions:,} functions and has the code of {bodies:,}")
    if counts.get(_DATA_COUNT, counts.get(_DATA, 0)) != counts.get(_DATA, 0):
        raise Malformed("it has fewer or more data segments than it declares")
    return parsed


def _sections(data: bytes) -> Iterator[tuple[int, _Reader]]:
    reader = _Reader(data, 8, len(data))
    last, seen = -1, 0
    while reader.left:
        begun, number = reader.at, reader.byte()
        section = reader.window(reader.leb())
        seen += 1
        if seen > MOST_ENTRIES:
            raise Malformed(f"it has more than {MOST_ENTRIES:,} sections")
        if number != _CUSTOM:
            if number not in _RANK:
                raise Malformed(f"the section at byte {begun} is of an unknown kind, {number}")
            if _RANK[number] <= last:
                raise Malformed(f"section {number} at byte {begun} stands twice or out of order")
            last = _RANK[number]
        yield number, section


def _import(reader: _Reader) -> Import:
    module, name, kind = reader.name(), reader.name(), _kind(reader)
    if kind == "func":
        reader.leb()
    elif kind == "tag":
        reader.byte()
        reader.leb()
    elif kind == "global":
        _value_type(reader)
        reader.byte()
    else:
        if kind == "table":
            _value_type(reader)
        _limits(reader)
    return Import(module, name, kind)


def _export(reader: _Reader) -> Export:
    name, kind = reader.name(), _kind(reader)
    reader.leb()
    return Export(name, kind)


def _kind(reader: _Reader) -> str:
    begun, number = reader.at, reader.byte()
    if number >= len(KINDS):
        raise Malformed(f"byte {begun} names an unknown kind of import or export, {number}")
    return KINDS[number]


def _value_type(reader: _Reader) -> None:
    # 0x63 and 0x64 are references and carry the type that they refer to.
    if reader.byte() in (0x63, 0x64):
        reader.leb(35)


def _limits(reader: _Reader) -> None:
    flags = reader.byte()
    reader.leb(64)
    if flags & 1:
        reader.leb(64)
