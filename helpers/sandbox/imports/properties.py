"""proxy_get_property and proxy_set_property."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox import properties
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.properties import SerializationFailure
from helpers.sandbox.shared import INTERNAL_FAILURE, NOT_FOUND, OK

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

_SERIALIZATION_FAILURE = 3
_MOST_STATES = 10_000
_LARGE, _MOST_BYTES = 4096, 64 * 1024 * 1024


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`."""
    host = vm.host

    def get(path_at: int, path_size: int, pointer_at: int, size_at: int) -> int:
        path = vm.guest.read(path_at, path_size)
        try:
            value = properties.find(path, vm.context)
        except (SerializationFailure, RecursionError):
            return _SERIALIZATION_FAILURE
        if value is None:
            return NOT_FOUND
        return vm.give(value, pointer_at, size_at)

    def put(path_at: int, path_size: int, value_at: int, value_size: int) -> int:
        path = vm.guest.read(path_at, path_size)
        value = vm.guest.read(value_at, value_size)
        stream = vm.context.stream
        if stream is None:
            return NOT_FOUND  # filter state belongs to a stream
        if stream.filter_state is None:
            stream.filter_state = {}
        state = stream.filter_state
        size = len(path) + len(value)
        if (path not in state and len(state) >= _MOST_STATES) or (size > _LARGE and size + sum(
                len(key) + len(kept) for key, kept in state.items()) > _MOST_BYTES):
            host.diagnose("proxy_set_property: the stream's filter state is full")
            return INTERNAL_FAILURE
        state[path] = value
        return OK

    return [
        HostFunction("env", "proxy_get_property", "iiii", "i", get),
        HostFunction("env", "proxy_set_property", "iiii", "i", put),
    ]
