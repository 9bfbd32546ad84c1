# ruff: noqa: RUF012 - pydantic copies the default of a field for each instance
"""WasmPlugin and TrafficExtension as Istio's CustomResourceDefinitions describe them.

Fields, limits and rules are those of `kubernetes/customresourcedefinitions.gen.yaml` in
istio/api, as of 2026-07.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from helpers.mesh.local import go_url
from helpers.mesh.local.schema_core import ObjectMeta
from helpers.mesh.local.schema_errors import FieldError, Model, duplicate, invalid, show

_SCHEMES = ("", "http", "https", "file", "oci")
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)

_NAME = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def _whole(value: Any) -> Any:
    # JSON's 3.0 is a whole number to the API server.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _int64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise PydanticCustomError("beyond_int64", "no int64")
    return value


# What does not go into an int32 is for Istio's webhook to refuse: the API server takes an int64.
Int64 = Annotated[int, BeforeValidator(_whole), AfterValidator(_int64)]
LabelValue = Annotated[str, Field(max_length=63)]


class WorkloadSelector(Model):
    matchLabels: dict[str, LabelValue] = {}


class PortSelector(Model):
    number: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65535)]


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
    group: Annotated[str, Field(max_length=253, pattern=rf"^$|^{_NAME}(\.{_NAME})*$")] = ""
    kind: Annotated[
        str, Field(min_length=1, max_length=63, pattern="^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
    ]
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
    priority: Int64 | None = None
    match: list[TrafficSelector] = []


class TrafficExtensionSpec(Model):
    selector: WorkloadSelector = WorkloadSelector()
    targetRefs: Annotated[list[TargetRef], Field(max_length=16)] = []
    phase: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"
    priority: Int64 | None = None
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
        return [*found, invalid("<nil>", None, _UNCHECKED)]
    if obj["kind"] == "TrafficExtension" and "wasm" in spec and "lua" in spec:
        why = '"spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'
        # The server leaves the path out.
        found = [*found, invalid("<nil>", "", why)]
    found = [*found, *_lists(spec)]
    if any(error.blocking for error in found):
        return [*found, invalid("<nil>", None, _UNCHECKED)]
    return [*found, *_of_spec(obj["kind"], spec), *_of_parts(obj["kind"], spec)]


def _lists(spec: Mapping[str, Any]) -> list[FieldError]:
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
            if item is None:
                continue
            if not isinstance(item, Mapping):
                why = "must be an object for an array of list-type map"
                found.append(invalid(f"{path}[{i}]", item, why))
                continue
            value = item.get(key)
            if value is not None and value in seen:
                found.append(duplicate(f"{path}[{i}]", {key: value}))
            seen.append(value)
    return found


def _broken(path: str, why: str, kind: str = "object") -> FieldError:
    # A rule's complaint shows the type of the value in place of the value.
    return invalid(path, kind, why)


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
            found.append(_broken(f"{at}[{key}]", why, "string"))
    refs = {f"spec.targetRefs[{i}]": ref for i, ref in enumerate(spec.get("targetRefs", []))}
    if "targetRef" in spec:
        refs["spec.targetRef"] = spec["targetRef"]
    for path, ref in refs.items():
        if ref.get("namespace"):
            why = "cross namespace referencing is not currently supported"
            found.append(_broken(f"{path}.namespace", why, "string"))
    wasm, path = (spec, "spec") if kind == "WasmPlugin" else (spec.get("wasm"), "spec.wasm")
    if wasm is None:
        return found
    if why := bad_url(wasm["url"]):
        found.append(_broken(f"{path}.url", why, "string"))
    for i, env in enumerate(wasm.get("vmConfig", {}).get("env", [])):
        if env.get("valueFrom") == "HOST" and "value" in env:
            why = "value may only be set when valueFrom is INLINE"
            found.append(_broken(f"{path}.vmConfig.env[{i}]", why))
    return found


_URL = "url must have schema one of [http, https, file, oci]"


def bad_url(url: str) -> str:
    """What the API server's rule says about a module's url; empty when it is kept."""
    for text, schemes in ((url, _SCHEMES), (f"http://{url}", ("http",))):
        try:
            go_url.scheme(text, request=True)
        except ValueError:
            continue  # no URL by itself: an image, perhaps
        try:
            return "" if go_url.scheme(text) in schemes else _URL
        except ValueError as error:
            # Its fragment is wrong, which the server finds too late for an answer of its own.
            why = f"parse {show(text)}: {error}"
            return f"URL parse error during conversion from string: {why} evaluating rule: {_URL}"
    return _URL


def without_nulls(spec: Any) -> Any:
    """The spec as the API server keeps it: null means absent, where a field may not be null.

    That is everywhere but for `priority`, which may, and what is in `pluginConfig`.
    """
    if isinstance(spec, Mapping):
        return {
            key: value if key == "pluginConfig" else without_nulls(value)
            for key, value in spec.items()
            if value is not None or key == "priority"
        }
    return [without_nulls(each) for each in spec] if isinstance(spec, list) else spec
