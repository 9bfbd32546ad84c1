"""Cases: a request, the upstream's answer, and what callouts get; made up by a `Choice`.

Everything is drawn from a `random.Random`: from a seed in the command, and from hypothesis in the
tests, which then knows how to make a case smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

Pair = tuple[str, bytes]
T = TypeVar("T")


@dataclass(frozen=True)
class Filter:
    """One plugin of a chain.

    Attributes:
        plugin: its folder in `plugins/`.
        config: its pluginConfig.
        policy: what happens when it fails: "closed" or "open".
        vm_id: filters with another one share no VM.
        module: its .wasm, when it has no folder.
    """

    plugin: str
    config: str = ""
    policy: str = "closed"
    vm_id: str = ""
    module: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What the upstream, or a callout's cluster, answers."""

    status: int = 200
    headers: tuple[Pair, ...] = ()
    body: tuple[bytes, ...] = ()
    trailers: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Case:
    """One exchange.

    Attributes:
        callouts: by cluster; None fails.
    """

    method: str = "GET"
    path: str = "/"
    headers: tuple[Pair, ...] = ()
    body: tuple[bytes, ...] = ()
    trailers: tuple[Pair, ...] = ()
    answer: Answer = Answer()
    callouts: dict[str, Answer | None] = field(default_factory=dict)


METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB")
PATHS = ("/", "/a", "/a/b?c=d&e=%20f", "/admin", "/%C3%A9", "/shop?", "/a//b", "/~x;y=z", "/a/../b")
STATUSES = (200, 201, 202, 206, 301, 400, 403, 404, 418, 429, 500, 503, 504, 599, 999)
# Names that Envoy treats alike and names that it has a place of its own for, among them such as
# it joins in requests only, in responses only, or in both.
NAMES = (
    "x-a", "x-b", "x-c", "x_under", "x-1", "user-agent", "accept", "accept-language",
    "authorization", "cache-control", "content-type", "content-encoding", "cookie", "set-cookie",
    "etag", "origin", "location", "vary", "via", "server", "x-forwarded-for",
    "x-request-id", "range", "grpc-status", "grpc-message", "traceparent", "age", "link",
)
TRAILER_NAMES = ("x-a", "x-b", "x-t", "grpc-status", "grpc-message", "server-timing", "etag")
VALUES = (
    b"", b"1", b"2", b"a b", b"a,b", b"a, b", b"a;q=0.5", b" padded ", b"\ttab\t", b"\\", b'"q"',
    b"0", b"text/plain", b"application/grpc", b"application/grpc+proto", b"application/json",
    "gr\u00fc\u00dfe".encode(), "\u2603 \U0001f600".encode(), b"\xff\xfe", b"\x80", b"\xc3",
    b"Yodao\xa1\xb1", b"x" * 300, b"y" * 5000, b"trailers", b"gzip", b"curl/8.1", b"%41%00",
    b"=,;:", b"*/*",
)
CHUNKS = (b"a", b"bc", b"", b"hello ", b"\x00\x01\xff", b"cat", b"c", b"at", b"z" * 100,
          b"w" * 5000, "\u00e9".encode(), b"{\"a\": 1}\n")


def pick(choice: Random, values: Sequence[T]) -> T:
    """One of `values`; the first ones are the simplest."""
    return values[choice.randrange(len(values))]


def chance(choice: Random, percent: int) -> bool:
    """True that often."""
    return choice.randrange(100) >= 100 - percent


def value(choice: Random) -> bytes:
    """A header's value: out of `VALUES`, or bytes at random that may stand in one."""
    if chance(choice, 75):
        return pick(choice, VALUES)
    allowed = [9, *range(32, 127), *range(128, 256)]
    return bytes(pick(choice, allowed) for _ in range(choice.randrange(13)))


def pairs(choice: Random, names: Sequence[str], most: int) -> tuple[Pair, ...]:
    """Some headers; a name comes again now and then."""
    found: list[Pair] = []
    for _ in range(choice.randrange(most + 1)):
        name = pick(choice, found)[0] if found and chance(choice, 25) else pick(choice, names)
        found.append((name, value(choice)))
    return tuple(found)


def body(choice: Random) -> tuple[bytes, ...]:
    """A body in chunks: none, one, or several, empty ones among them."""
    if chance(choice, 35):
        return ()
    return tuple(pick(choice, CHUNKS) for _ in range(1 + choice.randrange(4)))


def case(choice: Random, chain: Sequence[Filter]) -> Case:
    """A case for that chain."""
    method = pick(choice, METHODS)
    head = method == "HEAD"
    clusters = sorted({name for one in chain for name in CLUSTERS if f'"{name}"' in one.config})
    # More would be a race between the answers to several callouts and that of the upstream.
    calls = any('"callout": {"at": "request_body"' in one.config for one in chain)
    content = () if head and chance(choice, 80) else body(choice)[: 1 if calls else None]
    return Case(
        method=method,
        path=pick(choice, PATHS),
        headers=(*_request_headers(choice, chain), *_length(choice, content)),
        body=content,
        trailers=pairs(choice, TRAILER_NAMES, 3) if chance(choice, 40) and not calls else (),
        answer=answer(choice, head=head),
        callouts={name: None if chance(choice, 15) else _without_cookies(answer(choice))
                  for name in clusters},
    )


#: Clusters that plugins may call, in every Envoy of these tests.
CLUSTERS = ("auth", "other")


def answer(choice: Random, *, head: bool = False) -> Answer:
    """An answer of a server; to HEAD it has no body and no trailers."""
    content = () if head else body(choice)
    return Answer(
        status=pick(choice, STATUSES) if chance(choice, 40) else 200,
        headers=(*pairs(choice, NAMES, 5), *_length(choice, content)),
        body=content,
        trailers=pairs(choice, TRAILER_NAMES, 3) if not head and chance(choice, 30) else (),
    )


def _length(choice: Random, content: tuple[bytes, ...]) -> tuple[Pair, ...]:
    if content and chance(choice, 25):
        return (("content-length", str(sum(map(len, content))).encode()),)
    return ()


def _request_headers(choice: Random, chain: Sequence[Filter]) -> tuple[Pair, ...]:
    found = list(pairs(choice, NAMES, 6))
    if chance(choice, 10):
        found.append(("referer", b"http://a.example/b?c"))  # Envoy drops one that is no URL
    if any(one.plugin == "panics" for one in chain) and chance(choice, 30):
        found.append(("x-panic", b"1"))
    if all(name != "x-request-id" for name, _ in found):
        found.append(("x-request-id", b"r"))  # or the sandbox would make one up
    return tuple(found)


def _without_cookies(answer: Answer) -> Answer:
    # Envoy's HTTP/2 codec moves them, and the sandbox does not know how a service is spoken to.
    return replace(answer, headers=tuple(pair for pair in answer.headers if pair[0] != "cookie"))
