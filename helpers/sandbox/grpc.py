"""gRPC calls of a plugin: one message out, one back (`proxy_grpc_call`).

What a service answers is plain HTTP, as on the wire: `Reply.grpc(b"…")` makes one. The rules by
which it becomes a message or a status are those of Envoy's gRPC client
(source/common/grpc/async_client_impl.cc), as tried with Envoy 1.40.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from helpers.sandbox.headers import RequestHeaders
from helpers.sandbox.local import GRPC_OF_HTTP, GRPC_UNKNOWN
from helpers.sandbox.pairs import Pair

if TYPE_CHECKING:
    from helpers.sandbox.context import Context
    from helpers.sandbox.records import Reply

#: The two low bits of an id say what kind of call it is.
KIND, CALL, STREAM = 3, 1, 2
_OK, _INTERNAL, _UNAVAILABLE = 0, 13, 14
_NO_SUCH_STATUS = 0xFFFFFFFF
_MOST_STATUS = 16
_FRAME = 5
#: Milliseconds in the units of `grpc-timeout`, and the most of each that fits.
_UNITS = ((b"m", 1), (b"S", 1000), (b"M", 60_000), (b"H", 3_600_000))
_MOST_UNITS = 99_999_999


def frame(message: bytes) -> bytes:
    """A message as it goes over HTTP."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def cluster_of(service: bytes) -> bytes:
    """The cluster that the first argument names: as text, or in a serialised GrpcService."""
    inner = _first_field(service)
    name = _first_field(inner) if inner else None
    return name or service


def _first_field(data: bytes) -> bytes | None:
    """Field 1 of a protobuf message that has nothing else, if it is short."""
    if len(data) > 2 and data[:1] == b"\n" and data[1] == len(data) - 2 < 0x80:
        return data[2:]
    return None


def request(cluster: bytes, service: bytes, method: bytes, metadata: list[Pair],
            timeout: int) -> RequestHeaders:
    """The headers of a call. `timeout` is in milliseconds."""
    headers = RequestHeaders([
        (b":method", b"POST"), (b":path", b"/%s/%s" % (service, method)),
        (b":authority", cluster), (b":scheme", b"http"), (b"te", b"trailers"),
        (b"grpc-timeout", _timeout(timeout)), (b"content-type", b"application/grpc")])
    for name, value in metadata:
        name = name.lower()
        headers.add(name, base64.b64encode(value) if name.endswith(b"-bin") else value)
    return headers


def _timeout(milliseconds: int) -> bytes:
    for unit, size in _UNITS:
        if milliseconds // size <= _MOST_UNITS:
            return b"%d%s" % (milliseconds // size, unit)
    return b"%dH" % _MOST_UNITS


def outcome(reply: Reply | None, details: bytes = b"via_upstream") -> tuple[bytes, int, bytes]:
    """What the plugin is told: message, status, text of the status.

    Args:
        reply: None for a service that was not reached, by the specification.
        details: why the answer came, as the access log has it.
    """
    if reply is None:
        return b"", _UNAVAILABLE, b""
    if reply.cut:
        return b"", _INTERNAL, b""
    found, pieces, trailers = reply.read()
    headers = dict(found)
    body = b"".join(pieces)
    alone = not body and not trailers
    if headers[b":status"] != b"200" and not (alone and b"grpc-status" in headers):
        code = GRPC_OF_HTTP.get(int(headers[b":status"]), GRPC_UNKNOWN)
        # An answer that Envoy made up for the service says what was wrong.
        made_up = details != b"via_upstream"
        return b"", code, body + b"{" + details + b"}" if made_up else details
    messages, broken = _messages(body)
    if broken:
        return b"", _INTERNAL, details
    status, words = _status(headers if alone else dict(trailers))
    if status != _OK:
        return b"", status, words + b"{" + details + b"}" if words else details
    if not messages:
        return b"", _INTERNAL, b""
    return messages[-1], _OK, b""


def _status(headers: dict[bytes, bytes]) -> tuple[int, bytes]:
    given = headers.get(b"grpc-status")
    words = headers.get(b"grpc-message", b"")
    if given is None:
        return GRPC_UNKNOWN, words
    known = given.isdigit() and len(given) < 3 and int(given) <= _MOST_STATUS
    return int(given) if known else _NO_SUCH_STATUS, words


def _messages(body: bytes) -> tuple[list[bytes], bool]:
    """The whole messages in a body; and whether something else stands there."""
    found: list[bytes] = []
    while len(body) >= _FRAME:
        end = _FRAME + int.from_bytes(body[1:_FRAME], "big")
        if body[0]:
            return found, True  # compressed, or no frame at all
        if len(body) < end:
            break
        found.append(body[_FRAME:end])
        body = body[end:]
    return found, bool(body[:1].strip(b"\0"))


def deliver(root: Context, number: int, reply: Reply | None, details: bytes) -> None:
    """Tell the plugin what came of a call."""
    message, status, words = outcome(reply, details)
    if status != _OK:
        root.call_status = (status, words)

    def forget() -> None:
        root.grpc = (None, None, None)
        root.call_status = (root.call_status[0], b"")

    # What the callback asks for comes after that.
    root.vm.deferred.append(forget)
    try:
        if status == _OK:
            root.grpc = (None, message, None)
            root.vm.call("proxy_on_grpc_receive", root, root.id, number, len(message))
        else:
            root.vm.call("proxy_on_grpc_close", root, root.id, number, status)
    finally:
        forget()
