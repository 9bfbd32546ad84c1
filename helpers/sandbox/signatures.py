"""Which functions of a module have a signature that wasmtime's C API cannot speak of.

Asked for the signature of a function with a vector (v128) in it, wasmtime's C API ends the whole
process (crates/c-api/src/types/val.rs, `crate::abort`). So such functions are looked for in the
bytes, before anybody asks. Reference types beyond funcref and externref do the same; they are
switched off in `helpers.sandbox.compiled`. Format: WebAssembly core specification, chapter 5.
"""

from __future__ import annotations

_TYPE, _IMPORT, _FUNCTION, _EXPORT = 1, 2, 3, 7
_V128 = 0x7B
_FUNC = 0


class _Reader:
    """Numbers and names out of a module that was found valid."""

    def __init__(self, data: bytes, at: int = 8) -> None:
        self.data = data
        self.at = at

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def name(self) -> str:
        size = self.number()
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8", "replace")

    def limits(self) -> None:
        flags = self.number()
        self.number()
        if flags & 1:
            self.number()


def vector_functions(data: bytes) -> tuple[str, ...]:
    """The imported ("module.name") and exported functions that take or give a vector.

    Args:
        data: a core module that wasmtime has found valid.
    """
    sections: dict[int, int] = {}
    reader = _Reader(data)
    while reader.at < len(data):
        kind = data[reader.at]
        reader.at += 1
        size = reader.number()
        sections.setdefault(kind, reader.at)
        reader.at += size
    if _TYPE not in sections:
        return ()
    vectors = _vector_types(_Reader(data, sections[_TYPE]))
    if not vectors:
        return ()
    found, kinds = _imported(_Reader(data, sections[_IMPORT]), vectors) if _IMPORT in sections \
        else ([], [])
    if _FUNCTION in sections:
        reader = _Reader(data, sections[_FUNCTION])
        kinds += [reader.number() for _ in range(reader.number())]
    if _EXPORT in sections:
        reader = _Reader(data, sections[_EXPORT])
        for _ in range(reader.number()):
            name, kind, index = reader.name(), reader.number(), reader.number()
            if kind == _FUNC and kinds[index] in vectors:
                found.append(name)
    return tuple(found)


def _vector_types(reader: _Reader) -> frozenset[int]:
    found = set()
    for number in range(reader.number()):
        reader.at += 1  # 0x60, a function: other kinds of types are switched off
        for _ in "parameters", "results":
            count = reader.number()
            if _V128 in reader.data[reader.at : reader.at + count]:
                found.add(number)
            reader.at += count  # one byte each: the longer ones are switched off
    return frozenset(found)


def _imported(reader: _Reader, vectors: frozenset[int]) -> tuple[list[str], list[int]]:
    found, kinds = [], []
    for _ in range(reader.number()):
        name = f"{reader.name()}.{reader.name()}"
        what = reader.number()
        if what == _FUNC:
            kinds.append(reader.number())
            if kinds[-1] in vectors:
                found.append(name)
        elif what == 3:  # a global: its type and whether it may change
            reader.at += 2
        else:
            reader.at += what == 1  # a table has a type in front of its limits
            reader.limits()
    return found, kinds
