"""The errors of the sandbox: what a plugin author can meet, with cause and fix."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.errors import BadModule, WorkbookError
from helpers.sandbox.names import readable_name

#: Envoy prints at most this many (proxy-wasm-cpp-host, limits.h).
MOST_FRAMES = 20


class SandboxError(WorkbookError):
    """Something that the sandbox was asked to do, and what it says about it."""


class LinkFailed(BadModule, SandboxError):
    """The module needs something that no proxy-wasm host of its ABI version provides."""


class StartFailed(SandboxError):
    """The plugin did not start: it trapped, or `proxy_on_vm_start` answered false."""


class ConfigureFailed(SandboxError):
    """`proxy_on_configure` answered false: Envoy refuses the configuration."""


class SandboxClosed(SandboxError):
    """The sandbox was closed; it runs nothing any more."""


class SandboxMisuse(SandboxError):
    """A call at a moment when it makes no sense."""


class HostCallFailed(SandboxError):
    """A Python function that the caller gave (a callout, a foreign function) raised."""


class GuestPanic(SandboxError):
    """The guest trapped: its VM is dead from here on.

    Attributes:
        callback: the export that ran, such as "proxy_on_request_headers".
        message: what the guest said last at error or critical, usually its panic message.
        trap: the engine's own words, such as "wasm trap: wasm `unreachable` instruction".
        frames: names of the functions on the guest's stack, innermost first.
    """

    def __init__(self, *, callback: str, message: str, trap: str, frames: Sequence[str],
                 plugin: str = "", cause: str = "", fix: str = "") -> None:
        self.callback = callback
        # Go says more than anybody wants to read in one line: a stack for each goroutine.
        self.message = message = message.partition("\n\ngoroutine ")[0].strip()
        self.trap = trap
        self.frames = tuple(frames)
        self.plugin = plugin
        said = f": {message}" if message else ""
        super().__init__(
            f"plugin {plugin or '?'} panicked in {callback}{said}",
            cause=cause or trap,
            fix=fix or "read the frames from the top: the first of your own functions is where "
            "it broke",
            detail="\n".join(f"  {i}: {readable_name(name)}" for i, name in enumerate(frames)),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (_panic, (type(self), self.callback, self.message, self.trap, self.frames,
                         self.plugin, self.cause, self.fix))


def _panic(cls: type[GuestPanic], callback: str, message: str, trap: str,
           frames: Sequence[str], plugin: str, cause: str, fix: str) -> GuestPanic:
    return cls(callback=callback, message=message, trap=trap, frames=frames, plugin=plugin,
               cause=cause, fix=fix)


class DeadlineExceeded(GuestPanic):
    """The guest ran longer than it may and was stopped. Envoy would have hung."""


class RestrictedCall(GuestPanic):
    """The guest made a call that is not allowed while it starts or allocates."""
