"""What a host saw of a step, in words that sandbox and Envoy share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from helpers.scenarios.format import Request, Step
from helpers.scenarios.values import Pairs


@dataclass(frozen=True)
class Message:
    """What one side got."""

    headers: Pairs = ()
    body: bytes = b""
    trailers: Pairs | None = None

    def all(self, name: str) -> list[bytes]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key == name.encode()]

    def first(self, name: str) -> bytes | None:
        """The first value of a header, or None."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True)
class Line:
    """A line that a plugin logged; levels as in the format."""

    level: str
    text: bytes

    def __str__(self) -> str:
        return f"{self.level}: {self.text.decode('utf-8', 'backslashreplace')}"


@dataclass(frozen=True)
class Reply:
    """An answer in the upstream's place."""

    details: str
    status: int
    body: bytes


@dataclass(frozen=True)
class Seen:
    """What came of a step.

    Attributes:
        status: of a response that arrived whole; else "reset" or "paused"; None for a wait.
        logs: the lines since the step before; for the first, since the load of the module.
        panics: the callbacks in which a plugin's VM died.
        notes: what the host itself has to say, for a person to read when a check fails.
    """

    status: int | str | None = None
    upstream: Message | None = None
    client: Message = field(default_factory=Message)
    logs: tuple[Line, ...] = ()
    reply: Reply | None = None
    callouts: tuple[tuple[str, Message], ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)
    panics: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Host(Protocol):
    """A started plugin.

    Attributes:
        refused: why it did not start; "" when it did.
        start_logs: what it logged meanwhile.
    """

    refused: str
    start_logs: tuple[Line, ...]

    def request(self, request: Request, step: Step) -> Seen:
        """Send the step's request."""

    def wait(self, seconds: float) -> Seen:
        """Let time pass."""
