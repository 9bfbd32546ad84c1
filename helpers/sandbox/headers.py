"""Header maps: one that behaves as Envoy's, and one to read in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from helpers.errors import BadInput
from helpers.sandbox.pairs import Pair

Given = (
    Mapping[str, str | bytes | Sequence[str | bytes]]
    | Sequence[tuple[str | bytes, str | bytes]]
    | None
)

# Envoy keeps these in slots of their own (envoy/http/header_map.h, O(1) headers, and the inline
# headers that its filters register): a second value is joined to the first with a comma.
_JOINED = frozenset(
    b"""accept accept-encoding access-control-allow-credentials access-control-allow-headers
    access-control-allow-methods access-control-allow-origin access-control-expose-headers
    access-control-max-age access-control-request-headers access-control-request-method
    authorization cache-control connection content-encoding content-length content-type date etag
    expect expires if-match if-modified-since if-none-match if-range if-unmodified-since
    grpc-accept-encoding grpc-message grpc-status grpc-timeout keep-alive last-modified location
    origin pragma proxy-connection proxy-status referer server te transfer-encoding upgrade
    user-agent vary via x-client-trace-id x-envoy-attempt-count x-envoy-decorator-operation
    x-envoy-degraded x-envoy-downstream-service-cluster x-envoy-downstream-service-node
    x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace
    x-envoy-hedge-on-per-try-timeout x-envoy-immediate-health-check-fail x-envoy-internal
    x-envoy-ip-tags x-envoy-is-timeout-retry x-envoy-local-overloaded x-envoy-max-retries
    x-envoy-original-dst-host x-envoy-original-path x-envoy-overloaded
    x-envoy-rate-limited x-envoy-retriable-header-names
    x-envoy-retriable-status-codes x-envoy-retry-grpc-on x-envoy-retry-on
    x-envoy-upstream-alt-stat-name x-envoy-upstream-canary x-envoy-upstream-healthchecked-cluster
    x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-rq-timeout-alt-response
    x-envoy-upstream-rq-timeout-ms x-envoy-upstream-service-time x-envoy-upstream-stream-duration-ms
    x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
    x-request-id""".split()
)


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


def request_map(pseudo: list[Pair], given: Given | Headers, added: Sequence[Pair]) -> HeaderMap:
    """The headers of a request.

    Args:
        pseudo: pseudo-headers, which `given` may replace.
        given: what the caller gave.
        added: what a connection manager adds where it is missing.
    """
    rest = given_pairs(given)
    have = dict(rest)
    # min: a name that begins with a colon is the least of all that HTTP allows.
    if len(have) == len(rest) and (not have or min(have) >= b";"):
        for pair in added:
            if pair[0] not in have:
                rest.append(pair)
        return HeaderMap.of(pseudo + rest)
    made = HeaderMap([pair for pair in pseudo if pair[0] not in have] + rest)
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

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.pairs: list[Pair] = []
        for name, value in pairs:
            self.add(name, value)

    @classmethod
    def of(cls, pairs: list[Pair]) -> HeaderMap:
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
        if name[:1] == b":" or name in _JOINED:
            for at, (have, old) in enumerate(self.pairs):
                if have == name:
                    # Envoy joins only where there is something to join.
                    if old and value:
                        value = old + b"," + value
                    self.pairs[at] = (name, value or old)
                    return
        self._insert(name, value)

    def replace(self, name: bytes, value: bytes) -> None:
        """As `setCopy`: the first entry gets the value, further ones go."""
        for at, (have, _) in enumerate(self.pairs):
            if have == name:
                self.pairs[at] = (name, value)
                rest = self.pairs[at + 1 :]
                if any(other == name for other, _ in rest):
                    self.pairs[at + 1 :] = [pair for pair in rest if pair[0] != name]
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
