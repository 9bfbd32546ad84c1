"""Properties: what a plugin may ask of the request, the node and itself.

Roots and forms are Envoy's (source/extensions/filters/common/expr/context.cc): text as it is,
numbers and times as eight bytes little-endian, truth as one byte, maps as serialised pairs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.sandbox import pairs
from helpers.sandbox.headers import HeaderMap, as_bytes, as_text

if TYPE_CHECKING:
    from helpers.sandbox.context import Context


class SerializationFailure(Exception):
    """The value has no form that a guest could read."""


def serialise(value: Any) -> bytes:
    """A value as Envoy hands it to a guest.

    Raises:
        SerializationFailure: a list of lists, None, or another kind.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return as_bytes(value)
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, Mapping):
        return pairs.encode([(serialise(k), serialise(v)) for k, v in value.items()]) or b"\0" * 4
    if isinstance(value, Sequence):
        return pairs.encode([(serialise(v), b"") for v in value]) or b"\0" * 4
    raise SerializationFailure(repr(value))


def split(path: bytes) -> list[str]:
    """The segments of a path; one NUL at its end is tolerated."""
    return as_text(path.removesuffix(b"\0")).split("\0")


def walk(value: Any, segments: Sequence[str]) -> Any:
    """Follow `segments` into maps and lists; None where there is nothing."""
    for segment in segments:
        if isinstance(value, Mapping):
            value = value.get(segment)
        elif isinstance(value, (list, tuple)) and segment.isdecimal() and len(segment) < 10:
            number = int(segment)
            value = value[number] if number < len(value) else None
        else:
            return None
        if value is None:
            return None
    return value


def _named(headers: HeaderMap | None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, value in headers.pairs if headers is not None else ():
        text = as_text(name)
        # A repeated header is one value to an expression, joined with a comma.
        found[text] = found[text] + b"," + value if text in found else value
    return found


def request(context: Context) -> dict[str, Any]:
    """`request.*` as this context may see it now."""
    stream = context.stream
    headers = context.map(0)
    get: Callable[[bytes], bytes | None] = headers.get if headers is not None else lambda n: None
    path = get(b":path")
    found: dict[str, Any] = {
        "path": path, "url_path": path.split(b"?")[0] if path is not None else None,
        "host": get(b":authority"), "scheme": get(b":scheme"), "method": get(b":method"),
        "referer": get(b"referer"), "useragent": get(b"user-agent"), "id": get(b"x-request-id"),
        "query": path.partition(b"?")[2] if path is not None else None,
        "headers": _named(headers) if headers is not None else None,
        "time": stream.begun, "protocol": stream.protocol,
        "size": stream.request_bytes,
    }
    if headers is not None:
        found["total_size"] = stream.request_bytes + headers.size()
    if stream.finished is not None:
        found["duration"] = stream.finished - stream.begun
    return {key: value for key, value in found.items() if value is not None}


def response(context: Context) -> dict[str, Any]:
    """`response.*` as this context may see it now."""
    stream = context.stream
    headers, trailers = context.map(2), context.map(3)
    found: dict[str, Any] = {
        "code": stream.status, "code_details": stream.details, "flags": stream.flags,
        "size": stream.response_bytes,
        "headers": _named(headers) if headers is not None else None,
        "trailers": _named(trailers) if trailers is not None else None,
    }
    return {key: value for key, value in found.items() if value is not None}
