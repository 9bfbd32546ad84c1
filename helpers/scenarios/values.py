"""Texts, bytes, headers and bodies as a scenario writes them.

Each `read_*` takes what YAML gave and raises ValueError with words for the author of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Pairs = tuple[tuple[bytes, bytes], ...]

_ABSENT = "absent"


def readable(data: bytes) -> str:
    """`data` for a person: text where it is UTF-8 that can be printed, else escapes."""
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return "".join(chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in data)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in decoded)


@dataclass(frozen=True)
class Match:
    """What a value has to be: equal to something, matched by a pattern, or absent.

    Attributes:
        kind: "equals", "matches" or "absent".
        data: the bytes, or the pattern's source in UTF-8.
    """

    kind: str
    data: bytes = b""

    def fits(self, seen: bytes | None) -> bool:
        """Whether `seen` (None: it is not there) is what was expected."""
        if self.kind == _ABSENT or seen is None:
            return self.kind == _ABSENT and seen is None
        if self.kind == "equals":
            return seen == self.data
        # A byte that is no UTF-8 stands as a surrogate, which "." matches.
        decoded = seen.decode("utf-8", "surrogateescape")
        return re.search(self.data.decode(), decoded) is not None

    def __str__(self) -> str:
        if self.kind == _ABSENT:
            return _ABSENT
        return f"/{self.data.decode()}/" if self.kind == "matches" else readable(self.data)


def read_value(given: Any) -> bytes:
    """A text, a whole number, or {hex: "59a1"}."""
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given).encode()
    if isinstance(given, Mapping) and set(given) == {"hex"} and isinstance(given["hex"], str):
        try:
            return bytes.fromhex(given["hex"])
        except ValueError:
            raise ValueError(
                f'{given["hex"]!r} is not hexadecimal: write {{hex: "59a1"}}'
            ) from None
    raise ValueError(f'{_shown(given)} is no text: write "text" in quotes, or {{hex: "59a1"}}')


def read_match(given: Any) -> Match:
    """A value that has to be equal, or {matches: REGEX}."""
    if isinstance(given, Match):
        return given
    if isinstance(given, Mapping) and set(given) == {"matches"}:
        return Match("matches", _pattern(given["matches"]).encode())
    if isinstance(given, Mapping) and set(given) != {"hex"}:
        raise ValueError(
            f"{_shown(given)} is no value: write a text, {{matches: REGEX}} or {{hex: \"59a1\"}}"
        )
    return Match("equals", read_value(given))


def read_header(given: Any) -> tuple[Match, ...]:
    """What is expected of a header: absent, one value, or a list of all its values in order."""
    if given == _ABSENT:
        return (Match(_ABSENT),)
    if isinstance(given, list):
        if not given:
            raise ValueError("an empty list expects nothing: write absent")
        return tuple(read_match(each) for each in given)
    return (read_match(given),)


def read_headers_expected(given: Any) -> tuple[tuple[str, tuple[Match, ...]], ...]:
    """A mapping of header names to what is expected of each."""
    if not isinstance(given, Mapping):
        raise ValueError("expected is a mapping: {name: value}")
    return tuple((_lower(name), _of(name, read_header, value)) for name, value in given.items())


def read_trailers_expected(given: Any) -> Any:
    """absent, or a mapping as `read_headers_expected` takes it."""
    return _ABSENT if given == _ABSENT else read_headers_expected(given)


def read_status(given: Any) -> int | str:
    """What is expected as status: a number, reset or paused."""
    if given in ("reset", "paused"):
        return str(given)
    if isinstance(given, int) and not isinstance(given, bool) and 100 <= given <= 999:
        return given
    raise ValueError(f"{_shown(given)} is no status: write a number such as 200, reset or paused")


def read_pairs(given: Any) -> Pairs:
    """Headers to send: {name: value}, {name: [value, value]} or [[name, value], …]."""
    found: list[tuple[bytes, bytes]] = []
    if isinstance(given, Mapping):
        for name, value in given.items():
            for each in value if isinstance(value, list) else [value]:
                found.append((_lower(name).encode(), _of(name, read_value, each)))
    elif isinstance(given, list):
        for each in given:
            if not isinstance(each, list) or len(each) != 2:
                raise ValueError(f"{_shown(each)} is no pair: write [name, value]")
            found.append((read_value(each[0]).lower(), read_value(each[1])))
    else:
        raise ValueError(
            f"{_shown(given)} is neither a mapping {{name: value}} nor a list of [name, value]"
        )
    for name, _ in found:
        if name.startswith(b":") or not name:
            raise ValueError(f'the header {readable(name)!r} cannot be set here: use the fields '
                             "method, path, authority and status")
    return tuple(found)


def read_body(given: Any) -> tuple[bytes, ...]:
    """A body to send, as chunks: a value is one, a list is one for each entry."""
    if isinstance(given, list):
        return tuple(read_value(each) for each in given)
    found = read_value(given)
    return (found,) if found else ()


def read_pattern(given: Any) -> str:
    """A regular expression of Python's."""
    return _pattern(given)


def read_config(given: Any) -> Any:
    """A configuration: a mapping or list (JSON), a text as it is, or {hex: …} for bytes."""
    if isinstance(given, Mapping) and set(given) == {"hex"}:
        return read_value(given)
    if given is None or isinstance(given, str | Mapping | list):
        return given
    raise ValueError(f"{_shown(given)} is no configuration: write a mapping, a list or a text")


def _pattern(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{_shown(given)} is no regular expression: put it in quotes")
    try:
        re.compile(given)
    except re.error as error:
        raise ValueError(f"{given!r} is no regular expression: {error}") from None
    return given


def _lower(name: Any) -> str:
    return str(name).lower()


def _of(name: Any, read: Any, value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _shown(given: Any) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, bool):
        return "true" if given else "false"
    shown = repr(given)
    return shown if len(shown) <= 60 else shown[:59] + "…"
