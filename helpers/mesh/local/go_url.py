"""Which texts Go's net/url takes for a URL: the API server's rules and istiod ask it.

Only what decides between a URL and none, and the scheme, as in `net/url` of Go 1.26.
"""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
# In a host these need no escape; whatever else is below 0x80 is refused.
_HOST = re.compile(r"[-a-zA-Z0-9._~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]*")
_USER = re.compile(r"[-a-zA-Z0-9._:~!$&'()*+,;=%@]*")


def scheme(text: str, *, request: bool = False) -> str:
    """The scheme of a URL in lower case; empty when it has none.

    Args:
        request: as `url.ParseRequestURI`: it is absolute, or a path from the root.

    Raises:
        ValueError: it is no URL.
    """
    whole, _, fragment = (text, "", "") if request else text.partition("#")
    if re.search(r"[\x00-\x1f\x7f]", whole):
        raise ValueError("invalid control character in URL")
    if request and not whole:
        raise ValueError("empty url")
    if whole == "*" and not fragment:
        return ""
    if whole.startswith(":"):
        raise ValueError("missing protocol scheme")
    named = _SCHEME.match(whole)
    name, rest = (named[1].lower(), whole[named.end() :]) if named else ("", whole)
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        if name:
            rest = ""  # opaque
        elif request:
            raise ValueError("invalid URI for request")
        if ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (name or (not request and not rest.startswith("///"))):
        authority, slash, path = rest[2:].partition("/")
        _authority(authority, strict=name in ("http", "https"))
        rest = slash + path
    if _ESCAPE.search(rest):
        raise ValueError("invalid URL escape")
    if found := _ESCAPE.search(fragment):
        raise ValueError(f'invalid URL escape "{fragment[found.start() :][:3]}"')
    return name


def _authority(authority: str, *, strict: bool) -> None:
    user, at, host = authority.rpartition("@")
    if at and (not _USER.fullmatch(user) or _ESCAPE.search(user)):
        raise ValueError("net/url: invalid userinfo")
    if host.startswith("["):
        inside, bracket, port = host.rpartition("]")
        if not bracket:
            raise ValueError("missing ']' in host")
        host = inside[1:]
    else:
        before, colon, after = host.rpartition(":")
        host, port = (before, colon + after) if colon else (host, "")
        if "[" in host:
            raise ValueError("invalid IP-literal")
        if strict and ":" in host:
            raise ValueError("invalid port after host")
    if not re.fullmatch(r"(:[0-9]*)?", port):
        raise ValueError(f"invalid port {port!r} after host")
    # A zone of an address is the only thing that a host has an escape for.
    if not _HOST.fullmatch(host) or re.search(r"%(?!25)[0-7][0-9a-fA-F]", host):
        raise ValueError("invalid character in host name")
    if _ESCAPE.search(host):
        raise ValueError("invalid URL escape")
