"""What Envoy makes of a local reply (source/common/http/utility.cc, prepareLocalReply).

As tried with Envoy 1.40: which headers a plugin may give, which are overwritten, in what order
they stand, and how a gRPC client gets to know of it.
"""

from __future__ import annotations

from helpers.sandbox.headers import HeaderMap, ResponseHeaders
from helpers.sandbox.records import LocalReply

# What Envoy makes of an HTTP status for a gRPC client (source/common/grpc/status.cc).
GRPC_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
GRPC_UNKNOWN = 2
_MOST_GRPC = 16


def is_grpc(request: HeaderMap | None) -> bool:
    """Whether it is a gRPC request: its content-type says so, as it came from the client."""
    wanted = (request.get(b"content-type") if request is not None else None) or b""
    return wanted == b"application/grpc" or wanted.startswith(b"application/grpc+")


def message(reply: LocalReply, request: HeaderMap | None, *, head: bool,
            grpc: bool | None = None) -> tuple[HeaderMap, bytes]:
    """Headers and body of the answer.

    Args:
        request: its headers as they are now.
        head: the request is a HEAD.
        grpc: whether it came as one of gRPC; None: see `is_grpc`.
    """
    if grpc is None:
        grpc = is_grpc(request)
    headers = ResponseHeaders([(b":status", b"")])
    for name, value in reply.headers.raw:
        headers.add(name, value)
    if grpc:
        headers.put(b":status", b"200")
        headers.put(b"content-type", b"application/grpc")
        headers.remove(b"content-length")
        if not headers.get(b"grpc-status"):
            number = reply.grpc_status
            if number is None or number > _MOST_GRPC:
                number = GRPC_OF_HTTP.get(reply.status, GRPC_UNKNOWN)
            headers.put(b"grpc-status", b"%d" % number)
        if reply.body and not head:
            headers.put(b"grpc-message", _percent(reply.body))
        return headers, b""
    headers.put(b":status", b"%d" % reply.status)
    if reply.body:
        headers.put(b"content-length", b"%d" % len(reply.body))
        if headers.get(b"content-type") is None:
            headers.add(b"content-type", b"text/plain")
    else:
        headers.remove(b"content-length")
        headers.remove(b"content-type")
    return headers, b"" if head else reply.body


def _percent(text: bytes) -> bytes:
    """As a gRPC message goes over HTTP (source/common/http/utility.cc, PercentEncoding)."""
    return b"".join(b"%c" % byte if 0x20 <= byte < 0x7E and byte != 0x25 else b"%%%02X" % byte
                    for byte in text)
