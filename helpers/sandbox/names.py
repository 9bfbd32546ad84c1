"""Readable names of Rust functions out of a module's name section.

Rust marks names in one of two ways: the older `_ZN…E` (lengths and identifiers, then a hash)
and the newer `_R…` (RFC 2603, "v0"). Of the newer only paths are read, types in them shown
short; what cannot be read stays as it is. A module may write what it likes there: names that
refer back to themselves can say terabytes in a line, so that reading is held to a number of steps.
"""

from __future__ import annotations

import re

_HASH = re.compile(r"h[0-9a-f]{16}", re.IGNORECASE)
_LEGACY = {"$SP$": "@", "$BP$": "*", "$RF$": "&", "$LT$": "<", "$GT$": ">", "$LP$": "(",
           "$RP$": ")", "$C$": ",", "..": "::"}
_CODE_POINT = re.compile(r"\$u([0-9a-f]{1,5})\$")
#: What LLVM puts behind a name, such as ".llvm.1234567890".
_TAIL = re.compile(r"\.(llvm\.[0-9A-F@]+|\d+)$")
_DIGITS = re.compile(r"\d+")
_BASIC = {"a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
          "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128",
          "p": "_", "s": "i16", "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64",
          "z": "!"}
_DEEPEST = 60
_MOST_STEPS = 2_000
#: Longer names are cut, marked or not.
_LONGEST = 2_000


def readable_name(name: str) -> str:
    """The function's path as Rust writes it, such as `std::panicking::begin_panic`."""
    if len(name) > _LONGEST:
        return f"{name[:_LONGEST]}…"
    try:
        if name.startswith("_ZN"):
            return _legacy(_TAIL.sub("", name))
        if name.startswith("_R"):
            return _V0(_TAIL.sub("", name)[2:]).path(0)
    except (ValueError, IndexError):
        pass
    return name


def _legacy(name: str) -> str:
    parts: list[str] = []
    at = 3
    while name[at] != "E":
        digits = _DIGITS.match(name, at)
        if digits is None:
            raise ValueError(name)
        at = digits.end() + int(digits[0])
        parts.append(name[digits.end() : at])
    if len(parts) > 1 and _HASH.fullmatch(parts[-1]):
        parts.pop()
    text = "::".join(part.removeprefix("_") if part.startswith("_$") else part for part in parts)
    for mark, sign in _LEGACY.items():
        text = text.replace(mark, sign)
    return _CODE_POINT.sub(lambda found: chr(int(found[1], 16)), text)


class _V0:
    """A reader of one name in the newer marking."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._steps = 0

    def path(self, depth: int) -> str:
        """`path` of the grammar."""
        self._step(depth)
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
        self._step(depth)
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
        if kind == "F":
            return self._function(depth)
        if kind == "D":
            return self._dyn(depth)
        raise ValueError(kind)

    def _function(self, depth: int) -> str:
        """A function pointer, with its types left out."""
        self._binder()
        if self.text[self.at] == "U":
            self.at += 1
        if self.text[self.at] == "K":
            self.at += 1
            if self.text[self.at] == "C":
                self.at += 1
            else:
                self._identifier()
        while self.text[self.at] != "E":
            self._type(depth + 1)
        self.at += 1
        self._type(depth + 1)
        return "fn"

    def _dyn(self, depth: int) -> str:
        self._binder()
        found = []
        while self.text[self.at] != "E":
            found.append(self.path(depth + 1))
            while self.text[self.at] == "p":  # what an associated type is
                self.at += 1
                self._identifier()
                self._type(depth + 1)
        self.at += 1
        if self._take() != "L":
            raise ValueError("no lifetime")
        self._base62()
        return f"dyn {' + '.join(found)}"

    def _binder(self) -> None:
        if self.text[self.at] == "G":
            self.at += 1
            self._base62()

    def _step(self, depth: int) -> None:
        self._steps += 1
        if depth > _DEEPEST or self._steps > _MOST_STEPS:
            raise ValueError("a name that has no end")

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
        foreign = self.text[self.at] == "u"
        self.at += foreign
        digits = _DIGITS.match(self.text, self.at)
        if digits is None:
            raise ValueError("no identifier")
        self.at = digits.end() if digits[0][0] != "0" else self.at + 1
        if self.text[self.at : self.at + 1] == "_":
            self.at += 1
        size = int(digits[0]) if digits[0][0] != "0" else 0
        found = self.text[self.at : self.at + size]
        if len(found) != size:
            raise ValueError("cut short")
        self.at += size
        if not foreign:
            return found
        plain, _, rest = found.rpartition("_")  # Rust's punycode has no hyphen
        return (f"{plain}-{rest}" if plain else rest).encode().decode("punycode")

    def _base62(self) -> int:
        """A number that ends with "_"; alone that is 0."""
        value, first = 0, True
        while (one := self._take()) != "_":
            digit = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".index(one)
            value, first = value * 62 + digit, False
        return 0 if first else value + 1
