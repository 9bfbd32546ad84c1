"""Readable names of Rust functions out of a module's name section.

Rust marks names in one of two ways: the older `_ZN…E` (lengths and identifiers, then a hash)
and the newer `_R…` (RFC 2603, "v0"). Of the newer only paths are read, types in them shown
short; what cannot be read stays as it is.
"""

from __future__ import annotations

import re

_HASH = re.compile(r"h[0-9a-f]{16}", re.IGNORECASE)
_LEGACY = {"$LT$": "<", "$GT$": ">", "$u20$": " ", "$RF$": "&", "$BP$": "*", "$LP$": "(",
           "$RP$": ")", "$C$": ",", "$u7b$": "{", "$u7d$": "}", "..": "::"}
_BASIC = {"a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
          "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128",
          "p": "_", "s": "i16", "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64",
          "z": "!"}
_DEEPEST = 60


def readable_name(name: str) -> str:
    """The function's path as Rust writes it, such as `std::panicking::begin_panic`."""
    try:
        if name.startswith("_ZN"):
            return _legacy(name)
        if name.startswith("_R"):
            return _V0(name[2:]).path(0)
    except (ValueError, IndexError):
        pass
    return name


def _legacy(name: str) -> str:
    parts: list[str] = []
    at = 3
    while name[at] != "E":
        digits = re.match(r"\d+", name[at:])
        if digits is None:
            raise ValueError(name)
        at += len(digits[0])
        part = name[at : at + int(digits[0])]
        at += int(digits[0])
        parts.append(part)
    if len(parts) > 1 and _HASH.fullmatch(parts[-1]):
        parts.pop()
    text = "::".join(part.removeprefix("_") if part.startswith("_$") else part for part in parts)
    for mark, sign in _LEGACY.items():
        text = text.replace(mark, sign)
    return text


class _V0:
    """A reader of one name in the newer marking."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def path(self, depth: int) -> str:
        """`path` of the grammar."""
        if depth > _DEEPEST:
            raise ValueError("too deep")
        kind = self._take()
        if kind == "C":
            return self._identifier()
        if kind == "N":
            space = self._take()
            outer = self.path(depth + 1)
            inner = self._identifier()
            if space.isupper():  # a closure or a shim, which has no name of its own
                return f"{outer}::{{{'closure' if space == 'C' else inner or 'shim'}}}"
            return f"{outer}::{inner}"
        if kind in "MX":
            self._disambiguator()
            self.path(depth + 1)  # where it is implemented says nothing to a reader
        if kind == "M":
            return f"<{self._type(depth + 1)}>"
        if kind in "XY":
            what = self._type(depth + 1)
            return f"<{what} as {self.path(depth + 1)}>"
        if kind == "I":
            outer = self.path(depth + 1)
            while self.text[self.at] != "E":
                self._generic(depth + 1)
            self.at += 1
            return outer
        if kind == "B":
            return self._again(self.path, depth)
        raise ValueError(kind)

    def _generic(self, depth: int) -> None:
        if self.text[self.at] == "L":
            self.at += 1
            self._base62()
        elif self.text[self.at] == "K":
            self.at += 1
            self._const()
        else:
            self._type(depth)

    def _const(self) -> None:
        kind = self._take()
        if kind != "p":
            while self._take() != "_":
                pass

    def _type(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise ValueError("too deep")
        kind = self.text[self.at]
        if kind in _BASIC:
            self.at += 1
            return _BASIC[kind]
        if kind in "CNMXYI":
            return self.path(depth)
        self.at += 1
        if kind == "B":
            return self._again(self._type, depth)
        if kind in "RQ":
            if self.text[self.at] == "L":
                self.at += 1
                self._base62()
            return "&" + self._type(depth + 1)
        if kind in "PO":
            return "*" + self._type(depth + 1)
        if kind in "SA":
            inside = self._type(depth + 1)
            if kind == "A":
                self._const()
            return f"[{inside}]"
        if kind == "T":
            found = []
            while self.text[self.at] != "E":
                found.append(self._type(depth + 1))
            self.at += 1
            return f"({', '.join(found)})"
        raise ValueError(kind)  # function pointers and dyn: rare in what stands on a stack

    def _again(self, read: object, depth: int) -> str:
        """A part that stood further in front."""
        assert callable(read)
        target = self._base62()
        here = self.at
        if target >= here:
            raise ValueError("a reference forward")
        self.at = target
        found = str(read(depth + 1))
        self.at = here
        return found

    def _take(self) -> str:
        one = self.text[self.at]
        self.at += 1
        return one

    def _disambiguator(self) -> None:
        if self.text[self.at] == "s":
            self.at += 1
            self._base62()

    def _identifier(self) -> str:
        self._disambiguator()
        if self.text[self.at] == "u":
            raise ValueError("punycode")
        digits = re.match(r"0|[1-9]\d*", self.text[self.at :])
        if digits is None:
            raise ValueError("no identifier")
        self.at += len(digits[0])
        if self.text[self.at : self.at + 1] == "_":
            self.at += 1
        size = int(digits[0])
        found = self.text[self.at : self.at + size]
        if len(found) != size:
            raise ValueError("cut short")
        self.at += size
        return found

    def _base62(self) -> int:
        """A number that ends with "_"; alone that is 0."""
        value, first = 0, True
        while (one := self._take()) != "_":
            digit = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".index(one)
            value, first = value * 62 + digit, False
        return 0 if first else value + 1
