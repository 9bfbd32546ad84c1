"""The inner loop: a new module to a pod that has the plugin already, in either of two ways."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from helpers import manifests, module, paths
from helpers.errors import BadInput, NotFound
from helpers.mesh.base import Mesh
from helpers.show import Result
from helpers.steps_deploy import CONFIGMAP, DEPLOYMENT, KEY, PLUGIN, create_configmap

__all__ = ["Deployed", "How", "configmaps", "deploy", "mounted"]

How = Literal["in-place", "rollout"]

#: What deploy() changes so that Envoy loads the new file: any change of the object does.
_SHA_ANNOTATION = "workbook/module-sha256"

_VOLUME = "sidecar.istio.io/userVolume"
_LEVEL = {"sidecar.istio.io/componentLogLevel": "wasm:info"}
_OURS = re.compile(rf"{CONFIGMAP}(-[0-9a-f]{{8}})?")


@dataclass(frozen=True, kw_only=True)
class Deployed(Result):
    """What deploy() did.

    Attributes:
        sha256: the module's, in hex.
        delivered: seconds from the start until the new file was in the sidecar.
        how: which way it went.
        configmap: the ConfigMap that holds the module now.
    """

    sha256: str = ""
    delivered: float = 0.0
    how: How = "in-place"
    configmap: str = CONFIGMAP


def deploy(mesh: Mesh, wasm: Path, how: How = "in-place") -> Deployed:
    """Bring a new module to a pod that has the plugin already: the inner loop.

    Args:
        how: "in-place" replaces the ConfigMap's content, waits until the file in the sidecar
            is the new one, and changes an annotation of the WasmPlugin, which makes Envoy load
            the file. The pod stays. "rollout" makes a ConfigMap that is named after the
            module's content, lets the Deployment's annotations point to it and waits for the
            new pod; the WasmPlugin stays as it is. A new pod begins at wasm:warning, so the
            rollout also sets wasm:info in the template. Either way ConfigMaps of earlier
            modules that nothing mounts any more are removed.

    Raises:
        BadModule: it is no Wasm module: nothing is changed.
        BadInput: `how` is no way, or the pod's ConfigMap is named after its content and must
            not change.
        NotFound: there is no WasmPlugin yet: use `start_from(mesh, "deployed")`.
    """
    if how not in get_args(How):
        raise BadInput(f"there is no way {how!r}", cause=f"known: {', '.join(get_args(How))}",
                       fix='steps.deploy(mesh, module, how="rollout")')
    begun = time.monotonic()
    digest = module.inspect(wasm).sha256
    mesh.get("wasmplugin", PLUGIN)
    if how == "rollout":
        return _rollout(mesh, wasm, digest, begun)
    held = mounted(mesh)
    if held not in ("", CONFIGMAP):
        raise BadInput(
            f"the sidecar mounts configmap/{held}, which is named after its content",
            cause="an earlier deploy went by rollout; new content under that name would be a lie",
            fix='steps.deploy(mesh, module, how="rollout"), or steps.start_from(mesh, "deployed")',
        )
    first = create_configmap(mesh, wasm)
    mesh.sync_volumes()
    delivered = time.monotonic() - begun
    second = mesh.patch(
        "wasmplugin", PLUGIN, {"metadata": {"annotations": {_SHA_ANNOTATION: digest}}}
    )
    return Deployed(
        command=f"{first.command}\n{second.command}",
        text=f"{first.text}\n{second.text}",
        mesh=mesh.kind,
        sha256=digest,
        delivered=delivered,
        seconds=time.monotonic() - begun,
    )


def _rollout(mesh: Mesh, wasm: Path, digest: str, begun: float) -> Deployed:
    name = f"{CONFIGMAP}-{digest[:8]}"
    first = mesh.create_configmap(name, {KEY: wasm})
    second = mesh.patch("deployment", DEPLOYMENT, _pointing_to(name))
    third = mesh.wait_ready(DEPLOYMENT, timeout=180)
    delivered = time.monotonic() - begun
    for other in configmaps(mesh):
        if other != name:
            mesh.delete("configmap", other, missing_ok=True)
    return Deployed(
        command=f"{first.command}\n{second.command}\n{third.command}",
        text=f"{first.text}\n{second.text}\n{third.text}",
        mesh=mesh.kind,
        notes=("the template now says wasm:info, too: a new pod begins at warning",),
        sha256=digest,
        delivered=delivered,
        how="rollout",
        configmap=name,
        seconds=time.monotonic() - begun,
    )


def _pointing_to(configmap: str) -> dict[str, Any]:
    """The patch of manifests/patch-productpage-sidecar-volume.yaml with another ConfigMap."""
    patch = manifests.load_patch(paths.manifests() / "patch-productpage-sidecar-volume.yaml")
    notes = patch["spec"]["template"]["metadata"]["annotations"]
    notes[_VOLUME] = notes[_VOLUME].replace(f'"{CONFIGMAP}"', f'"{configmap}"')
    return {"spec": {"template": {"metadata": {"annotations": {**notes, **_LEVEL}}}}}


def mounted(mesh: Mesh) -> str:
    """The ConfigMap that productpage's template mounts into the sidecar; empty for none."""
    try:
        template = mesh.get("deployment", DEPLOYMENT).extra["objects"][0]["spec"]["template"]
    except NotFound:
        return ""
    said = str((template["metadata"].get("annotations") or {}).get(_VOLUME, ""))
    found = re.search(r'"configMap"\s*:\s*\{[^}]*"name"\s*:\s*"([^"]+)"', said)
    return found[1] if found else ""


def configmaps(mesh: Mesh) -> list[str]:
    """The names of the ConfigMaps that hold our modules: "header-logger" and those by content."""
    found = mesh.get("configmap").extra["objects"]
    return [name for each in found if _OURS.fullmatch(name := each["metadata"]["name"])]
