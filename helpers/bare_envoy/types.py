"""What goes into a bare Envoy and what comes out of it: plain values, no process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

#: Header names and values as they are on the wire.
Pairs = tuple[tuple[bytes, bytes], ...]
#: How a caller may write headers: text is UTF-8, and `surrogateescape` stands for other bytes.
HeadersLike = Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None
BodyLike = bytes | str | Iterable[bytes | str] | None

FailPolicy = Literal["closed", "open", "reload"]


def raw(value: Any) -> bytes:
    """`value` as bytes: text by UTF-8, where a lone surrogate stands for one byte >= 0x80."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def text(value: bytes) -> str:
    """The way back from `raw`; every byte string has exactly one text."""
    return value.decode("utf-8", "surrogateescape")


def pairs(headers: HeadersLike) -> Pairs:
    """`headers` in order, as bytes; a mapping's value may be a list for a repeated header."""
    if headers is None:
        return ()
    listed = getattr(headers, "raw", None)  # the sandbox's Headers
    if listed is not None:
        return tuple((bytes(name), bytes(value)) for name, value in listed)
    items = headers.items() if isinstance(headers, Mapping) else headers
    found: list[tuple[bytes, bytes]] = []
    for name, value in items:
        values = value if isinstance(value, list | tuple) else [value]
        found.extend((raw(name), raw(each)) for each in values)
    return tuple(found)


def chunks(body: BodyLike) -> tuple[bytes, ...]:
    """`body` as the DATA frames that carry it: one for bytes, none for an empty body.

    A list is taken as it is, so ``[b""]`` is one empty frame.
    """
    if body is None or body == b"" or body == "":
        return ()
    if isinstance(body, bytes | str):
        return (raw(body),)
    return tuple(raw(each) for each in body)


@dataclass(frozen=True)
class Reply:
    """An answer of a scripted server.

    Attributes:
        body: bytes are one DATA frame; a list is a frame for each entry.
        trailers: None or empty sends none.
    """

    status: int = 200
    headers: HeadersLike = None
    body: BodyLike = b""
    trailers: HeadersLike = None


class ReplyLike(Protocol):
    """All that is read of an answer, so that the sandbox's own Reply will do, too."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def body(self) -> Any: ...
    @property
    def trailers(self) -> Any: ...


@dataclass
class Message:
    """One half of an exchange, as it arrived.

    Attributes:
        headers: all of them, pseudo-headers (`:path`, `:status`) included, in order.
        frames: the content of each DATA frame, also of an empty one.
        trailers: None when none came.
        ended: whether it arrived to its end.
        reset: the HTTP/2 error code with which it was broken off, or None.
    """

    headers: Pairs = ()
    frames: list[bytes] = field(default_factory=list)
    trailers: Pairs | None = None
    ended: bool = False
    reset: int | None = None

    @property
    def body(self) -> bytes:
        """All frames together."""
        return b"".join(self.frames)

    @property
    def over(self) -> bool:
        """Whether nothing of it will come any more."""
        return self.ended or self.reset is not None

    def get(self, name: str | bytes) -> bytes | None:
        """The first value of the header `name`, or None."""
        wanted = raw(name).lower()
        return next((value for key, value in self.headers if key == wanted), None)


@dataclass(frozen=True)
class Callout:
    """A request that a plugin made to one of the callout clusters."""

    cluster: str
    message: Message


#: None resets the stream; "timeout" leaves it without an answer for ever.
Answer = ReplyLike | None | Literal["timeout"]
AnswerLike = Answer | Callable[[Any], Answer]


@dataclass(frozen=True)
class Log:
    """One line of Envoy's log.

    Attributes:
        level: Envoy's word: "trace", "debug", "info", "warning", "error", "critical".
        plugin: what Envoy put between "wasm log" and the colon: the filter's name, root_id and
            vm_id, those that are set; of a line that no plugin wrote, "".
        text: what the plugin wrote, or Envoy's own message.
        logger: Envoy's logger, such as "wasm".
        main: whether Envoy's main thread wrote it, which has a VM of its own but no requests.
    """

    level: str
    plugin: str
    text: str
    logger: str = "wasm"
    main: bool = False

    @property
    def by_plugin(self) -> bool:
        """Whether a plugin wrote it (and not Envoy about a plugin)."""
        return self.logger == PLUGIN_LOGGER

    def __str__(self) -> str:
        name = f" {self.plugin}" if self.plugin else ""
        who = f"wasm log{name}" if self.by_plugin else self.logger
        return f"[{self.level}] {who}: {self.text}"


#: What `Log.logger` says of a line that a plugin wrote.
PLUGIN_LOGGER = "plugin"


@dataclass(frozen=True)
class Seen:
    """What one request did.

    Attributes:
        status: the status that the client got, or None when the stream was reset.
        client: what the client got.
        upstream: what the upstream got; None when the request never reached it.
        logs: the plugins' lines on the worker, in order.
        envoy: Envoy's own lines of level warning and above, or about a VM that failed.
        flags: %RESPONSE_FLAGS% of the access log, "" for none.
        details: %RESPONSE_CODE_DETAILS%: "via_upstream", or why Envoy answered by itself.
        callouts: what plugins asked of the callout clusters meanwhile, in order of arrival.
    """

    status: int | None
    client: Message
    upstream: Message | None
    logs: tuple[Log, ...]
    envoy: tuple[Log, ...]
    flags: str
    details: str
    callouts: tuple[Callout, ...]

    @property
    def local_reply(self) -> bool:
        """Whether Envoy (for a plugin or for itself) answered in place of the upstream."""
        return self.status is not None and self.details != "via_upstream"


@dataclass(frozen=True)
class WasmFilter:
    """One plugin in a chain.

    Attributes:
        plugin_config, vm_config: text or bytes as they are; anything else becomes compact JSON
            with sorted keys, as istiod writes it. None is absent.
        name: the filter's name, which Envoy puts into each log line.
        env: the VM's environment.
        fail_policy: Envoy's failure_policy.
    """

    module: Path | str
    plugin_config: Any = None
    name: str = "sandbox"
    root_id: str = ""
    vm_id: str = ""
    vm_config: Any = None
    env: Mapping[str, str] | None = None
    fail_policy: FailPolicy = "closed"


@dataclass(frozen=True)
class Chain:
    """The plugins of one listener, in the order in which a request meets them."""

    plugins: Sequence[WasmFilter] = ()


@dataclass(frozen=True)
class Refused:
    """A plugin that Envoy did not take.

    Attributes:
        chain, position: where it stands.
        name: the filter's name.
        reason: Envoy's words.
    """

    chain: int
    position: int
    name: str
    reason: str


def configuration(value: Any) -> bytes | None:
    """A plugin's configuration as the bytes that it gets."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return raw(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()
