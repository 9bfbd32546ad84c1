"""Bodies, configurations, the bodies of callouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.context import Body
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.shared import BAD_ARGUMENT, INTERNAL_FAILURE, NOT_FOUND, OK

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

_REQUEST, _RESPONSE, _CALL, _GRPC, _VM, _PLUGIN, _FOREIGN = 0, 1, 4, 5, 6, 7, 8
_MOST_KIND = 8
#: A body that a plugin makes grow is bounded; Envoy's is by its buffer limits.
_MOST_BODY = 256 * 1024 * 1024


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`."""
    host = vm.host
    nothing = None if host.spec else b""

    def content(kind: int) -> Body | bytes | None:
        """A Body may be changed, bytes may not; None where there is nothing now.

        Envoy's buffers of messages and of TCP are always there: out of season they are empty.
        """
        context = vm.context
        if kind <= _RESPONSE:
            return context.body(kind) or nothing
        if kind < _CALL:
            return nothing
        root = context.root
        if kind == _CALL:
            return root.call[1] if root.call else None
        if kind == _GRPC:
            message: bytes | None = root.grpc[1]
            return nothing if message is None else message
        if kind == _VM:
            return vm.configuration
        if kind == _PLUGIN:
            return host.configuration_in_force
        return root.foreign_arguments if kind == _FOREIGN else None

    def get(kind: int, start: int, most: int, pointer_at: int, size_at: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        found = content(kind)
        if found is None:
            return NOT_FOUND
        if host.spec and start + most > 0xFFFFFFFF:
            return BAD_ARGUMENT
        data = found.data if isinstance(found, Body) else found
        return vm.give(data[start : start + most], pointer_at, size_at)

    def status(kind: int, size_at: int, flags_at: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        found = content(kind)
        if found is None:
            return NOT_FOUND
        vm.guest.write_u32(size_at, len(found.data if isinstance(found, Body) else found))
        vm.guest.write_u32(flags_at, 0)
        return OK

    def put(kind: int, start: int, size: int, pointer: int, length: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        found = content(kind)
        if found is None:
            return NOT_FOUND
        given = vm.guest.read(pointer, length)
        if not isinstance(found, Body):
            return BAD_ARGUMENT
        have = found.data
        if len(have) + length > _MOST_BODY:
            host.diagnose(f"proxy_set_buffer_bytes: {len(have):,} bytes and {length:,} more are "
                          f"above {_MOST_BODY:,}")
            return INTERNAL_FAILURE
        if start == 0:
            found.data = given + have[size:]
        elif start >= len(have):
            found.data = have + given
        elif host.spec:
            found.data = have[:start] + given + have[start + size :]
        else:
            # Envoy can replace the beginning, prepend and append; it cannot splice
            # (Buffer::copyFrom).
            host.diagnose(f"proxy_set_buffer_bytes({start}, {size}) in the middle of "
                          f"{len(have)} bytes: Envoy refuses that")
            return BAD_ARGUMENT
        return OK

    return [
        HostFunction("env", "proxy_get_buffer_bytes", "iiiii", "i", get),
        HostFunction("env", "proxy_get_buffer_status", "iii", "i", status),
        HostFunction("env", "proxy_set_buffer_bytes", "iiiii", "i", put),
    ]
