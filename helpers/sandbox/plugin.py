"""A plugin of the chain: its module, its configuration, what happens when it fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers import module as modules
from helpers.errors import BadInput, BadModule
from helpers.module import ModuleInfo
from helpers.sandbox.headers import as_bytes

Config = str | bytes | Mapping[str, Any] | list[Any] | None

FAIL_POLICIES = ("closed", "open", "reload")


def config_bytes(config: Config, what: str = "plugin_config") -> bytes:
    """A configuration as the guest reads it: text as it is, a mapping or list as JSON.

    Raises:
        BadInput: it is of another kind, or holds what JSON cannot say.
    """
    if config is None:
        return b""
    if isinstance(config, bytes):
        return config
    if isinstance(config, str):
        return as_bytes(config)
    if isinstance(config, (Mapping, list)):
        try:
            return json.dumps(config, separators=(",", ":"), ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise BadInput(f"{what} cannot be written as JSON: {error}",
                           cause="pluginConfig reaches the plugin as JSON",
                           fix="use text, numbers, lists and mappings") from None
    raise BadInput(f"{what}={config!r} is of the kind {type(config).__name__}",
                   cause="it is text, bytes, or a mapping that becomes JSON",
                   fix=f'{what}={{"log_level": "info"}}')


@dataclass(frozen=True)
class Plugin:
    """One plugin of a chain.

    Args:
        module: the .wasm file, or its bytes.
        plugin_config: text or bytes as they are; a mapping or list becomes compact JSON.
        name: as it stands in log lines.
        root_id: Istio's pluginName.
        vm_id, vm_config: with the code they say which plugins share a VM.
        env: the guest's environment.
        fail_policy: "closed", "open" or "reload": Istio's failStrategy.
        service: it stands beside the chain and sees no request, as one of Envoy's
            `envoy.bootstrap.wasm`: it has ticks, queues, callouts and what its VM shares.

    Raises:
        BadInput: an argument is of another kind.
    """

    module: str | Path | bytes
    plugin_config: Config = None
    name: str = "sandbox"
    root_id: str = ""
    vm_id: str = ""
    vm_config: Config = None
    env: Mapping[str, str] = field(default_factory=dict)
    fail_policy: str = "closed"
    service: bool = False

    def __post_init__(self) -> None:
        if self.fail_policy not in FAIL_POLICIES:
            raise BadInput(f"fail_policy={self.fail_policy!r} is unknown",
                           cause=f"it is one of {', '.join(FAIL_POLICIES)}",
                           fix='fail_policy="closed", as Envoy without an order')
        if not isinstance(self.module, (str, Path, bytes)):
            raise BadInput(f"module={self.module!r} is no module",
                           cause="it is the path of a .wasm file, or its bytes",
                           fix='Sandbox("target/…/release/header_logger.wasm")')
        config_bytes(self.plugin_config)
        config_bytes(self.vm_config, "vm_config")

    def load(self) -> tuple[bytes, ModuleInfo]:
        """The module's bytes and what is inside.

        Raises:
            BadModule: it cannot be read, is no Wasm module, or has no proxy-wasm marker.
        """
        if isinstance(self.module, bytes):
            data = self.module
            if len(data) > modules.MOST_BYTES:
                raise BadModule(f"the module has {len(data):,} bytes",
                                cause="no plugin is that large",
                                fix="give the .wasm file that cargo built")
            info = modules.inspect_bytes(data, Path(f"{self.name}.wasm"))
        else:
            file = Path(self.module)
            info = modules.inspect(file)
            try:
                data = file.read_bytes()
            except OSError as error:
                raise BadModule(f"{file.name} cannot be read any more", cause=str(error),
                                fix="let the build end first") from None
            if len(data) != info.size:  # it was written in between
                info = modules.inspect_bytes(data, file)
        if not info.abi:
            raise BadModule(
                f"{info.path.name} has no mark of a proxy-wasm version",
                cause="it exports no proxy_abi_version_0_1_0, _0_2_0 or _0_2_1; Envoy says: "
                "Missing or unknown Proxy-Wasm ABI version",
                fix='build it on a proxy-wasm SDK, with crate-type = ["cdylib"]')
        return data, info
