"""Shared data and shared queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.guest import HostFunction
from helpers.sandbox.headers import as_text
from helpers.sandbox.shared import EMPTY, INTERNAL_FAILURE, NOT_FOUND, OK

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`."""
    host = vm.host

    def get(key_at: int, key_size: int, pointer_at: int, size_at: int, cas_at: int) -> int:
        found = host.shared_data.get(vm.vm_id, vm.guest.read(key_at, key_size))
        if found is None:
            return NOT_FOUND
        vm.give(found[0], pointer_at, size_at)
        vm.guest.write_u32(cas_at, found[1])
        return OK

    def put(key_at: int, key_size: int, value_at: int, value_size: int, cas: int) -> int:
        key = vm.guest.read(key_at, key_size)
        status = host.shared_data.set(vm.vm_id, key, vm.guest.read(value_at, value_size), cas)
        if status == INTERNAL_FAILURE:
            host.diagnose("proxy_set_shared_data: the store is full")
        return status

    def register(name_at: int, name_size: int, id_at: int) -> int:
        name = vm.guest.read(name_at, name_size)
        queue = host.queues.register(vm.vm_id, name, vm.context.root)
        if queue is None:
            host.diagnose("proxy_register_shared_queue: too many queues, or too long a name")
            return INTERNAL_FAILURE
        vm.guest.write_u32(id_at, queue.number)
        return OK

    def resolve(vm_id_at: int, vm_id_size: int, name_at: int, name_size: int, id_at: int) -> int:
        owner = as_text(vm.guest.read(vm_id_at, vm_id_size)) or vm.vm_id
        found = host.queues.resolve(owner, vm.guest.read(name_at, name_size))
        if found is None:
            return NOT_FOUND
        vm.guest.write_u32(id_at, found.number)
        return OK

    def enqueue(number: int, value_at: int, value_size: int) -> int:
        value = vm.guest.read(value_at, value_size)
        queue = host.queues.get(number)
        if queue is None:
            return NOT_FOUND
        if not host.queues.enqueue(queue, value):
            host.diagnose(f"proxy_enqueue_shared_queue: queue {number} is full")
            return INTERNAL_FAILURE
        if not host.post_queue_ready(queue):
            host.diagnose("proxy_enqueue_shared_queue: too many events wait, of this item "
                          "nobody is told")
        return OK

    def dequeue(number: int, pointer_at: int, size_at: int) -> int:
        queue = host.queues.get(number)
        if queue is None:
            return NOT_FOUND
        if not queue.items:
            return EMPTY
        return vm.give(host.queues.dequeue(queue), pointer_at, size_at)

    return [
        HostFunction("env", "proxy_get_shared_data", "iiiii", "i", get),
        HostFunction("env", "proxy_set_shared_data", "iiiii", "i", put),
        HostFunction("env", "proxy_register_shared_queue", "iii", "i", register),
        HostFunction("env", "proxy_resolve_shared_queue", "iiiii", "i", resolve),
        HostFunction("env", "proxy_enqueue_shared_queue", "iii", "i", enqueue),
        HostFunction("env", "proxy_dequeue_shared_queue", "iii", "i", dequeue),
    ]
