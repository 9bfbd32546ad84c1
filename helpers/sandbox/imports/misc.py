"""Logging, time, configuration of 0.1.0, contexts, status, foreign functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.errors import HostCallFailed
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.headers import as_text
from helpers.sandbox.shared import BAD_ARGUMENT, NOT_FOUND, OK

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

_CRITICAL = 5


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`."""
    host = vm.host

    def log(level: int, pointer: int, size: int) -> int:
        if level > _CRITICAL:
            return BAD_ARGUMENT
        host.log(level, vm.guest.read(pointer, size), vm)
        return OK

    def get_log_level(level_at: int) -> int:
        vm.guest.write_u32(level_at, host.log_level)
        return OK

    def get_time(time_at: int) -> int:
        vm.guest.write_u64(time_at, host.clock.now)
        return OK

    def set_tick(milliseconds: int) -> int:
        host.set_tick(vm.context.root, milliseconds)
        return OK

    def set_effective_context(number: int) -> int:
        if not number:
            vm.effective = None
            return OK
        found = vm.contexts.get(number)
        if found is None:
            return BAD_ARGUMENT
        vm.effective = found
        return OK

    def done() -> int:
        root = vm.context.root
        if not root.done_pending:
            return NOT_FOUND
        root.done_pending = False
        vm.deferred.append(lambda: host.delete_root(root))
        return OK

    def get_status(code_at: int, pointer_at: int, size_at: int) -> int:
        code, text = vm.context.root.call_status
        vm.guest.write_u32(code_at, code)
        return vm.give(text, pointer_at, size_at)

    def get_configuration(pointer_at: int, size_at: int) -> int:
        plugin_configuration = host.configuration_in_force
        data = vm.configuration if plugin_configuration is None else plugin_configuration
        return vm.give(data, pointer_at, size_at)

    def call_foreign(name_at: int, name_size: int, arguments_at: int, arguments_size: int,
                     pointer_at: int, size_at: int) -> int:
        name = as_text(vm.guest.read(name_at, name_size))
        arguments = vm.guest.read(arguments_at, arguments_size)
        if name == "clear_route_cache" and name not in host.foreign:
            return OK
        function = host.foreign.get(name)
        if function is None:
            host.note_unimplemented(f"foreign function {name[:100]}")
            return NOT_FOUND
        try:
            answer = function(arguments)
        except Exception as error:
            raise HostCallFailed(
                f"foreign function {name!r} raised {type(error).__name__}: {error}",
                cause="it was called by the plugin; the VM is dead now",
                fix="let it return bytes, or None for nothing") from error
        if not isinstance(answer, (bytes, type(None))):
            raise HostCallFailed(
                f"foreign function {name!r} gave {type(answer).__name__}",
                cause="its answer goes into the guest's memory as it is",
                fix="let it return bytes, or None for nothing")
        if pointer_at and size_at:
            return vm.give(answer or b"", pointer_at, size_at)
        return OK

    def resolve_dns(name_at: int, name_size: int, token_at: int) -> int:
        vm.guest.read(name_at, name_size)
        vm.guest.read_u32(token_at)
        return host.unimplemented("envoy_resolve_dns")

    def equal(a: int, b: int) -> int:
        return int(a == b)

    def notify(_memory: int) -> None:
        return None

    return [
        HostFunction("env", "proxy_log", "iii", "i", log),
        HostFunction("env", "proxy_get_log_level", "i", "i", get_log_level),
        HostFunction("env", "proxy_get_current_time_nanoseconds", "i", "i", get_time),
        HostFunction("env", "proxy_set_tick_period_milliseconds", "i", "i", set_tick),
        HostFunction("env", "proxy_set_effective_context", "i", "i", set_effective_context),
        HostFunction("env", "proxy_done", "", "i", done),
        HostFunction("env", "proxy_get_status", "iii", "i", get_status),
        HostFunction("env", "proxy_get_configuration", "ii", "i", get_configuration),
        HostFunction("env", "proxy_call_foreign_function", "iiiiii", "i", call_foreign),
        HostFunction("env", "envoy_resolve_dns", "iii", "i", resolve_dns),
        HostFunction("env", "pthread_equal", "ii", "i", equal),
        HostFunction("env", "emscripten_notify_memory_growth", "i", "", notify),
    ]
