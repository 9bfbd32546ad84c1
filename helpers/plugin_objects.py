"""One model of a plugin, written as a WasmPlugin or as a TrafficExtension.

Which one to use: `TrafficExtension` from Istio 1.30 on; it supersedes WasmPlugin and can
carry Lua too. `WasmPlugin` for Istio 1.12 to 1.29, and where existing manifests are kept:
newer istiods still accept it and translate it. They differ in three places: what concerns
the module lies under `spec.wasm`, the phase "none" is called UNSPECIFIED instead of
UNSPECIFIED_PHASE, and only TrafficExtension has `spec.lua`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from helpers.errors import BadInput

Phase = Literal["AUTHN", "AUTHZ", "STATS"]
FailStrategy = Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]

API_VERSION = "extensions.istio.io/v1alpha1"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What is put into the filter chain, and where.

    What is None or empty is left out of the manifest, so that Istio's default counts.

    Attributes:
        url: of the module: file:// (in the sidecar), http(s):// or oci://.
        lua: a Lua script in place of a module; TrafficExtension only.
        phase: AUTHN, AUTHZ or STATS; None is the end of the chain, before the router.
        priority: higher comes first within a phase; None comes after all that have one.
        match: traffic selectors, such as {"mode": "SERVER", "ports": [{"number": 9080}]}.
        plugin_config: what the module's on_configure reads, as JSON.
        plugin_name: the module's root id.
        selector: labels of the pods; empty selects every pod of the namespace.
        env: environment variables of the VM.
        annotations: of the object; any change of it makes Envoy load the module anew.
    """

    name: str
    url: str | None = None
    lua: str | None = None
    namespace: str = "default"
    phase: Phase | None = None
    priority: int | None = None
    match: Sequence[Mapping[str, Any]] = ()
    plugin_config: Mapping[str, Any] = field(default_factory=dict)
    plugin_name: str | None = None
    selector: Mapping[str, str] = field(default_factory=dict)
    fail_strategy: FailStrategy | None = None
    sha256: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.url is None) == (self.lua is None):
            raise BadInput(
                f"plugin {self.name!r} needs either a url or a lua script",
                cause="both are set" if self.url is not None else "neither is set",
                fix='pass url="file:///etc/wasm/…/NAME.wasm", or lua="…"',
            )

    def as_wasmplugin(self) -> dict[str, Any]:
        """The WasmPlugin.

        Raises:
            BadInput: it is a Lua script, which only a TrafficExtension can carry.
        """
        if self.lua is not None:
            raise BadInput(
                f"plugin {self.name!r} is a Lua script; a WasmPlugin carries modules only",
                fix="use trafficextension(…), Istio 1.30 or newer",
            )
        module = self._module()
        url = {"url": module.pop("url")}
        return self._object("WasmPlugin", {**url, **self._place(), **module})

    def as_trafficextension(self) -> dict[str, Any]:
        """The TrafficExtension."""
        if self.lua is not None:
            return self._object(
                "TrafficExtension", {**self._place(), "lua": {"inlineCode": self.lua}}
            )
        return self._object("TrafficExtension", {**self._place(), "wasm": self._module()})

    def _place(self) -> dict[str, Any]:
        spec: dict[str, Any] = {}
        if self.selector:
            spec["selector"] = {"matchLabels": dict(self.selector)}
        if self.phase is not None:
            spec["phase"] = self.phase
        if self.priority is not None:
            spec["priority"] = self.priority
        if self.match:
            spec["match"] = [dict(each) for each in self.match]
        return spec

    def _module(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"url": self.url}
        if self.sha256:
            spec["sha256"] = self.sha256
        if self.plugin_name:
            spec["pluginName"] = self.plugin_name
        if self.plugin_config:
            spec["pluginConfig"] = dict(self.plugin_config)
        if self.fail_strategy is not None:
            spec["failStrategy"] = self.fail_strategy
        if self.env:
            pairs = [{"name": name, "value": value} for name, value in self.env.items()]
            spec["vmConfig"] = {"env": pairs}
        return spec

    def _object(self, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.namespace}
        if self.annotations:
            metadata["annotations"] = dict(self.annotations)
        return {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata,
            "spec": dict(spec),
        }


def wasmplugin(name: str, url: str, **settings: Any) -> dict[str, Any]:
    """A WasmPlugin; `settings` are the attributes of `Plugin`."""
    return Plugin(name=name, url=url, **settings).as_wasmplugin()


def trafficextension(
    name: str, url: str | None = None, *, lua: str | None = None, **settings: Any
) -> dict[str, Any]:
    """A TrafficExtension for a module or a Lua script; `settings` as in `Plugin`."""
    return Plugin(name=name, url=url, lua=lua, **settings).as_trafficextension()


def sidecar_volume(volume: str, configmap: str, mount_path: str) -> dict[str, str]:
    """Pod annotations that mount a ConfigMap into the sidecar, where Envoy runs."""
    volumes = [{"name": volume, "configMap": {"name": configmap}}]
    mounts = [{"name": volume, "mountPath": mount_path, "readOnly": True}]
    return {
        "sidecar.istio.io/userVolume": json.dumps(volumes, separators=(",", ":")),
        "sidecar.istio.io/userVolumeMount": json.dumps(mounts, separators=(",", ":")),
    }
