"""ConfigMap volumes: mounting them, and bringing later changes into a running pod."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import files
from helpers.errors import BadManifest, NotFound
from helpers.mesh.local.agent import inside
from helpers.mesh.local.objects import Store
from helpers.mesh.local.pods import SIDECAR, Mounted, Pod, Pods

#: A kubelet takes up to a minute (sync period and cache); nobody learns by waiting for that.
PROPAGATION_SECONDS = 5.0
USER_VOLUME = "sidecar.istio.io/userVolume"
USER_VOLUME_MOUNT = "sidecar.istio.io/userVolumeMount"


class MountFailed(NotFound):
    """A volume cannot be set up yet; `what` is the kubelet's event message."""


@dataclass(frozen=True)
class Mount:
    """A volume at a path of one container."""

    container: str
    path: str
    volume: str
    sub_path: str = ""


def from_annotation(annotations: Mapping[str, str], key: str) -> list[dict[str, Any]]:
    """The list that an injection annotation holds as JSON.

    Raises:
        BadManifest: it is no JSON list of objects; the sidecar injector refuses such a pod.
    """
    text = annotations.get(key, "")
    if not text.strip():
        return []
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _bad_annotation(key, text, f"it is not JSON: {error}") from error
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and entry.get("name") for entry in found
    ):
        raise _bad_annotation(key, text, "it must be a JSON list of objects with a name")
    if not all(_is_source(entry["configMap"]) for entry in found if "configMap" in entry):
        raise _bad_annotation(
            key, text, "configMap must have a name, and each of its items a key and a path inside"
        )
    return found


def _is_source(source: Any) -> bool:
    """Whether a ConfigMap volume of an annotation is one: no schema has looked at it."""
    if not isinstance(source, Mapping) or not isinstance(source.get("name"), str):
        return False
    items = source.get("items") or []
    return isinstance(items, list) and all(
        isinstance(item, Mapping)
        and isinstance(item.get("key"), str)
        and isinstance(item.get("path"), str)
        and item["path"] not in ("", ".")
        and not item["path"].startswith("/")
        and ".." not in item["path"].split("/")
        for item in items
    )


def _bad_annotation(key: str, text: str, cause: str) -> BadManifest:
    return BadManifest(
        f"annotation {key}: {text[:120]!r} cannot be used",
        cause=cause,
        fix="write it as in manifests/patch-productpage-sidecar-volume.yaml",
    )


def volumes(pod: Pod) -> dict[str, dict[str, Any]]:
    """All volumes of the pod by name, those of the sidecar's annotation among them."""
    found = {entry["name"]: entry for entry in pod.template["spec"].get("volumes") or ()}
    if pod.sidecar:
        for entry in from_annotation(pod.annotations, USER_VOLUME):
            found.setdefault(entry["name"], entry)
    return found


def mounts(pod: Pod) -> list[Mount]:
    """All mounts of the pod, on either container.

    Raises:
        BadManifest: a mount names a volume that the pod does not have.
    """
    entries = [(pod.app, entry) for entry in pod.container.get("volumeMounts") or ()]
    if pod.sidecar:
        entries += [
            (SIDECAR, entry) for entry in from_annotation(pod.annotations, USER_VOLUME_MOUNT)
        ]
    known = volumes(pod)
    found: list[Mount] = []
    for container, entry in entries:
        if entry["name"] not in known:
            raise BadManifest(
                f'volumeMounts[].name: Not found: "{entry["name"]}"',
                cause=f"container {container} mounts a volume that the pod does not have",
                fix=f"name it in {USER_VOLUME} or in spec.volumes",
            )
        path = str(entry.get("mountPath") or "")
        if not path.startswith("/"):
            raise BadManifest(
                f"volumeMounts[].mountPath: Invalid value: {path!r}",
                cause="it must be an absolute path in the container",
                fix='for example "/etc/wasm/header-logger"',
            )
        found.append(Mount(container, path, entry["name"], str(entry.get("subPath") or "")))
    return found


def mount_all(pod: Pod, store: Store, pods: Pods) -> None:
    """Set up every volume of the pod and record which content it has.

    Raises:
        MountFailed: a ConfigMap is not there; the event's text is the kubelet's.
    """
    contents: dict[str, dict[str, bytes]] = {}
    for name, volume in volumes(pod).items():
        source = volume.get("configMap")
        if source is None:
            contents[name] = {}  # emptyDir
            continue
        configmap = _configmap(pod, name, source, store)
        if configmap is None:
            contents[name] = {}
            continue
        contents[name] = dict(_content(configmap, source))
        pod.mounted[name] = Mounted(source["name"], configmap["metadata"]["resourceVersion"])
    for mount in mounts(pod):
        _write(_target(pod, pods, mount), contents[mount.volume], mount)


def refresh(pod: Pod, store: Store, pods: Pods, *, now: bool = False) -> list[str]:
    """Bring changed ConfigMaps into the running pod once their time has come.

    Args:
        now: do not wait for the kubelet's delay.

    Returns:
        The names of the volumes whose files changed.
    """
    changed: list[str] = []
    known = volumes(pod) if pod.mounted else {}
    for name, mounted in pod.mounted.items():
        try:
            configmap = store.get("ConfigMap", pod.namespace, mounted.configmap)
        except NotFound:  # deleted: a running pod keeps the files that it has
            continue
        version = configmap["metadata"]["resourceVersion"]
        if version == mounted.version:
            mounted.pending = ""
            continue
        if mounted.pending == "":
            mounted.noticed = time.time()
        mounted.pending = version
        if not now and time.time() - mounted.noticed < PROPAGATION_SECONDS:
            continue
        content = dict(_content(configmap, known[name]["configMap"]))
        for mount in mounts(pod):
            # A subPath mount is a copy made at the start: a kubelet never refreshes it.
            if mount.volume == name and not mount.sub_path:
                _write(_target(pod, pods, mount), content, mount)
        mounted.version, mounted.pending = version, ""
        changed.append(name)
    return changed


def _configmap(
    pod: Pod, volume: str, source: Mapping[str, Any], store: Store
) -> dict[str, Any] | None:
    try:
        return store.get("ConfigMap", pod.namespace, source["name"])
    except NotFound as error:
        if source.get("optional"):
            return None
        raise MountFailed(
            f'MountVolume.SetUp failed for volume "{volume}" : '
            f'configmap "{source["name"]}" not found',
            cause=f"namespace {pod.namespace} has no ConfigMap {source['name']}: a pod can only "
            "mount ConfigMaps of its own namespace",
            fix=f"create the ConfigMap in namespace {pod.namespace}",
        ) from error


def _content(
    configmap: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[tuple[str, bytes]]:
    values = {key: text.encode() for key, text in (configmap.get("data") or {}).items()}
    values |= {
        key: base64.b64decode(text) for key, text in (configmap.get("binaryData") or {}).items()
    }
    items = source.get("items")
    if items is None:
        yield from values.items()
        return
    for item in items:
        if item["key"] in values:
            yield item["path"], values[item["key"]]


def _target(pod: Pod, pods: Pods, mount: Mount) -> Path:
    root = pods.sidecar(pod).root if mount.container == SIDECAR else pods.app_root(pod)
    return Path(inside(root, mount.path))


def _write(target: Path, content: Mapping[str, bytes], mount: Mount) -> None:
    if mount.sub_path:
        if mount.sub_path in content:
            files.write_atomic(target, content[mount.sub_path])
        return
    target.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        files.write_atomic(target / name, data)
    for old in target.iterdir():
        if old.name not in {Path(name).parts[0] for name in content}:
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
