"""What the API server would say about an object: the door of the local mesh's store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal

from helpers import manifests
from helpers.errors import BadManifest, NotModelled
from helpers.mesh.local import kinds, schema_apps, schema_core, schema_istio, schema_webhook
from helpers.mesh.local.kinds import Kind
from helpers.mesh.local.schema_errors import FieldError, Findings, Model, check, invalid

Verb = Literal["creating", "replacing", "patching"]

_MODELS: dict[Kind, type[Model]] = {
    kinds.NAMESPACE: schema_core.Namespace,
    kinds.CONFIG_MAP: schema_core.ConfigMap,
    kinds.SERVICE: schema_core.Service,
    kinds.SERVICE_ACCOUNT: schema_core.ServiceAccount,
    kinds.DEPLOYMENT: schema_apps.Deployment,
    kinds.WASM_PLUGIN: schema_istio.WasmPlugin,
    kinds.TRAFFIC_EXTENSION: schema_istio.TrafficExtension,
}
_RULES: dict[Kind, Callable[[Mapping[str, Any]], list[FieldError]]] = {
    kinds.CONFIG_MAP: schema_core.config_map,
    kinds.SERVICE: schema_core.service,
    kinds.DEPLOYMENT: schema_apps.deployment,
}


def validate(
    obj: Mapping[str, Any],
    *,
    verb: Verb = "creating",
    source: str = "STDIN",
    old: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The object as the API server would store it, its defaults filled in.

    Args:
        obj: one object with apiVersion, kind and metadata.name.
        verb: what the client does, for the message.
        source: the file that the object came from, for the message.
        old: the object that is there, when one is; some fields never change.

    Raises:
        BadManifest: the API server would refuse it, in its words; `field` is the first path.
        NotModelled: a cluster would take it and the local mesh does not carry it out.
    """
    [plain] = manifests.load(obj)
    which = kinds.of_manifest(plain["apiVersion"], plain["kind"], plain["metadata"]["name"])
    custom = which in kinds.CUSTOM
    new = copy.deepcopy(plain) if custom else _without_nulls(plain)
    if custom and isinstance(new.get("spec"), Mapping):
        new["spec"] = schema_istio.without_nulls(new["spec"])
    found = check(_MODELS[which], new, custom=custom)
    if found.unknown or found.undecodable:
        raise _undecodable(which, found, verb, source)
    if found.unmodelled:
        raise _not_modelled(found.unmodelled[0], "")
    errors = _errors(which, new, found.errors)
    if which is kinds.DEPLOYMENT and old is not None and not errors:
        errors = _immutable(old, new)
    if errors:
        raise _invalid(which, new["metadata"]["name"], errors)
    if custom and (refused := schema_webhook.refuse(new)):
        raise _denied(*refused, verb, source)
    for path, why in _beyond(which, new):
        raise _not_modelled(path, why)
    new.pop("status", None)
    new["metadata"].pop("managedFields", None)
    _fill(which, new)
    return new


def _errors(which: Kind, obj: Mapping[str, Any], found: list[FieldError]) -> list[FieldError]:
    if found and which not in kinds.CUSTOM:
        return found
    # A custom resource's type errors come together with those of its metadata.
    errors = [] if found else schema_core.metadata(which.kind, obj["metadata"])
    if which in kinds.CUSTOM:
        return schema_istio.rules(obj, [*errors, *found])
    rules = _RULES.get(which)
    return errors + (rules(obj) if rules else [])


def _immutable(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[FieldError]:
    if old["spec"].get("selector") == new["spec"].get("selector"):
        return []
    return [invalid("spec.selector", new["spec"].get("selector"), "field is immutable")]


def _beyond(which: Kind, obj: Mapping[str, Any]) -> list[tuple[str, str]]:
    spec = obj.get("spec", {})
    if which is kinds.DEPLOYMENT and spec.get("replicas", 1) > 1:
        return [("spec.replicas", f"it runs one replica, not {spec['replicas']}")]
    if which is kinds.SERVICE and spec.get("type", "ClusterIP") != "ClusterIP":
        return [("spec.type", f"it has ClusterIP services only, no {spec['type']}")]
    if which is kinds.SERVICE:
        for i, port in enumerate(spec["ports"]):
            if port.get("protocol", "TCP") != "TCP":
                return [(f"spec.ports[{i}].protocol", "it carries TCP only")]
    return []


def _fill(which: Kind, obj: dict[str, Any]) -> None:
    """The API server's defaults, where something else here reads them."""
    if which.namespaced and not obj["metadata"].get("namespace"):
        obj["metadata"]["namespace"] = "default"
    if which is kinds.NAMESPACE:
        labels = obj["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    if which is kinds.DEPLOYMENT:
        obj["spec"].setdefault("replicas", 1)
        for volume in obj["spec"]["template"]["spec"].get("volumes", []):
            if "configMap" not in volume:
                volume.setdefault("emptyDir", {})
    if which is kinds.SERVICE:
        obj["spec"].setdefault("type", "ClusterIP")
        for port in obj["spec"]["ports"]:
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])


def _without_nulls(value: Any) -> Any:
    # For a built-in kind null is the same as absent.
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


# -- sentences ------------------------------------------------------------------------------


def _undecodable(which: Kind, found: Findings, verb: Verb, source: str) -> BadManifest:
    if found.undecodable:
        why = found.undecodable[0]
        struct, _, field = why.partition(" Go struct field ")[2].split(" ")[0].partition(".")
        if struct == "ObjectMeta" and not field.startswith("metadata."):
            field = f"metadata.{field}"
    else:
        why = "strict decoding error: " + ", ".join(f'unknown field "{p}"' for p in found.unknown)
        field = found.unknown[0]
    error = BadManifest(
        f'Error from server (BadRequest): error when {verb} "{source}": {which.kind} in version '
        f'"{which.version}" cannot be handled as a {which.kind}: {why}',
        cause="a value has the wrong type" if found.undecodable else "no such field in this kind",
        fix=f"mend {field}: check its spelling, its indentation and quotes; "
        f"kubectl explain {which.kind.lower()} lists the fields",
    )
    error.field = field
    return error


def _invalid(which: Kind, name: str, errors: list[FieldError]) -> BadManifest:
    # kubectl shows one complaint on the same line and several as a list.
    unique = list(dict.fromkeys(str(error) for error in errors))
    body = unique[0] if len(unique) == 1 else "".join(f"\n* {each}" for each in unique)
    path = next((error.path for error in errors if error.path != "<nil>"), "spec")
    if path == "[]":
        cause, fix = (
            "its values are larger than one object in etcd may be",
            ("build with the tuned profile, or serve the module over http and use that url"),
        )
    else:
        cause, fix = "the object does not keep to its schema", f"mend {path}"
    failure = BadManifest(
        f'The {which.kind} "{name}" is invalid: {body}', cause=cause, fix=f"{fix}, apply again"
    )
    failure.field = path
    return failure


def _denied(field: str, why: str, verb: Verb, source: str) -> BadManifest:
    failure = BadManifest(
        f'Error from server (BadRequest): error when {verb} "{source}": admission webhook '
        f'"{schema_webhook.NAME}" denied the request: {why}',
        cause="Istio's webhook refuses the object",
        fix=f"mend {field}, apply again",
    )
    failure.field = field
    return failure


def _not_modelled(path: str, why: str) -> NotModelled:
    return NotModelled(
        f"the local mesh does not model {path}" + (f": {why}" if why else ""),
        cause="a cluster would take this field; here nothing would carry it out",
        fix=f"remove {path}, or use a cluster",
    )
