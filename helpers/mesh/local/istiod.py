"""istiod's part: WasmPlugin and TrafficExtension objects to filter order and ECDS content.

Pure functions over plain objects. What they compute equals what istiod of Istio 1.31 sends
(`pilot/pkg/model/extensions.go`, `pilot/pkg/config/kube/extensions/translate.go`,
`PushContext.TrafficExtensionsByListenerInfo` in `pilot/pkg/model/push_context.go`), so that
the configuration read back from Envoy is the one a learner would see in a cluster. How it is
delivered on this computer is another module's part (`agent.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.mesh.local import go_json, go_url
from helpers.mesh.local.kinds import ROOT_NAMESPACE

#: istiod translates a WasmPlugin to a TrafficExtension of this name since Istio 1.30.
TRANSLATED = "~istio-translated-wasmplugin"
RESOURCE_PREFIX = "extensions.istio.io/trafficextension/"
PHASES = ("AUTHN", "AUTHZ", "STATS", "UNSPECIFIED")
WASM_TYPE = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
RBAC_TYPE = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
NETWORK_WASM_TYPE = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm"
NETWORK_RBAC_TYPE = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
LUA_TYPE = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
#: A plugin without a priority is as one with the lowest there is.
_NO_PRIORITY = -(2**31)
_POLICY = {"FAIL_CLOSE": "FAIL_CLOSED", "FAIL_OPEN": "FAIL_OPEN", "FAIL_RELOAD": "FAIL_RELOAD"}


@dataclass(frozen=True)
class Extension:
    """A TrafficExtension as istiod holds it, whether applied as one or translated.

    Attributes:
        phase: one of PHASES.
        priority: None is the same as the lowest int32: after every other number.
        wasm, lua: the filter's configuration; exactly one is set.
    """

    name: str
    namespace: str
    created: str
    resource_version: str
    phase: str
    priority: int | None
    match: tuple[Mapping[str, Any], ...]
    selector: Mapping[str, str] | None
    has_target: bool
    wasm: Mapping[str, Any] | None = None
    lua: Mapping[str, Any] | None = None
    source: str = field(default="", compare=False)
    uid: str = field(default="", compare=False)

    @property
    def config_name(self) -> str:
        """The name that the plugin's log lines carry."""
        return f"{self.namespace}.{self.name}"

    @property
    def resource_name(self) -> str:
        """The name of the filter and of the ECDS resource."""
        return RESOURCE_PREFIX + self.config_name

    @property
    def network(self) -> bool:
        """Whether it is a network filter, before the HTTP connection manager."""
        return (self.wasm or {}).get("type") == "NETWORK"


def extension(obj: Mapping[str, Any]) -> Extension:
    """The Extension of a stored WasmPlugin or TrafficExtension."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    translated = obj["kind"] == "WasmPlugin"
    wasm = _wasm_of_plugin(spec) if translated else spec.get("wasm")
    phase = spec.get("phase") or "UNSPECIFIED"
    targets = spec.get("targetRefs") or ([spec["targetRef"]] if spec.get("targetRef") else [])
    selector = spec.get("selector")
    return Extension(
        name=meta["name"] + (TRANSLATED if translated else ""),
        uid=meta.get("uid", ""),
        namespace=meta["namespace"],
        created=meta.get("creationTimestamp", ""),
        resource_version=str(meta.get("resourceVersion", "")),
        phase="UNSPECIFIED" if phase.startswith("UNSPECIFIED") else phase,
        priority=spec.get("priority"),
        match=tuple(spec.get("match") or ()),
        selector=None if selector is None else dict(selector.get("matchLabels") or {}),
        has_target=bool(targets),
        wasm=wasm,
        lua=None if translated else spec.get("lua"),
        source=f"{obj['kind']}/{meta['name']}",
    )


def _wasm_of_plugin(spec: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        "url",
        "sha256",
        "imagePullPolicy",
        "imagePullSecret",
        "pluginConfig",
        "pluginName",
        "failStrategy",
        "vmConfig",
        "type",
    )
    return {key: spec[key] for key in kept if spec.get(key) is not None}


def for_listener(
    objects: Iterable[Mapping[str, Any]],
    *,
    namespace: str,
    labels: Mapping[str, str],
    inbound: bool,
    port: int,
    network: bool = False,
) -> list[Extension]:
    """The extensions of one listener, in filter order.

    Args:
        objects: stored WasmPlugins and TrafficExtensions of any namespace.
        namespace: the workload's namespace.
        labels: the workload's labels.
        inbound: the sidecar's inbound side, or one of its outbound listeners.
        port: the port that the listener stands for (9080), not the one it is bound to here.
        network: the network filters; otherwise the HTTP filters.
    """
    matched = [
        ext
        for ext in all_for_workload(objects, namespace=namespace, labels=labels)
        if ext.network == network and _matches_traffic(ext, inbound=inbound, port=port)
    ]
    ordered: list[Extension] = []
    for phase in PHASES:
        group = [ext for ext in matched if ext.phase == phase]
        # Highest first, and stable: equal priorities keep namespace, age and name order.
        ordered += sorted(group, key=_rank, reverse=True)
    return ordered


def all_for_workload(
    objects: Iterable[Mapping[str, Any]], *, namespace: str, labels: Mapping[str, str]
) -> list[Extension]:
    """The extensions of a workload on whatever listener: its namespace's, then the root's."""
    found = [each for obj in objects if _readable(each := extension(obj))]
    found.sort(key=lambda e: (e.created, e.name, e.namespace))
    chosen: list[Extension] = []
    for place in dict.fromkeys((namespace, ROOT_NAMESPACE)):
        chosen += [e for e in found if e.namespace == place and _selects(e, labels)]
    return chosen


def _readable(ext: Extension) -> bool:
    """Whether istiod can read the module's url; it passes over the plugin otherwise."""
    try:
        go_url.scheme((ext.wasm or {}).get("url", ""))
    except ValueError:
        return False
    return True


def _rank(ext: Extension) -> int:
    return _NO_PRIORITY if ext.priority is None else ext.priority


def _selects(ext: Extension, labels: Mapping[str, str]) -> bool:
    if ext.has_target:  # targetRefs attach to gateways and waypoints, never to a sidecar
        return False
    if ext.selector is None:
        return True
    return all(labels.get(key) == value for key, value in ext.selector.items())


def _matches_traffic(ext: Extension, *, inbound: bool, port: int) -> bool:
    if not ext.match:
        return True
    mode_here = "SERVER" if inbound else "CLIENT"
    for selector in ext.match:
        mode = selector.get("mode") or "UNDEFINED"
        ports = [entry.get("number") for entry in selector.get("ports") or ()]
        if mode in ("CLIENT_AND_SERVER", "UNDEFINED", mode_here) and (not ports or port in ports):
            return True
    return False


def http_filter(ext: Extension, config_source: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the HTTP filter chain: ECDS for Wasm, inline for Lua.

    Args:
        config_source: where Envoy gets ECDS from. istiod says ADS; here it is a file.
    """
    if ext.lua is not None:
        return {
            "name": ext.resource_name,
            "typed_config": {
                "@type": LUA_TYPE,
                "default_source_code": {"inline_string": ext.lua.get("inlineCode", "")},
            },
        }
    return _discovered(ext, config_source, [WASM_TYPE, RBAC_TYPE])


def network_filter(ext: Extension, config_source: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the network filter chain; as for `http_filter`, and never Lua."""
    return _discovered(ext, config_source, [NETWORK_WASM_TYPE, NETWORK_RBAC_TYPE])


def _discovered(
    ext: Extension, config_source: Mapping[str, Any], types: list[str]
) -> dict[str, Any]:
    return {
        "name": ext.resource_name,
        "config_discovery": {"config_source": dict(config_source), "type_urls": types},
    }


def ecds(ext: Extension) -> dict[str, Any]:
    """The TypedExtensionConfig that istiod sends for a Wasm extension."""
    wasm = ext.wasm or {}
    config: dict[str, Any] = {"name": ext.config_name}
    if wasm.get("pluginName"):
        config["root_id"] = wasm["pluginName"]
    config["configuration"] = {}  # istiod always sets it: an Any that holds nothing
    if wasm.get("pluginConfig"):
        config["configuration"] = {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": go_json.text(wasm["pluginConfig"]),
        }
    config["vm_config"] = _vm_config(wasm, ext.resource_version)
    config["failure_policy"] = _POLICY[wasm.get("failStrategy") or "FAIL_CLOSE"]
    return {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": ext.resource_name,
        "typed_config": {
            "@type": NETWORK_WASM_TYPE if ext.network else WASM_TYPE,
            "config": config,
        },
    }


def _vm_config(wasm: Mapping[str, Any], resource_version: str) -> dict[str, Any]:
    values: dict[str, str] = {}
    if wasm.get("imagePullSecret"):
        # istiod puts the Secret's content here, and nothing when there is no such Secret: this
        # mesh has none.
        values["ISTIO_META_WASM_IMAGE_PULL_SECRET"] = ""
    if wasm.get("imagePullPolicy") not in (None, "", "UNSPECIFIED_POLICY"):
        values["ISTIO_META_WASM_IMAGE_PULL_POLICY"] = wasm["imagePullPolicy"]
    values["ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"] = resource_version
    host_keys: list[str] = []
    for entry in (wasm.get("vmConfig") or {}).get("env") or ():
        if entry.get("valueFrom") == "HOST":
            host_keys.append(entry["name"])
        else:
            values[entry["name"]] = entry.get("value", "")
    environment: dict[str, Any] = {"key_values": values}
    if host_keys:
        environment["host_env_keys"] = host_keys
    return {
        "runtime": "envoy.wasm.runtime.v8",
        "code": _code(wasm.get("url", ""), wasm.get("sha256", "")),
        "environment_variables": environment,
    }


def _code(url: str, sha256: str) -> dict[str, Any]:
    scheme = go_url.scheme(url)
    if scheme == "file":
        return {"local": {"filename": url.removeprefix("file://")}}
    full = scheme + url[len(scheme) :] if scheme else f"oci://{url}"
    remote: dict[str, Any] = {"http_uri": {"uri": full, "timeout": "30s", "cluster": "_"}}
    if sha256:
        remote["sha256"] = sha256
    return {"remote": remote}
