"""The plugins of a chain at work: their VMs, their roots, and what happens after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import wasmtime

from helpers.errors import BadModule
from helpers.sandbox import compiled
from helpers.sandbox.context import Context
from helpers.sandbox.errors import ConfigureFailed, SandboxError, StartFailed
from helpers.sandbox.headers import as_text
from helpers.sandbox.plugin import Plugin, config_bytes
from helpers.sandbox.records import LEVELS, LogLine
from helpers.sandbox.vm import Vm

if TYPE_CHECKING:
    from helpers.sandbox.host import Host

#: Nanoseconds between two reloads: `reload_config.backoff.base_interval`, whose default is 1 s.
_BACKOFF = 1_000_000_000
_MOST_SHOWN = 20

VmKey = tuple[str, str, bytes]


class Vms:
    """The VMs of a sandbox by vm_id, code and configuration (proxy-wasm-cpp-host, makeVmKey)."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._vms: dict[VmKey, Vm] = {}
        self._roots: dict[tuple[VmKey, str, bytes], Context] = {}
        self._loaded: dict[VmKey, int] = {}

    def root(self, handle: Handle) -> Context:
        """The root context of a plugin, made and configured when it is not there.

        Raises:
            LinkFailed, StartFailed, ConfigureFailed: it cannot be had.
        """
        vm = self._vms.get(handle.key)
        if vm is None or vm.failed is not None:
            vm = self._start(handle)
        place = (handle.key, handle.root_id, handle.configuration)
        root = self._roots.get(place)
        if root is None:
            root = self._roots[place] = self._configure(handle, vm)
        return root

    def reloadable(self, handle: Handle) -> bool:
        """Whether enough time has passed since the VM was reloaded last."""
        last = self._loaded.get(handle.key)
        return last is None or self.host.clock.now - last >= _BACKOFF

    def reload(self, handle: Handle) -> Context | None:
        """A fresh VM in place of a dead one; None when it does not come up."""
        self._loaded[handle.key] = self.host.clock.now
        try:
            return self.root(handle)
        except SandboxError as error:
            self.host.diagnose(f"reload of {handle.name}: {error.what}")
            return None

    def _start(self, handle: Handle) -> Vm:
        old = self._vms.pop(handle.key, None)
        if old is not None:
            self._forget_roots(handle.key)
            old.close()
        vm = Vm(self.host, handle.code, handle.info, vm_id=handle.key[0],
                configuration=handle.key[2], environment=handle.environment,
                plugin=handle.name)
        self._vms[handle.key] = vm
        try:
            vm.start()
        except BaseException:
            del self._vms[handle.key]
            vm.close()
            raise
        return vm

    def _configure(self, handle: Handle, vm: Vm) -> Context:
        host = self.host
        root = vm.new_context(handle, None)
        try:
            # cpp-host shows the plugin's configuration from the root's creation on.
            host.configuration_in_force = handle.configuration
            vm.call("proxy_on_context_create", root, root.id, 0)
            host.configuration_in_force = None
            started = vm.call("proxy_on_vm_start", root, root.id, len(vm.configuration))
            self._hold(handle, vm)
            if started == 0:
                raise StartFailed(
                    f"plugin {handle.name}: proxy_on_vm_start answered false",
                    cause="the plugin does not want to run with this vm_config; Envoy says: "
                    "Wasm VM failed Failed to start base Wasm", detail=self._said(),
                    fix="read what it logged")
            host.configuration_in_force = handle.configuration
            # Older SDKs export proxy_validate_configuration, too: no host calls it any more.
            configured = vm.call("proxy_on_configure", root, root.id, len(handle.configuration))
            self._hold(handle, vm)
            if configured == 0:
                raise ConfigureFailed(
                    f"plugin {handle.name} refuses its configuration",
                    cause="proxy_on_configure answered false; Envoy says: Wasm VM failed Failed "
                    "to configure base Wasm plugin", detail=self._said(),
                    fix=f"read what it logged; it was given {handle.configuration[:200]!r}")
        except BaseException:
            self._vms.pop(handle.key, None)
            self._forget_roots(handle.key)
            vm.close()
            raise
        finally:
            host.configuration_in_force = None
        return root

    def _hold(self, handle: Handle, vm: Vm) -> None:
        if vm.failed is not None:
            panic = vm.failed
            raise StartFailed(f"plugin {handle.name} did not start: {panic.what}",
                              cause=panic.cause, fix=panic.fix,
                              detail="\n".join(filter(None, (self._said(), panic.detail))))

    def _said(self) -> str:
        return "\n".join(f"{LEVELS[level]}: {as_text(data)}"
                         for level, data, _, _ in list(self.host.lines)[-_MOST_SHOWN:])

    def _forget_roots(self, key: VmKey) -> None:
        for place in [place for place in self._roots if place[0] == key]:
            root = self._roots.pop(place)
            if root.tick is not None:
                root.tick.cancel()

    def close(self) -> None:
        """End all plugins in order (done, delete), then their VMs."""
        try:
            for root in list(self._roots.values()):
                if root.tick is not None:
                    root.tick.cancel()
                if root.vm.call("proxy_on_done", root, root.id) == 0:
                    root.done_pending = True
                else:
                    root.vm.call("proxy_on_delete", root, root.id)
        finally:
            # Also when a function that the caller gave raised under one of them.
            self._roots.clear()
            for vm in self._vms.values():
                vm.close()
            self._vms.clear()

    def running(self) -> list[Vm]:
        """The VMs whose guest is on the stack now: one at most, and none between callbacks."""
        return [vm for vm in self._vms.values() if vm.runs]


class Handle:
    """One plugin of the chain.

    Attributes:
        name, root_id, configuration, policy: as the caller gave them.
        key: which VM it lives in.
        root: its root context.
    """

    __slots__ = ("code", "configuration", "environment", "info", "key", "name", "policy", "root",
                 "root_id", "vms")

    def __init__(self, plugin: Plugin, vms: Vms, *, cache: bool) -> None:
        data, self.info = plugin.load()
        self.vms = vms
        self.name = plugin.name
        self.root_id = plugin.root_id
        self.configuration = config_bytes(plugin.plugin_config)
        self.environment = dict(plugin.env)
        self.policy = plugin.fail_policy
        self.key: VmKey = (plugin.vm_id, self.info.sha256,
                           config_bytes(plugin.vm_config, "vm_config"))
        try:
            self.code = compiled.module(data, self.info.sha256, on_disk=cache)
        except wasmtime.WasmtimeError as error:
            words = " ".join(str(error).split())
            raise BadModule(
                f"{self.info.path.name} is no valid Wasm module", cause=words[:400],
                fix="build it again (steps.cargo_build) and copy the whole file") from None
        self.root = vms.root(self)

    def acquire(self) -> Vm | None:
        """The VM for a new stream; None when it is dead, and stays so for now."""
        vm = self.root.vm
        if vm.failed is None:
            return vm
        if self.policy != "reload" or not self.vms.reloadable(self):
            return None
        root = self.vms.reload(self)
        if root is None:
            return None
        self.root = root
        return root.vm


def lines(found: list[tuple[int, bytes, str, str]]) -> tuple[LogLine, ...]:
    """Kept lines as a reader wants them."""
    return tuple(LogLine(LEVELS[level], as_text(data), callback, plugin)
                 for level, data, callback, plugin in found)
