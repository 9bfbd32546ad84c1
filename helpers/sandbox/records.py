"""What happened in the sandbox: log lines, calls over the border, replies, messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.errors import BadInput
from helpers.sandbox.headers import (
    Given,
    Headers,
    ResponseHeaders,
    ResponseTrailers,
    as_bytes,
    as_text,
    given_pairs,
)
from helpers.sandbox.pairs import Pair

LEVELS = ("trace", "debug", "info", "warn", "error", "critical")

STATUSES = {
    0: "OK", 1: "NOT_FOUND", 2: "BAD_ARGUMENT", 3: "SERIALIZATION_FAILURE", 4: "PARSE_FAILURE",
    5: "BAD_EXPRESSION", 6: "INVALID_MEMORY_ACCESS", 7: "EMPTY", 8: "CAS_MISMATCH",
    9: "RESULT_MISMATCH", 10: "INTERNAL_FAILURE", 11: "BROKEN_CONNECTION", 12: "UNIMPLEMENTED",
}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a plugin logged.

    Attributes:
        level: "trace", "debug", "info", "warn", "error" or "critical".
        text: what it said; a byte that is no UTF-8 stands as a surrogate.
        callback: the export that ran, such as "proxy_on_request_headers".
        plugin: the plugin's name.
    """

    level: str
    text: str
    callback: str
    plugin: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.plugin}: {self.text}"


@dataclass(frozen=True, slots=True)
class Call:
    """One crossing of the border between host and VM.

    Attributes:
        direction: "guest" for a callback that the host made, "host" for a call of the VM.
        name: the export or the import.
        arguments: name and value of each, decoded where they point to text.
        result: the answer: an action or a number of the guest, a status of the host.
        begun_us, took_us: microseconds since the exchange began, and of the call itself, the
            calls inside it included.
        depth: 0 for a callback, 1 for the host calls that it made.
        plugin, context: who.
    """

    direction: str
    name: str
    arguments: tuple[tuple[str, Any], ...]
    result: str
    begun_us: float
    took_us: float
    depth: int
    plugin: str
    context: int


@dataclass(frozen=True)
class Message:
    """A request or a response as one side got it.

    Attributes:
        headers: with pseudo-headers such as ":path" or ":status".
        body: all of it.
        trailers: None when there were none.
        complete: whether its end arrived.
    """

    headers: Headers
    body: bytes = b""
    trailers: Headers | None = None
    complete: bool = True

    @property
    def text(self) -> str:
        """The body as text."""
        return as_text(self.body)


@dataclass(frozen=True)
class LocalReply:
    """An answer that a plugin (or Envoy, for a plugin that failed) gave in upstream's place.

    Attributes:
        status: the HTTP status.
        details: the response code details, blanks as "_": what `%RESPONSE_CODE_DETAILS%` logs.
        body: as it was given.
        headers: those that the plugin added.
        grpc_status: None when unset.
    """

    status: int
    details: str
    body: bytes
    headers: Headers
    grpc_status: int | None = None


@dataclass(frozen=True)
class Reply:
    """What an upstream answers: to the request itself, or to a callout.

    Args:
        status: the HTTP status, 100 to 999.
        headers: a mapping or pairs.
        body: bytes or text, or a list of them: a chunk each.
        trailers: a mapping or pairs; None for none.
        delay: seconds on the sandbox's clock until it comes; behind the plugin's own time Envoy
            answers 504 (callouts only).
        cut: it breaks off behind its headers: the plugin is told of a failure, without headers
            (callouts only).

    Raises:
        BadInput: a value is of another kind.
    """

    status: int = 200
    headers: Given = None
    body: bytes | str | Sequence[bytes | str] = b""
    trailers: Given = None
    delay: float = 0.0
    cut: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.status, int) or not 100 <= self.status <= 999:
            raise BadInput(f"status={self.status!r} is no HTTP status",
                           cause="it is a whole number from 100 to 999", fix="status=200")
        if not isinstance(self.delay, (int, float)) or not self.delay >= 0:
            raise BadInput(f"delay={self.delay!r} is no time",
                           cause="it is seconds from 0 on; float('inf') is an answer that never "
                           "comes", fix="delay=0.2")
        found = ResponseHeaders([(b":status", b"%d" % self.status), *given_pairs(self.headers)])
        trailers = ResponseTrailers(given_pairs(self.trailers, "trailers"))
        object.__setattr__(self, "_read", (found.pairs, chunks(self.body), trailers.pairs))

    @classmethod
    def grpc(cls, message: bytes = b"", status: int = 0, text: str = "", *,
             delay: float = 0.0) -> Reply:
        """What a gRPC service answers: a message, or a status that is not 0 and why."""
        from helpers.sandbox.grpc import frame  # it needs Reply for its types

        headers = {"content-type": "application/grpc"}
        if status:
            headers |= {"grpc-status": str(status)} | ({"grpc-message": text} if text else {})
            return cls(200, headers, delay=delay)
        return cls(200, headers, frame(message), {"grpc-status": "0"}, delay)

    def read(self) -> tuple[list[Pair], list[bytes], list[Pair]]:
        """Headers with ":status", body in chunks, trailers: to copy, not to change."""
        found: tuple[list[Pair], list[bytes], list[Pair]] = self._read  # type: ignore[attr-defined]
        return found


@dataclass(frozen=True)
class Callout:
    """An HTTP call that a plugin made to another service.

    Attributes:
        cluster: the upstream's name.
        headers, body, trailers: of its request.
        timeout: seconds; 0 for none.
        plugin: who called.

    A gRPC call is one, too: a POST to "/service/method"; see `message`.
    """

    cluster: str
    headers: Headers
    body: bytes = b""
    trailers: Headers | None = None
    timeout: float = 0.0
    plugin: str = ""

    @property
    def message(self) -> bytes:
        """The message of a gRPC call: the body without its frame."""
        return self.body[5:]


Answer = Callable[[Callout], Reply | None]
Callouts = Mapping[str, Reply | Answer | None]
Upstream = Reply | Callable[[Message], Reply]


def chunks(body: bytes | str | Sequence[bytes | str] | None, what: str = "body") -> list[bytes]:
    """A body as a list of chunks: none for an empty one.

    Raises:
        BadInput: it is neither text nor bytes nor a list of them.
    """
    if body is None:
        return []
    if isinstance(body, str):
        body = as_bytes(body)
    if isinstance(body, (bytes, bytearray, memoryview)):
        return [bytes(body)] if len(body) else []
    found = []
    for one in body if isinstance(body, Iterable) else [None]:
        if isinstance(one, str):
            found.append(as_bytes(one))
        elif isinstance(one, (bytes, bytearray, memoryview)):
            found.append(bytes(one))
        else:
            raise BadInput(f"{what}={body!r} is no body", cause="a body is bytes, text, or a "
                           "list of them, a chunk each", fix=f'{what}=b"hello"')
    return found


class Happenings:
    """What piles up while an exchange runs. Lists that stay empty in most are made on demand."""

    __slots__ = ("_lists", "logs", "trace")

    def __init__(self) -> None:
        self.logs: list[tuple[int, bytes, str, str]] = []
        self.trace: list[Any] = []
        self._lists: dict[str, list[Any]] | None = None

    def of(self, name: str) -> list[Any]:
        """The list called "diagnostics", "unimplemented", "callouts" or "panics"."""
        if self._lists is None:
            self._lists = {}
        return self._lists.setdefault(name, [])
