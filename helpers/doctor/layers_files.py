"""The layers of the module's file: volume, file in the sidecar, the module itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from helpers import module as modules
from helpers.doctor.case import SIDECAR, Case, LayerFails
from helpers.errors import BadModule, NotFound

_VOLUME = "sidecar.istio.io/userVolume"
_MOUNT = "sidecar.istio.io/userVolumeMount"
_PATCH = "patch-productpage-sidecar-volume.yaml"
_MEND = {
    "command": "kubectl patch deploy productpage-v1 --patch-file manifests/" + _PATCH,
    "call": f'steps.patch_deployment(mesh, "{_PATCH}")',
}


@dataclass(frozen=True)
class _Mount:
    """A mount that covers the module's path."""

    path: str
    volume: str
    sub_path: str


def volume(case: Case) -> str:
    """The file:// path lies in a volume of the sidecar whose ConfigMap has the file."""
    path = case.file
    if not path:
        return _not_a_file(case)
    metadata: Mapping[str, Any] = case.template.get("metadata") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    spec: Mapping[str, Any] = case.template.get("spec") or {}
    volumes: list[Mapping[str, Any]] = [
        *(spec.get("volumes") or ()),
        *_annotated(annotations, _VOLUME),
    ]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    in_sidecar = _annotated(annotations, _MOUNT)
    for container in containers:
        if container["name"] == SIDECAR:
            in_sidecar += container.get("volumeMounts") or ()
    mount = _covering(path, in_sidecar)
    if mount is None:
        _not_mounted(case, path, containers, in_sidecar)
    source = next((v.get("configMap") for v in volumes if v.get("name") == mount.volume), None)
    where = f"{mount.path} in {SIDECAR} is volume {mount.volume}"
    if source is None:
        return f"{where}, no ConfigMap: its content is not compared"
    return f"{where}, {_configmap(case, mount, source, path)}"


def _not_a_file(case: Case) -> str:
    if case.spec.get("lua"):
        return "a Lua script: it needs no file"
    return f"url {case.wasm.get('url')}: fetched by pilot-agent, needs no volume"


def _not_mounted(
    case: Case,
    path: str,
    containers: Iterable[Mapping[str, Any]],
    in_sidecar: Iterable[Mapping[str, Any]],
) -> NoReturn:
    for container in containers:
        if _covering(path, container.get("volumeMounts") or ()) is not None:
            raise LayerFails(
                f"{path} is mounted in container {container['name']}, not in {SIDECAR}",
                cause=f"Envoy runs in {SIDECAR} and sees that container's files only; pod "
                "annotations mount a volume there",
                **_MEND,
            )
    there = ", ".join(str(entry.get("mountPath")) for entry in in_sidecar)
    raise LayerFails(
        f"nothing is mounted at {path} in {SIDECAR}; mounted: {there or 'nothing'}",
        cause="file:// is handed to Envoy as it is, and Envoy finds no such file",
        **_MEND,
    )


def _configmap(case: Case, mount: _Mount, source: Mapping[str, Any], path: str) -> str:
    name = str(source["name"])
    create = {
        "command": f"kubectl create configmap {name} --from-file={PurePosixPath(path).name}=MODULE "
        f"-n {case.namespace}",
        "call": f'steps.create_configmap(mesh, module, namespace="{case.namespace}")',
    }
    found = case.find("configmap", name, case.namespace)
    if found is None:
        elsewhere = ", ".join(case.holders("configmap", name))
        raise LayerFails(
            f"namespace {case.namespace} has no ConfigMap {name}"
            + (f"; there is one in {elsewhere}" if elsewhere else ""),
            cause="the volume is filled from the pod's own namespace",
            **create,
        )
    inside = mount.sub_path or str(PurePosixPath(path).relative_to(mount.path))
    keys = {str(item["path"]): str(item["key"]) for item in source.get("items") or ()}
    key = keys.get(inside, inside if not keys else "")
    content = _content(found, key)
    if content is None:
        has = ", ".join([*(found.get("binaryData") or {}), *(found.get("data") or {})])
        raise LayerFails(
            f"ConfigMap {name} has no key {key or inside!r}; it has: {has or 'nothing'}",
            cause="a key becomes a file of that name, and the plugin's url names another",
            **create,
        )
    case.module = content
    return f"from ConfigMap {name} ({len(content):,} bytes)"


def file(case: Case) -> str:
    """The file is in the sidecar, and is the one that the ConfigMap has now."""
    if not case.file:
        return "no file is needed"
    try:
        there = case.mesh.file_sha256(case.file, case.the_pod.name, SIDECAR)
    except NotFound as error:
        raise LayerFails(
            error.what,
            cause="the volume is mounted, but has no such file",
            command=f"kubectl exec {case.the_pod.name} -c {SIDECAR} -- ls -l "
            f"{PurePosixPath(case.file).parent}",
            call="steps.create_configmap(mesh, module); mesh.sync_volumes()",
        ) from error
    seen = f"{there.size:,} bytes, sha256 {there.sha256[:12]}…"
    if case.module is None:
        return seen
    wanted = hashlib.sha256(case.module).hexdigest()
    if wanted != there.sha256:
        raise LayerFails(
            f"stale: the sidecar has sha256 {there.sha256[:12]}…, the ConfigMap {wanted[:12]}…",
            cause="a kubelet brings a changed ConfigMap into a running pod after up to a minute "
            "(never, where it is mounted by subPath); Envoy loads the file again only when the "
            "plugin object changes",
            command="wait until kubectl exec … sha256sum shows the new one, then "
            f"kubectl annotate {case.label} --overwrite workbook/module-sha256={wanted}",
            call="steps.deploy(mesh, module) does all of it",
        )
    return f"{seen}, the same as in the ConfigMap"


def module(case: Case) -> str:
    """The module is one that Envoy can load."""
    if case.module is None:
        return "its bytes are not at hand here: not looked into"
    rebuild = {
        "command": "cargo build --release --target wasm32-unknown-unknown, then replace the "
        "ConfigMap",
        "call": "steps.deploy(mesh, steps.cargo_build().module)",
    }
    try:
        info = modules.inspect_bytes(case.module, Path(PurePosixPath(case.file).name))
    except BadModule as error:
        raise LayerFails(error.what, cause=error.cause, **rebuild) from error
    if info.problems:
        first = info.problems[0]
        raise LayerFails(
            first.what, cause=f"{first.envoy or 'Envoy cannot run it'}; {first.fix}", **rebuild
        )
    return f"a module for proxy-wasm {info.abi}; Envoy provides all {len(info.imports)} imports"


def _annotated(annotations: Mapping[str, str], key: str) -> list[Mapping[str, Any]]:
    text = annotations.get(key, "")
    if not text.strip():
        return []
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LayerFails(
            f"annotation {key} is not JSON: {error}",
            cause="the sidecar injector refuses such a pod",
            **_MEND,
        ) from error
    if isinstance(found, Mapping):  # the injector takes a map by name, too
        return [{"name": name, **entry} for name, entry in found.items()]
    return list(found)


def _covering(path: str, mounts: Iterable[Mapping[str, Any]]) -> _Mount | None:
    found = [
        _Mount(
            str(entry["mountPath"]).rstrip("/"), str(entry["name"]), str(entry.get("subPath") or "")
        )
        for entry in mounts
        if PurePosixPath(path).is_relative_to(str(entry.get("mountPath") or "-"))
    ]
    return max(found, key=lambda mount: len(mount.path), default=None)


def _content(configmap: Mapping[str, Any], key: str) -> bytes | None:
    binary = configmap.get("binaryData") or {}
    if key in binary:
        return base64.b64decode(binary[key])
    text = (configmap.get("data") or {}).get(key)
    return None if text is None else str(text).encode()
