"""What Istio's validating webhook refuses, of that which the API server's schema takes.

Rules and sentences are those of `pkg/config/validation` of Istio 1.31, as far as the schema
leaves anything to them. The webhook names no field; here it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NAME = "validation.istio.io"
_INVALID = "configuration is invalid: "
_TARGETS = {
    ("", "Service"): "core/v1/Service",
    ("networking.istio.io", "ServiceEntry"): "networking.istio.io/v1/ServiceEntry",
    ("gateway.networking.k8s.io", "Gateway"): "gateway.networking.k8s.io/v1/Gateway",
    ("gateway.networking.k8s.io", "GatewayClass"): "gateway.networking.k8s.io/v1/GatewayClass",
}


def refuse(obj: Mapping[str, Any]) -> tuple[str, str] | None:
    """The field at fault and the webhook's sentence; None when it takes the object."""
    spec = obj["spec"]
    priority = spec.get("priority")
    if priority is not None and not -(2**31) <= priority < 2**31:
        why = f"json: cannot unmarshal number {priority} into Go value of type int32"
        return "spec.priority", f"error decoding configuration: {why}"
    found = list(_complaints(obj["kind"], spec))
    if not found:
        return None
    if len(found) == 1:
        return found[0][0], _INVALID + found[0][1]
    each = "".join(f"\n\t* {why}" for _, why in found)
    return found[0][0], f"{_INVALID}{len(found)} errors occurred:{each}\n\n"


def _complaints(kind: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    refs = {f"spec.targetRefs[{i}]": ref for i, ref in enumerate(spec.get("targetRefs", []))}
    if "targetRef" in spec:
        refs = {"spec.targetRef": spec["targetRef"], **refs}
    for path, ref in refs.items():
        group = "" if ref.get("group") in ("", "core") else ref.get("group", "")
        if (group, ref["kind"]) not in _TARGETS:
            known = " ".join(_TARGETS.values())
            was = f"{ref.get('group', '')}/{ref['kind']}"
            yield f"{path}.kind", f"targetRef must be to one of [{known}] but was {was}"
    at, wasm = ("spec", spec) if kind == "WasmPlugin" else ("spec.wasm", spec.get("wasm"))
    if wasm is None:
        code = spec["lua"]["inlineCode"]
        if len(code.encode()) > 65536:
            yield "spec.lua.inlineCode", "lua.inlineCode exceeds maximum size of 64KB"
        return
    # The schema counts letters, the webhook bytes.
    if len(wasm.get("imagePullSecret", "").encode()) > 253:
        yield f"{at}.imagePullSecret", "imagePullSecret field must be less than 253 characters long"
    if len(wasm.get("pluginName", "").encode()) > 256:
        limit = 255 if kind == "WasmPlugin" else 256
        yield f"{at}.pluginName", f"pluginName field must be less than {limit} characters long"
    for i, env in enumerate(wasm.get("vmConfig", {}).get("env", [])):
        if len(env["name"].encode()) > 256:
            path = f"{at}.vmConfig.env[{i}].name"
            yield path, "env.name field must be less than 255 characters long"
            return
