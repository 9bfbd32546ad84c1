"""What Envoy's router says of a request that plugins have changed, before it goes upstream.

As tried with Envoy 1.40. A request comes in valid, so that only a changed one is looked at.
"""

from __future__ import annotations

import json
import re

from helpers.sandbox.headers import RequestHeaders, as_text

_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(rb"(?::?[!#$%&'*+\-.^_`|~0-9a-z]+)?")
_SCHEMES = (b"http", b"https")


def refusal(headers: RequestHeaders, had_proto: bool) -> tuple[int, str, bytes] | None:
    """Status, details and body of the answer that a request gets instead of going on, if any.

    A request that has a route gets a scheme, too, should it have none.

    Args:
        had_proto: the request came with x-forwarded-proto, as Envoy sees to it. Without it, or
            without a path, no route fits.
    """
    path = headers.get(b":path")
    if not path or path[:1] != b"/" or (had_proto and not headers.get(b"x-forwarded-proto")):
        return 404, "route_not_found", b""
    if headers.get(b":scheme") not in _SCHEMES:
        proto = headers.get(b"x-forwarded-proto")
        headers.put(b":scheme", proto if proto in _SCHEMES else b"http")
    words = _wrong(headers)
    if words is None:
        return None
    return 503, f"filter_removed_required_request_headers{{{words.replace(' ', '_')}}}", \
        words.encode("utf-8", "surrogateescape")


def _wrong(headers: RequestHeaders) -> str | None:
    method = headers.get(b":method")
    if method is None:
        return "missing required header: :method"
    if method == b"CONNECT" and headers.get(b":protocol") is None:
        return "missing required header: :protocol"
    for name, value in headers.pairs:
        if not _NAME.fullmatch(name):
            return f"invalid header name: {_quoted(name)}"
        if _BAD_VALUE.search(value):
            return f"invalid header value for: {_quoted(name)}"
    return None


def _quoted(name: bytes) -> str:
    return json.dumps(as_text(name), ensure_ascii=False)[1:-1]
