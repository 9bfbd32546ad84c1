"""The functions that a module may import, by concern (proxy-wasm ABI, section on host calls)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from helpers.module import abi
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.imports import (
    buffers,
    calls,
    headers,
    misc,
    properties,
    shared_state,
    stats,
    streams,
    wasi,
)

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm


def functions(vm: Vm) -> list[HostFunction]:
    """All that Envoy offers to a module of this ABI version.

    A host links only what the version has: a 0.1.0 module that asks for
    proxy_continue_stream does not load.
    """
    found: list[HostFunction] = []
    for room in (misc, headers, buffers, streams, calls, stats, shared_state, properties, wasi):
        found.extend(room.functions(vm))
    return [one for one in found if abi.provided(one.module, one.name, vm.abi)]


def known() -> dict[tuple[str, str], HostFunction]:
    """All that any version offers, by (module, name): to read signatures from, not to call."""
    found: dict[tuple[str, str], HostFunction] = {}
    for version in ("0.2.1", "0.1.0"):
        # What is bound here is never called: it needs a VM's looks, not a VM.
        looks = SimpleNamespace(abi=version, host=SimpleNamespace(spec=False), environment={})
        found.update({(one.module, one.name): one for one in functions(cast("Vm", looks))})
    return found
