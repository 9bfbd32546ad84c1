"""Properties: what a plugin may ask of the request, the node and itself.

Roots and forms are Envoy's (source/extensions/filters/common/expr/context.cc): text as it is,
numbers and times as eight bytes little-endian, truth as one byte, maps as serialised pairs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.sandbox import local, pairs
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
    if isinstance(value, _Named):
        value = value.all()
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
        if isinstance(value, (Mapping, _Named)):
            value = value.get(segment)
        elif isinstance(value, (list, tuple)) and segment.isdecimal() and len(segment) < 10:
            number = int(segment)
            value = value[number] if number < len(value) else None
        else:
            return None
        if value is None:
            return None
    return value


class _Map(dict[str, "Reader"]):
    """A root that Envoy looks up by name but cannot hand over as a whole."""


Reader = Callable[["Context"], Any]


class _Named:
    """Headers by name: any case will do, and several values are one, joined by a comma."""

    def __init__(self, headers: HeaderMap | None) -> None:
        self.headers = headers

    def get(self, name: str) -> bytes | None:
        wanted = as_bytes(name).lower()
        found = [value for have, value in self.pairs() if have == wanted]
        return b",".join(found) if found else None

    def pairs(self) -> list[pairs.Pair]:
        return self.headers.pairs if self.headers is not None else []

    def all(self) -> dict[bytes, bytes]:
        """In the order of the headers; Envoy's own order is one of chance."""
        found: dict[bytes, bytes] = {}
        for name, value in self.pairs():
            found[name] = found[name] + b"," + value if name in found else value
        return found


def _header(name: bytes) -> Reader:
    def read(context: Context) -> bytes | None:
        headers = context.map(0)
        return headers.get(name) if headers is not None else None

    return read


def _path(part: int) -> Reader:
    def read(context: Context) -> bytes | None:
        headers = context.map(0)
        if headers is None:
            return None
        path = headers.get(b":path") or b""
        return path.partition(b"?")[2].partition(b"#")[0] if part else path.partition(b"?")[0]

    return read


def _bytes(*kinds: int) -> Reader:
    def read(context: Context) -> int:
        found = [context.map(kind) for kind in kinds]
        return sum(headers.size() for headers in found if headers is not None)

    return read


def _request_size(context: Context) -> int | None:
    headers = context.map(0)
    length = headers.get(b"content-length") if headers is not None else None
    if length is None:
        size: int = context.stream.request_bytes
        return size
    return int(length) if re.fullmatch(rb"\s*[+-]?\d{1,18}\s*", length) else None


def _response_size(context: Context) -> int:
    return sum(map(len, context.stream.client.body))


def _duration(context: Context) -> int | None:
    stream = context.stream
    return None if stream.finished is None else stream.finished - stream.begun


def _grpc_status(context: Context) -> int | None:
    for kind in (3, 2):
        headers = context.map(kind)
        text = headers.get(b"grpc-status") if headers is not None else None
        if text:
            return int(text) if re.fullmatch(rb"\s*\+?\d{1,9}\s*", text) else -1
    code = context.stream.code
    return None if code is None else local.GRPC_OF_HTTP.get(code, local.GRPC_UNKNOWN)


_ROOTS = {
    "request": _Map({
        "headers": lambda context: _Named(context.map(0)), "headers_bytes": _bytes(0),
        "path": _header(b":path"), "url_path": _path(0), "query": _path(1),
        "host": _header(b":authority"), "scheme": _header(b":scheme"),
        "method": _header(b":method"), "referer": _header(b"referer"),
        "useragent": _header(b"user-agent"), "id": _header(b"x-request-id"),
        "time": lambda context: context.stream.begun,
        "protocol": lambda context: context.stream.protocol,
        "size": _request_size, "duration": _duration,
        "total_size": lambda context: context.stream.request_bytes + _bytes(0)(context),
    }),
    "response": _Map({
        "headers": lambda context: _Named(context.map(2)), "headers_bytes": _bytes(2),
        "trailers": lambda context: _Named(context.map(3)),
        "code": lambda context: context.stream.code,
        "code_details": lambda context: context.stream.details,
        "flags": lambda context: context.stream.flags,
        "grpc_status": _grpc_status, "size": _response_size,
        "total_size": lambda context: _response_size(context) + _bytes(2, 3)(context),
    }),
    "connection": _Map({
        "mtls": lambda context: False, "requested_server_name": lambda context: "",
    }),
    # Of these the sandbox knows nothing but that they are there; `properties` may say more.
    "source": _Map(), "destination": _Map(), "upstream": _Map(), "filter_state": _Map(),
}


def find(path: bytes, context: Context) -> bytes | None:
    """The value at `path` as a guest reads it now; None when there is none.

    What the caller of the sandbox gave comes first.

    Raises:
        SerializationFailure: the value has no form for a guest.
    """
    if not path:
        raise SerializationFailure("nothing was asked for")
    host, segments = context.vm.host, split(path)
    value = host.given.get(".".join(segments))
    if value is None:
        value = walk(host.given, segments)
    if value is None:
        value = _of_host(segments, context, spec=host.spec)
    return None if value is None else serialise(value)


def _of_host(segments: list[str], context: Context, *, spec: bool) -> Any:
    name, rest = segments[0], segments[1:]
    stream, node = context.stream, context.vm.host.node
    if stream is not None:
        root = _ROOTS.get(name)
        if root is not None:
            if not rest:
                raise SerializationFailure(name)
            read = root.get(rest[0])
            found = read(context) if read is not None else None
            return walk(found, rest[1:]) if rest[1:] else found
        if name == "metadata":
            # A message without a field, and a map without an entry.
            return b"" if not rest else {} if rest == ["filter_metadata"] else None
    if name == "xds" and (stream is not None or spec):
        if not rest:
            raise SerializationFailure(name)
        return walk({"node": node}, rest)
    if name == "node" and spec:
        return walk(node, rest)  # Envoy 1.40 knows it as xds.node only
    own = {"plugin_name": context.plugin.name, "plugin_root_id": context.plugin.root_id,
           "plugin_vm_id": context.vm.vm_id}.get(name)
    if own is None and stream is not None and stream.filter_state:
        # A name of several parts can be set, and not be read.
        own = stream.filter_state.get(as_bytes(name))
    return None if own is None or rest else own
