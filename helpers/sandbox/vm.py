"""One VM: a guest, the contexts that live in it, and the way in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import wasmtime

from helpers.module import ModuleInfo
from helpers.sandbox import compiled, engine, exports, imports
from helpers.sandbox.context import Context
from helpers.sandbox.errors import (
    MOST_FRAMES,
    DeadlineExceeded,
    GuestPanic,
    LinkFailed,
    RestrictedCall,
    StartFailed,
)
from helpers.sandbox.exports import ALLOCATION_CALLS, NO_CALLS, START_CALLS
from helpers.sandbox.guest import (
    Guest,
    GuestFn,
    HostFunction,
    OutOfBounds,
    Trapped,
    Unborn,
    Unlinkable,
)
from helpers.sandbox.names import readable_name

if TYPE_CHECKING:
    from helpers.sandbox.host import Host


class Vm:
    """An instance of a module, shared by the plugins that have its key.

    Attributes:
        host: the sandbox's side: clock, shared stores, where logs go.
        exports: the guest's callbacks by name; absent ones are missing.
        failed: why it is dead, or None.
        current: the context whose callback runs, or None.
        effective: the context that `proxy_set_effective_context` chose, or None.
        stop_next: a local reply or a close was asked for in this callback.
    """

    def __init__(self, host: Host, module: wasmtime.Module, info: ModuleInfo, *, vm_id: str,
                 configuration: bytes, environment: dict[str, str], plugin: str) -> None:
        self.host = host
        self.info = info
        self.vm_id = vm_id
        self.configuration = configuration
        self.environment = environment
        self.abi = info.abi
        self.plugin = plugin  # the first that made it: for messages before there is a context
        self.failed: GuestPanic | None = None
        self.halted: BaseException | None = None
        self.current: Context | None = None
        self.effective: Context | None = None
        self.callback = "start"
        self.complaint = ""
        self.allowed: frozenset[str] | None = None
        self.deferred: list[Callable[[], None]] = []
        self.stop_next = False
        self.contexts: dict[int, Context] = {}
        self._next = 1
        self.ticks = max(1, math.ceil(host.deadline / compiled.TICK)) + 1
        self.runs = False
        self._armed = -1
        self._clock = compiled.clock
        self._plain = host.recorder is None
        wanted = {(one.module, one.name) for one in info.imports}
        provided = {(one.module, one.name): self._watched(one)
                    for one in imports.functions(self) if (one.module, one.name) in wanted}
        self.guest: Guest = Unborn()
        try:
            self.allowed = NO_CALLS
            self.callback = "the start section"
            self.guest = engine.instantiate(module, provided, memory_limit=host.memory_limit,
                                            start_ticks=self.ticks)
            self.exports: dict[str, GuestFn] = exports.callbacks(self.guest, self.abi)
            malloc = exports.wanted(self.guest, "malloc", "i", "i")
            other = exports.wanted(self.guest, "proxy_on_memory_allocate", "i", "i")
            self._starters = exports.starters(self.guest)
        except Unlinkable as error:
            self.guest.close()
            raise LinkFailed(
                f"{info.path.name} cannot be linked: {error}",
                cause=f"no host of proxy-wasm {info.abi} offers that, or not within "
                f"{host.memory_limit:,} bytes of memory; Envoy would refuse the module too",
                fix="steps.inspect(module) lists what it imports and what is missing",
            ) from None
        except Trapped as error:
            raise self._start_failed(self._panic(error)) from None
        except GuestPanic as error:
            raise self._start_failed(error) from None
        allocate = malloc or other
        if allocate is None:
            self.guest.close()
            raise LinkFailed(
                f"{info.path.name} has no allocator",
                cause="the host hands over text in memory that the guest allocates: malloc, or "
                "proxy_on_memory_allocate, with one i32 in and one out; Envoy refuses it too",
                fix="build it on a proxy-wasm SDK, as a cdylib",
            )
        self._allocate = allocate

    # -- in ------------------------------------------------------------------------------

    def start(self) -> None:
        """Run `_initialize` (and `main`), or `_start`.

        Raises:
            StartFailed: it trapped.
        """
        self.allowed = START_CALLS
        try:
            for name, function, arguments in self._starters:
                if self.failed is None:
                    self.run(function, name, None, arguments)
        finally:
            self.allowed = None
        if self.failed is not None:
            raise self._start_failed(self.failed)

    def new_context(self, plugin: Any, root: Context | None, stream: Any = None,
                    slot: Any = None) -> Context:
        """A context with an id of its own; roots and streams count together, from 1."""
        number = self._next
        while number in self.contexts or not number:
            number = number + 1 & 0xFFFFFFFF
        self._next = number + 1 & 0xFFFFFFFF
        made = self.contexts[number] = Context(self, number, plugin, root, stream, slot)
        return made

    def call(self, name: str, context: Context, *args: int) -> int | None:
        """Call an export for `context`; None when it is absent, or the VM is dead or dies.

        What host calls put off (continue, local reply, close) happens after it.
        """
        function = self.exports.get(name)
        if function is None or self.failed is not None:
            return None
        if self._plain and not self.runs:
            # `run` without the trace, in place: this is where the sandbox spends its time.
            self.runs, self.stop_next = True, False
            self.current, self.effective = context, None
            self.callback, self.complaint = name, ""
            try:
                if self._clock.count != self._armed:
                    self.arm()
                result: int | None = function(*args)
            except BaseException as error:  # noqa: BLE001 - all but traps are raised again
                self.runs = False
                self.broke(error)
                result = None
            self.runs, self.current, self.effective = False, None, None
        else:
            result = self.run(function, name, context, args)
        if self.deferred:
            # It may call the guest again; what this callback asked for stays as it was.
            stop_next = self.stop_next
            self.settle()
            self.stop_next = stop_next
        return result

    def run(self, function: GuestFn, name: str, context: Context | None,
            args: tuple[int, ...]) -> int | None:
        """Run a function of the guest with all that has to be right around it."""
        if self.runs:
            raise AssertionError(f"{name} while {self.callback} runs: a guest is never re-entered")
        self.runs, self.stop_next = True, False
        self.current, self.effective = context, None
        self.callback, self.complaint = name, ""
        recorder = self.host.recorder
        mark = None if recorder is None else recorder.enter(name, args, context, self)
        result: int | None = None
        try:
            self.arm()
            result = function(*args)
        except BaseException as error:  # noqa: BLE001 - all but traps are raised again
            self.broke(error)
        finally:
            self.runs, self.current, self.effective = False, None, None
            if mark is not None and recorder is not None:
                recorder.leave(mark, "trap" if self.failed else str(result))
        return result

    def arm(self) -> None:
        """Give the guest its time. Once a tick of the clock is enough: the limit is in ticks."""
        self._armed = self._clock.count
        self.guest.arm(self.ticks)

    def broke(self, error: BaseException) -> None:
        """The guest did not return: it is dead. What was no trap is raised again."""
        if isinstance(error, GuestPanic):
            self.die(error)
        elif isinstance(error, Trapped):
            self.die(self._panic(error))
        else:
            # The host's own failure, or Ctrl-C: the guest was cut in the middle of something.
            self.die(self.interrupted())
            self.deferred.clear()
            self.runs, self.current, self.effective = False, None, None
            raise error

    def settle(self) -> None:
        """Do what was put off; it may call the guest again."""
        while self.deferred:
            todo, self.deferred = self.deferred, []
            for work in todo:
                work()

    def die(self, panic: GuestPanic) -> None:
        """From here on nothing runs in this VM."""
        if self.failed is None:
            self.failed = panic
            self.host.died(self, panic)

    def halt(self, error: BaseException) -> None:
        """The guest runs now and is to stop: its next host call raises `error`."""
        self.halted, self.allowed = error, NO_CALLS
        self.die(self.interrupted())

    def interrupted(self) -> GuestPanic:
        """What it died of when the host's side broke under it."""
        return GuestPanic(callback=self.callback, message="", frames=(), plugin=self.name,
                          trap="the host interrupted it")

    def close(self) -> None:
        """Give the instance back; exports must not be called any more."""
        self.exports.clear()
        self.contexts.clear()
        self.guest.close()

    # -- what host calls use ----------------------------------------------------------------

    @property
    def context(self) -> Context:
        """The context that a host call acts for."""
        found = self.effective or self.current
        if found is None:
            # Called while the module starts: the allow-list keeps out what needs one.
            raise OutOfBounds
        return found

    @property
    def name(self) -> str:
        """The plugin that a log line belongs to."""
        context = self.effective or self.current
        return context.plugin.name if context is not None else self.plugin

    def allocate(self, size: int) -> int:
        """Guest memory for `size` bytes.

        Raises:
            OutOfBounds: the allocator answered 0, or the size is none of 32 bits.
        """
        if size > 0xFFFFFFFF:
            raise OutOfBounds
        before, self.allowed = self.allowed, ALLOCATION_CALLS
        try:
            pointer = self._allocate(size)
        finally:
            self.allowed = before
        if not pointer:
            raise OutOfBounds
        return pointer

    def give(self, data: bytes, pointer_at: int, size_at: int) -> int:
        """Hand bytes to the guest: status 0, or OutOfBounds which is status 6.

        The pointer is written first, as in proxy-wasm-cpp-host; nothing is allocated for nothing.
        """
        guest = self.guest
        if not data:
            guest.write_u32(pointer_at, 0)
            guest.write_u32(size_at, 0)
            return 0
        pointer = self.allocate(len(data))
        guest.write(pointer, data)
        guest.write_u32(pointer_at, pointer)
        guest.write_u32(size_at, len(data))
        return 0

    def _watched(self, host: HostFunction) -> HostFunction:
        """The function behind the allow-lists of start and allocation, and seen by the trace."""
        recorder = self.host.recorder
        if recorder is None:
            return replace(host, gate=self)
        call, seen_by = host.call, recorder
        status = bool(host.results) and host.module == "env"

        def watched(*args: int) -> int | None:
            mark = seen_by.enter_host(host, args, self)
            answer: int | None = None
            try:
                answer = call(*args)
            except OutOfBounds:
                answer = host.fault
                raise
            finally:
                seen_by.leave_host(mark, answer, status)
            return answer

        return replace(host, call=watched, gate=self)

    def restricted(self, name: str) -> BaseException:
        """What a call outside of the allow-list ends in."""
        if self.halted is not None:
            return self.halted
        when = "allocates memory" if self.allowed is ALLOCATION_CALLS else "starts"
        return RestrictedCall(
            callback=self.callback, message=self.complaint, frames=(), plugin=self.name,
            trap=f"restricted callback: {name}",
            cause=f"{name} was called while the module {when}, where hosts allow logging, the "
            "clock and little else",
            fix="do it in on_vm_start or on_configure")

    def _panic(self, error: Trapped) -> GuestPanic:
        frames = tuple(map(readable_name, error.frames[:MOST_FRAMES]))
        if error.deadline:
            return DeadlineExceeded(
                callback=self.callback, message=self.complaint, trap=error.trap, frames=frames,
                plugin=self.name, cause=f"it ran longer than deadline={self.host.deadline:g} "
                "seconds and was stopped; Envoy has no such limit and its worker would hang",
                fix="look for a loop without an end in the innermost frame, or give it more time: "
                "Sandbox(…, deadline=10)")
        return GuestPanic(callback=self.callback, message=self.complaint, trap=error.trap,
                          frames=frames, plugin=self.name)

    def _start_failed(self, panic: GuestPanic) -> StartFailed:
        self.failed = panic
        return StartFailed(
            f"{self.info.path.name} did not start: {panic.what}", cause=panic.cause,
            fix=panic.fix, detail=panic.detail)

