"""What plugins changed in a message, and text that anybody can read and nobody can forge with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from helpers.sandbox.headers import Headers, as_text
from helpers.sandbox.records import Message

MOST_SHOWN = 300
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_WORDS = {" ": "same", "+": "added", "~": "changed", "-": "removed"}


@dataclass(frozen=True)
class Change:
    """One header, trailer or body on both sides of the plugins.

    Attributes:
        sign: " " as it was, "+" added, "~" changed, "-" removed.
        part: "header", "body" or "trailer".
        before, after: readable; None where it was not there.
    """

    sign: str
    part: str
    name: str
    before: str | None
    after: str | None

    @property
    def word(self) -> str:
        """The sign in words: "same", "added", "changed" or "removed"."""
        return _WORDS[self.sign]


def readable(text: str, most: int = MOST_SHOWN) -> str:
    r"""Text in one line: a byte that is no UTF-8 as \xNN, whatever cannot be seen as an escape.

    Args:
        most: longer text is cut there, and says how long it is.
    """
    cut = text[:most]
    shown = cut if cut.isprintable() else "".join(map(_character, cut))
    return shown if len(text) <= most else f"{shown}… ({len(text):,} characters)"


def paragraph(text: str, most: int = 4000) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(readable(line, most) for line in text.split("\n"))


def body(data: bytes) -> str:
    """A body in one line, with its size."""
    if not data:
        return "(empty)"
    unit = "byte" if len(data) == 1 else "bytes"
    start = readable(as_text(data[:MOST_SHOWN]))
    return f"{start}{'…' if len(data) > MOST_SHOWN else ''} ({len(data):,} {unit})"


def between(before: Message | None, after: Message | None) -> list[Change]:
    """What became of a message; with one side unknown, the other as it is."""
    if before is None or after is None:
        one = before or after
        return [] if one is None else [*_same(one)]
    found = list(_headers("header", before.headers, after.headers))
    if before.body or after.body:
        sign = " " if before.body == after.body else "~"
        if sign == "~" and not (before.body and after.body):
            sign = "-" if before.body else "+"
        found.append(Change(sign, "body", "body", body(before.body), body(after.body)))
    empty = Headers()
    found.extend(_headers("trailer", before.trailers or empty, after.trailers or empty))
    return found


def _same(message: Message) -> Iterator[Change]:
    for part, headers in (("header", message.headers), ("trailer", message.trailers)):
        if part == "trailer" and message.body:
            yield Change(" ", "body", "body", body(message.body), body(message.body))
        for name, value in headers.items() if headers is not None else ():
            yield Change(" ", part, readable(name), readable(value), readable(value))


def _headers(part: str, before: Headers, after: Headers) -> Iterator[Change]:
    """By name, in the order of the first side, what is new behind."""
    for name in dict.fromkeys([*before, *after]):
        had, has = before.all(name), after.all(name)
        for tag, i, j, k, m in SequenceMatcher(None, had, has, autojunk=False).get_opcodes():
            for old, new in zip_longest(had[i:j], has[k:m]):
                if tag == "equal":
                    sign = " "
                else:
                    sign = "+" if old is None else "-" if new is None else "~"
                yield Change(sign, part, readable(name),
                             None if old is None else readable(old),
                             None if new is None else readable(new))


def _character(one: str) -> str:
    if one.isprintable():
        return one
    code = ord(one)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte itself
        return f"\\x{code - 0xDC00:02x}"
    if one in _ESCAPES:
        return _ESCAPES[one]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def argument(value: Any, most: int = 100) -> str:
    """An argument of a call: text in quotes, pairs as NAME: VALUE, numbers as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{readable(value, most)}"'
    if isinstance(value, list):
        inside = ", ".join(f"{readable(n, 60)}: {readable(v, 60)}" for n, v in value)
        return f"{{{readable(inside, most)}}}"
    return str(value)
