"""YAML as Kubernetes reads it, strictly: what a person could misread is an error with a place.

PyYAML alone takes the last of two equal keys, turns `2025-01-01` into a date, and expands
aliases without limit. Kubernetes turns YAML into JSON first, so here every value is a
JSON value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.resolver import Resolver

from helpers.errors import BadManifest

#: Bytes of one manifest; an API server takes 3 MiB in one request.
MAX_BYTES = 3 * 1024 * 1024
#: Values in one file once its aliases are written out; bookinfo has about 400.
MAX_VALUES = 100_000
#: How deep maps and lists may lie in each other; a Deployment needs 12.
MAX_DEPTH = 60

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_PLAIN = (None, "!", f"{_TAG}map", f"{_TAG}seq")


def parse(text: str, source: str) -> list[tuple[int, Any]]:
    """The documents of `text` that are not empty.

    Args:
        text: YAML, any number of documents.
        source: what to call it in messages.

    Returns:
        For each document the line on which it starts, from 1, and its value: dict, list,
        str, int, float, bool or None.

    Raises:
        BadManifest: not YAML, too large, too deep, or ambiguous; says line and column.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise too_large(source, size)
    return _Builder(text, source).documents()


def too_large(source: str, size: int) -> BadManifest:
    """The error for a manifest of `size` bytes."""
    return BadManifest(
        f"{source} has {size:,} bytes; a manifest may have {MAX_BYTES:,}",
        cause="the API server takes no request over 3 MiB",
        fix="split it; a .wasm belongs into a ConfigMap made with --from-file, not into YAML",
    )


class _Builder:
    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._text = text
        self._events: Iterator[Event] = yaml.parse(text, Loader=_LOADER)
        self._resolver: Any = Resolver()
        self._constructor = SafeConstructor()
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._left = MAX_VALUES

    def documents(self) -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = []
        try:
            for event in self._events:
                if isinstance(event, DocumentStartEvent):
                    self._anchors = {}
                    first = next(self._events)
                    value, _ = self._value(first, 0)
                    if value is not None:
                        found.append((_line(first), value))
                elif isinstance(event, DocumentEndEvent):
                    continue
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from error
        except yaml.reader.ReaderError as error:
            raise BadManifest(
                f"{self._source}: character #x{error.character:04x} at position "
                f"{error.position} is not allowed in YAML",
                cause="a control character, often from a binary file or a word processor",
                fix="remove it, or type the line again in a plain text editor",
            ) from error
        return found

    def _value(self, event: Event, depth: int) -> tuple[Any, int]:
        """The value that starts with `event`, and how many values it is made of."""
        if isinstance(event, AliasEvent):
            name = str(event.anchor)
            if name not in self._anchors:
                raise self._error(event, f"alias *{name} refers to no anchor before it")
            value, size = self._anchors[name]
            self._spend(event, size)
            return value, size
        if depth > MAX_DEPTH:
            raise self._error(event, f"values lie more than {MAX_DEPTH} levels deep")
        self._spend(event, 1)
        tag = getattr(event, "tag", None)
        if not isinstance(event, ScalarEvent) and tag not in _PLAIN:
            raise self._tag(event, str(tag))
        if isinstance(event, ScalarEvent):
            built: tuple[Any, int] = (self._scalar(event), 1)
        elif isinstance(event, SequenceStartEvent):
            built = self._sequence(depth)
        elif isinstance(event, MappingStartEvent):
            built = self._mapping(depth)
        else:
            raise self._error(event, "a value is missing")
        anchor = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = built
        return built

    def _sequence(self, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        total = 1
        while not isinstance(event := next(self._events), SequenceEndEvent):
            value, size = self._value(event, depth + 1)
            items.append(value)
            total += size
        return items, total

    def _mapping(self, depth: int) -> tuple[dict[str, Any], int]:
        own: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        lines: dict[str, int] = {}
        total = 1
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event)
            line = _line(event)
            value, size = self._value(next(self._events), depth + 1)
            total += 1 + size
            if key == "<<" and isinstance(event, ScalarEvent) and event.implicit[0]:
                for each in value if isinstance(value, list) else [value]:
                    if not isinstance(each, dict):
                        raise self._error(event, "<< takes a map or a list of maps")
                    inherited = {**each, **inherited}
                continue
            if key in own:
                raise self._error(
                    event,
                    f'key "{key}" is set twice: on line {lines[key]} and on line {line}',
                    fix="keep one of the two; YAML readers disagree on which one counts",
                )
            own[key] = value
            lines[key] = line
        return {**inherited, **own}, total

    def _key(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._error(event, "a key must be a string, here it is a map, list or alias")
        value = "<<" if event.value == "<<" else self._scalar(event)
        if not isinstance(value, str):
            raise self._error(
                event,
                f"a key must be a string, here {event.value!r} is {_kind(value)}",
                fix=f'put it in quotes: "{event.value}"',
            )
        return value

    def _scalar(self, event: ScalarEvent) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        node = yaml.ScalarNode(tag, event.value)
        kind = tag.removeprefix(_TAG)
        if kind in ("str", "timestamp", "value", "merge"):
            return event.value
        if kind in ("int", "float") and ":" in event.value:
            return event.value  # YAML 1.1's base 60, which Kubernetes does not read
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return self._constructor.construct_yaml_bool(node)
            if kind == "int":
                return self._constructor.construct_yaml_int(node)
            if kind == "float":
                number = self._constructor.construct_yaml_float(node)
                if not math.isfinite(number):
                    raise self._error(event, f"{event.value} cannot be written as JSON")
                return number
        except (KeyError, ValueError) as error:
            raise self._error(event, f"{event.value!r} is no valid {kind}") from error
        raise self._tag(event, tag)

    def _tag(self, event: Event, tag: str) -> BadManifest:
        return self._error(
            event,
            f"the tag {tag} is not allowed in a manifest",
            fix="write plain YAML: strings, numbers, booleans, lists and maps",
        )

    def _spend(self, event: Event, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._error(
                event,
                f"more than {MAX_VALUES:,} values once its aliases are written out",
                cause="aliases of aliases multiply (a 'YAML bomb'), or the file is no manifest",
                fix="write the values out, without anchors",
            )

    def _error(self, event: Event, what: str, *, cause: str = "", fix: str = "") -> BadManifest:
        mark: Any = event.start_mark
        place = f"{self._source}, line {mark.line + 1}, column {mark.column + 1}"
        return BadManifest(f"{place}: {what}", cause=cause, fix=fix)

    def _syntax(self, error: yaml.MarkedYAMLError) -> BadManifest:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        problem = (error.problem or "it is no YAML").strip()
        line = self._text.splitlines()[mark.line : mark.line + 1] if mark else []
        tab = bool(mark and line and line[0][mark.column : mark.column + 1] == "\t")
        context = f" ({error.context.strip()})" if error.context else ""
        return BadManifest(
            f"{self._source}, {place}: {'a tab' if tab else problem}{context}",
            cause="YAML may not be indented with tabs" if tab else "the text is not valid YAML",
            fix="replace the tab by spaces" if tab else "mend that line; mind the indentation "
            "and the space after each colon",
        )


def _line(event: Event) -> int:
    mark: Any = event.start_mark
    return int(mark.line) + 1


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {"bool": "a boolean", "int": "a number", "float": "a number"}[type(value).__name__]
