# ruff: noqa: RUF012 - pydantic copies the default of a field for each instance
"""WasmPlugin and TrafficExtension as Istio's CustomResourceDefinitions describe them.

Fields, limits and rules are those of `kubernetes/customresourcedefinitions.gen.yaml` in
istio/api, as of 2026-07.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from helpers.mesh.local.schema_core import ObjectMeta
from helpers.mesh.local.schema_errors import FieldError, Model, duplicate, invalid

_SCHEMES = ("", "http", "https", "file", "oci")
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
LabelValue = Annotated[str, Field(max_length=63)]


class WorkloadSelector(Model):
    matchLabels: dict[str, LabelValue] = {}


class PortSelector(Model):
    number: Annotated[int, Field(ge=1, le=65535)]


class TrafficSelector(Model):
    mode: Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"] = "UNDEFINED"
    ports: list[PortSelector] = []


class EnvVar(Model):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    value: Annotated[str, Field(max_length=2048)] = ""
    valueFrom: Literal["INLINE", "HOST"] = "INLINE"


class VmConfig(Model):
    env: Annotated[list[EnvVar], Field(max_length=256)] = []


class TargetRef(Model):
    group: Annotated[str, Field(max_length=253)] = ""
    kind: Annotated[str, Field(min_length=1, max_length=63)]
    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: str = ""


class WasmConfig(Model):
    url: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="(^$|^[a-f0-9]{64}$)")] = ""
    imagePullPolicy: Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"] = "IfNotPresent"
    imagePullSecret: Annotated[str, Field(min_length=1, max_length=253)] = "-"
    verificationKey: str = ""
    pluginConfig: dict[str, Any] = {}
    pluginName: Annotated[str, Field(min_length=1, max_length=256)] = "-"
    failStrategy: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"] = "FAIL_CLOSE"
    vmConfig: VmConfig = VmConfig()
    type: Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"] = "HTTP"


class LuaConfig(Model):
    inlineCode: Annotated[str, Field(min_length=1, max_length=65536)]


class WasmPluginSpec(WasmConfig):
    selector: WorkloadSelector = WorkloadSelector()
    targetRef: TargetRef | None = None
    targetRefs: Annotated[list[TargetRef], Field(max_length=16)] = []
    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED_PHASE"
    priority: Int32 | None = None
    match: list[TrafficSelector] = []


class TrafficExtensionSpec(Model):
    selector: WorkloadSelector = WorkloadSelector()
    targetRefs: Annotated[list[TargetRef], Field(max_length=16)] = []
    phase: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"
    priority: Int32 | None = None
    match: list[TrafficSelector] = []
    wasm: WasmConfig | None = None
    lua: LuaConfig | None = None


class WasmPlugin(Model):
    apiVersion: str
    kind: str
    metadata: ObjectMeta
    spec: WasmPluginSpec
    status: dict[str, Any] = {}


class TrafficExtension(Model):
    apiVersion: str
    kind: str
    metadata: ObjectMeta
    spec: TrafficExtensionSpec
    status: dict[str, Any] = {}


def rules(obj: Mapping[str, Any], found: list[FieldError]) -> list[FieldError]:
    """The complaints in `found`, and those of the validation rules of the two kinds."""
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return found
    if obj["kind"] == "TrafficExtension" and "wasm" in spec and "lua" in spec:
        why = '"spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'
        found = [*found, invalid("spec", "", why)]
    found = [*found, *_duplicates(spec)]
    if any(error.blocking for error in found):
        return [*found, invalid("<nil>", None, _UNCHECKED)]
    return [*found, *_of_spec(obj["kind"], spec), *_of_parts(obj["kind"], spec)]


def _duplicates(spec: Mapping[str, Any]) -> list[FieldError]:
    """Lists that Istio declares as maps: ports by number, env by name."""
    wasm, at = (spec["wasm"], "spec.wasm") if "wasm" in spec else (spec, "spec")
    vm = wasm.get("vmConfig") if isinstance(wasm, Mapping) else None
    lists: list[tuple[str, str, Any]] = []
    if isinstance(vm, Mapping):
        lists.append((f"{at}.vmConfig.env", "name", vm.get("env")))
    match = spec.get("match")
    for i, each in enumerate(match if isinstance(match, list) else []):
        if isinstance(each, Mapping):
            lists.append((f"spec.match[{i}].ports", "number", each.get("ports")))
    found: list[FieldError] = []
    for path, key, items in lists:
        seen: list[Any] = []
        for i, item in enumerate(items if isinstance(items, list) else []):
            value = item.get(key) if isinstance(item, Mapping) else None
            if value is not None and value in seen:
                found.append(duplicate(f"{path}[{i}]", {key: value}))
            seen.append(value)
    return found


def _broken(path: str, why: str) -> FieldError:
    # The API server leaves the value out when the rule stands on a map.
    return FieldError(path, f"Invalid value: {why}")


def _of_spec(kind: str, spec: Mapping[str, Any]) -> list[FieldError]:
    found: list[FieldError] = []
    if sum(name in spec for name in ("selector", "targetRef", "targetRefs")) > 1:
        found.append(_broken("spec", "only one of targetRefs or selector can be set"))
    if kind == "TrafficExtension" and ("wasm" in spec) == ("lua" in spec):
        found.append(_broken("spec", "exactly one of wasm or lua must be set"))
    return found


def _of_parts(kind: str, spec: Mapping[str, Any]) -> list[FieldError]:
    found: list[FieldError] = []
    labels = spec.get("selector", {}).get("matchLabels", {})
    at = "spec.selector.matchLabels"
    if any("*" in key for key in labels):
        found.append(_broken(at, "wildcard not allowed in label key match"))
    if "" in labels:
        found.append(_broken(at, "key must not be empty"))
    for key, value in labels.items():
        if "*" in value:
            why = "wildcard not allowed in label value match"
            found.append(invalid(f"{at}.{key}", value, why))
    for i, ref in enumerate(spec.get("targetRefs", [])):
        if ref.get("namespace"):
            why = "cross namespace referencing is not currently supported"
            found.append(invalid(f"spec.targetRefs[{i}].namespace", ref["namespace"], why))
    wasm, path = (spec, "spec") if kind == "WasmPlugin" else (spec.get("wasm"), "spec.wasm")
    if wasm is None:
        return found
    if not _good_url(wasm["url"]):
        why = "url must have schema one of [http, https, file, oci]"
        found.append(invalid(f"{path}.url", wasm["url"], why))
    for i, env in enumerate(wasm.get("vmConfig", {}).get("env", [])):
        if env.get("valueFrom") == "HOST" and "value" in env:
            why = "value may only be set when valueFrom is INLINE"
            found.append(_broken(f"{path}.vmConfig.env[{i}]", why))
    return found


def _good_url(url: str) -> bool:
    # CEL's isURL wants a scheme or a path from the root; anything else is tried as an image.
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", url) or url.startswith("/"):
        return urlsplit(url).scheme in _SCHEMES
    try:
        return bool(urlsplit("http://" + url).netloc) and " " not in url
    except ValueError:
        return False

