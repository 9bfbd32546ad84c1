"""Header maps: one that behaves as Envoy's, and one to read in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Self

from helpers.errors import BadInput
from helpers.sandbox.pairs import Pair

Given = (
    Mapping[str, str | bytes | Sequence[str | bytes]]
    | Sequence[tuple[str | bytes, str | bytes]]
    | None
)

# Envoy keeps these in slots of their own, others for requests than for responses: a second value
# is joined to the first with a comma. As tried with Envoy 1.40, by sending each of them twice
# (envoy/http/header_map.h has most of them, filters register a few more).
_ALWAYS = frozenset(
    b"""cache-control connection content-encoding content-length content-type grpc-message
    grpc-status keep-alive proxy-connection proxy-status transfer-encoding upgrade via
    x-envoy-attempt-count x-envoy-decorator-operation x-request-id""".split()
)
_OF_REQUESTS = (_ALWAYS - {b"grpc-message", b"grpc-status"}) | frozenset(
    b""":authority :method :path :protocol :scheme accept accept-encoding
    access-control-request-headers access-control-request-method authorization expect
    grpc-accept-encoding grpc-timeout if-match if-modified-since if-none-match if-range
    if-unmodified-since origin pragma referer te user-agent x-client-trace-id
    x-envoy-downstream-service-cluster x-envoy-downstream-service-node
    x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace
    x-envoy-hedge-on-per-try-timeout x-envoy-internal x-envoy-ip-tags x-envoy-is-timeout-retry
    x-envoy-max-retries x-envoy-original-path x-envoy-retriable-header-names
    x-envoy-retriable-status-codes x-envoy-retry-grpc-on x-envoy-retry-on
    x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-per-try-timeout-ms
    x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms
    x-envoy-upstream-stream-duration-ms x-forwarded-client-cert x-forwarded-for x-forwarded-host
    x-forwarded-port x-forwarded-proto""".split()
)
_OF_RESPONSES = _ALWAYS | frozenset(
    b""":status access-control-allow-credentials access-control-allow-headers
    access-control-allow-methods access-control-allow-origin access-control-expose-headers
    access-control-max-age age date etag expires last-modified location server vary
    x-envoy-degraded x-envoy-immediate-health-check-fail x-envoy-ratelimited
    x-envoy-upstream-canary x-envoy-upstream-healthchecked-cluster
    x-envoy-upstream-service-time""".split()
)
_OF_RESPONSE_TRAILERS = frozenset({b"grpc-message", b"grpc-status"})


def as_bytes(text: str | bytes) -> bytes:
    """Text in UTF-8; a byte that came in as a surrogate goes out as it was."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def as_text(data: bytes) -> str:
    """Bytes as text; what is no UTF-8 becomes a surrogate, so that nothing is lost."""
    return data.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=4096)
def _name(text: str | bytes) -> bytes:
    """A header's name as Envoy keeps it. A chain sees the same few names again and again."""
    return as_bytes(text).lower()


def crumbs(pairs: list[Pair]) -> list[Pair]:
    """As Envoy's HTTP/2 codec hands them on: cookies in one line, behind all others."""
    cookies = [value for name, value in pairs if name == b"cookie"]
    if not cookies:
        return pairs
    rest = [pair for pair in pairs if pair[0] != b"cookie"]
    line = b""
    for cookie in cookies:
        line = line + b"; " + cookie if line else cookie
    return [*rest, (b"cookie", line)] if line else rest


def request_map(pseudo: list[Pair], given: Given | Headers, added: Sequence[Pair], *,
                http2: bool = False) -> HeaderMap:
    """The headers of a request.

    Args:
        pseudo: pseudo-headers, which `given` may replace.
        given: what the caller gave.
        added: what a connection manager adds where it is missing.
        http2: they come over HTTP/2.
    """
    rest = given_pairs(given)
    have = dict(rest)
    if http2 and b"cookie" in have:
        rest = crumbs(rest)
        have = dict(rest)
    # min: a name that begins with a colon is the least of all that HTTP allows.
    if len(have) == len(rest) and (not have or min(have) >= b";") and b"host" not in have:
        for pair in added:
            if pair[0] not in have:
                rest.append(pair)
        return RequestHeaders.of(pseudo + rest)
    if http2 or b":authority" in have:
        rest = [pair for pair in rest if pair[0] != b"host"]  # the codec drops it
    elif b"host" in have:
        have[b":authority"] = have[b"host"]  # over HTTP/1 there is no other name for it
    made = RequestHeaders([pair for pair in pseudo if pair[0] not in have] + rest)
    made.pairs += [pair for pair in added if pair[0] not in have]
    return made


def given_pairs(given: Given | Headers, what: str = "headers") -> list[Pair]:
    """The pairs of what a caller gave, names in lower case.

    Raises:
        BadInput: it is no mapping and no sequence of pairs, or a name or value is no text.
    """
    if not given:
        return []
    if isinstance(given, Headers):
        return list(given.raw)
    found: list[Pair] = []
    try:
        if isinstance(given, Mapping):
            for name, value in given.items():
                if isinstance(value, str):
                    found.append((_name(name), value.encode("utf-8", "surrogateescape")))
                elif isinstance(value, bytes):
                    found.append((_name(name), value))
                else:
                    found.extend((_name(name), as_bytes(one)) for one in value)
        else:
            found.extend((_name(name), as_bytes(value)) for name, value in given)
    except (TypeError, ValueError, AttributeError):
        raise BadInput(
            f"{what}={given!r} cannot be read",
            cause="a name and a value are text or bytes",
            fix=f'{what}={{"user-agent": "MyTestClient"}}, or a list of pairs',
        ) from None
    return found


class HeaderMap:
    """A header map with Envoy's rules (source/common/http/header_map_impl.cc).

    Pseudo-headers stand first. Names are in lower case. A second value of a header that Envoy
    keeps in a slot of its own is joined to the first; of any other header it is an entry more.
    """

    __slots__ = ("pairs",)
    #: Names of which there is one entry at most.
    joined: ClassVar[frozenset[bytes]] = frozenset()

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.pairs: list[Pair] = []
        for name, value in pairs:
            self.add(name, value)

    @classmethod
    def of(cls, pairs: list[Pair]) -> Self:
        """A map of pairs that obey the rules already."""
        made = cls.__new__(cls)
        made.pairs = pairs
        return made

    def get(self, name: bytes) -> bytes | None:
        """The first value, or None."""
        for have, value in self.pairs:
            if have == name:
                return value
        return None

    def add(self, name: bytes, value: bytes) -> None:
        """As `addCopy`: one entry more, or joined to the one that is there."""
        if name in self.joined:
            for at, (have, old) in enumerate(self.pairs):
                if have == name:
                    # Envoy joins only where there is something to join.
                    if old and value:
                        value = old + b"," + value
                    self.pairs[at] = (name, value or old)
                    return
        self._insert(name, value)

    def replace(self, name: bytes, value: bytes) -> None:
        """As `setCopy`: what there is of that name goes, and the value stands behind all others."""
        self.pairs = [pair for pair in self.pairs if pair[0] != name]
        self._insert(name, value)

    def put(self, name: bytes, value: bytes) -> None:
        """As the setters of those that have a slot: the value changes, its place does not."""
        for at, (have, _) in enumerate(self.pairs):
            if have == name:
                self.pairs[at] = (name, value)
                return
        self._insert(name, value)

    def remove(self, name: bytes) -> None:
        """All entries of that name go."""
        self.pairs = [pair for pair in self.pairs if pair[0] != name]

    def _insert(self, name: bytes, value: bytes) -> None:
        if name[:1] == b":":
            at = 0
            while at < len(self.pairs) and self.pairs[at][0][:1] == b":":
                at += 1
            self.pairs.insert(at, (name, value))
        else:
            self.pairs.append((name, value))

    def size(self) -> int:
        """Bytes of all names and values: what `proxy_get_header_map_size` answers."""
        return sum(len(name) + len(value) for name, value in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


class RequestHeaders(HeaderMap):
    """Of a request, in which "host" is another name for ":authority"."""

    __slots__ = ()
    joined = _OF_REQUESTS

    def get(self, name: bytes) -> bytes | None:
        """The first value, or None."""
        return super().get(b":authority" if name == b"host" else name)

    def add(self, name: bytes, value: bytes) -> None:
        """As `addCopy`."""
        super().add(b":authority" if name == b"host" else name, value)

    def replace(self, name: bytes, value: bytes) -> None:
        """As `setCopy`."""
        super().replace(b":authority" if name == b"host" else name, value)

    def remove(self, name: bytes) -> None:
        """All entries of that name go."""
        super().remove(b":authority" if name == b"host" else name)


class ResponseHeaders(HeaderMap):
    """Of a response."""

    __slots__ = ()
    joined = _OF_RESPONSES


class ResponseTrailers(HeaderMap):
    """Of a response. Trailers of a request join nothing: they are a plain `HeaderMap`."""

    __slots__ = ()
    joined = _OF_RESPONSE_TRAILERS


class Headers:
    """The headers of a message, to read: in order, names in lower case, values as text.

    `headers["x"]` and `.get("x")` give the first value; `.all("x")` gives all; `.raw` has the
    bytes. A byte that is no UTF-8 stands as a surrogate.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: Iterable[Pair] = ()) -> None:
        self.raw: tuple[Pair, ...] = tuple(raw)

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        wanted = as_bytes(name).lower()
        return [as_text(value) for have, value in self.raw if have == wanted]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`, or `default`."""
        wanted = as_bytes(name).lower()
        for have, value in self.raw:
            if have == wanted:
                return as_text(value)
        return default

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def items(self) -> list[tuple[str, str]]:
        """Every name with its value, in order."""
        return [(as_text(name), as_text(value)) for name, value in self.raw]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(as_text(name) for name, _ in self.raw))

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, Headers):
            return self.raw == other.raw
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"
