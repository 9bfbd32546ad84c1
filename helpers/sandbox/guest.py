"""One running instance of a module: what the sandbox needs of a Wasm engine, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

HostFn = Callable[..., int | None]
GuestFn = Callable[..., int]


class OutOfBounds(Exception):
    """A pointer or a length of the guest reaches outside its memory."""


class Trapped(Exception):
    """The guest trapped.

    Attributes:
        trap: the engine's words.
        frames: function names, innermost first.
        deadline: whether it was stopped because it ran too long.
    """

    def __init__(self, trap: str, frames: tuple[str, ...] = (), *, deadline: bool = False) -> None:
        self.trap = trap
        self.frames = frames
        self.deadline = deadline
        super().__init__(trap)


class Unlinkable(Exception):
    """The module cannot be instantiated; the text says why."""


class Gate(Protocol):
    """Keeps host functions shut while the guest starts or allocates.

    Attributes:
        allowed: the names that may be called now; None for all.
    """

    allowed: frozenset[str] | None

    def restricted(self, name: str) -> BaseException:
        """What is raised when another is called."""


class OpenGate:
    """A gate that is always open."""

    allowed: frozenset[str] | None = None

    def restricted(self, name: str) -> BaseException:
        """Never called."""
        return AssertionError(name)


@dataclass(frozen=True)
class HostFunction:
    """A function that a module may import.

    Attributes:
        params, results: one letter a value: "i" is i32, "I" is i64.
        call: gets i32 arguments as unsigned numbers, i64 as signed; its answer is the result.
        fault: the answer when `call` raises `OutOfBounds`: 6 for proxy-wasm, 21 for WASI.
        gate: is asked before each call.
    """

    module: str
    name: str
    params: str
    results: str
    call: HostFn
    fault: int = 6
    gate: Gate = field(default_factory=OpenGate)


class Guest(Protocol):
    """A module that was instantiated. Not for two threads at once."""

    def function(self, name: str, params: str, results: str) -> GuestFn | None:
        """The export `name`, or None where it is absent or has another signature.

        The function takes and gives numbers (i32 unsigned); without results it gives 0.
        It raises `Trapped`, or what a host function raised.
        """

    def arm(self, ticks: int) -> None:
        """Let the guest run for `ticks` of the engine's clock from now."""

    def read(self, pointer: int, size: int) -> bytes:
        """A copy of guest memory. Raises OutOfBounds."""

    def write(self, pointer: int, data: bytes) -> None:
        """Copy `data` into guest memory. Raises OutOfBounds."""

    def read_u32(self, pointer: int) -> int:
        """A little-endian u32. Raises OutOfBounds."""

    def write_u32(self, pointer: int, value: int) -> None:
        """A little-endian u32. Raises OutOfBounds."""

    def write_u64(self, pointer: int, value: int) -> None:
        """A little-endian u64. Raises OutOfBounds."""

    @property
    def memory_bytes(self) -> int:
        """How much memory the guest has now, in bytes."""

    def signature(self, name: str) -> tuple[str, str] | None:
        """Parameters and results of the exported function `name`, "?" for what is no integer."""

    def close(self) -> None:
        """Give the instance and its memory back."""


class Unborn:
    """What stands for the guest until it is there: without memory, with nothing to call."""

    memory_bytes = 0

    def _nothing(self, *_given: object) -> Any:
        raise OutOfBounds

    function = arm = read = write = read_u32 = write_u32 = write_u64 = _nothing

    def signature(self, name: str) -> tuple[str, str] | None:
        """It exports nothing."""

    def close(self) -> None:
        """Nothing to give back."""
