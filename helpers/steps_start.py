"""The ways to get to where a notebook starts, from wherever the mesh is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from helpers.errors import BadInput, NotFound
from helpers.mesh.base import Mesh
from helpers.show import Result
from helpers.steps_deploy import (
    CONFIGMAP,
    DEPLOYMENT,
    PLUGIN,
    apply_wasmplugin,
    build_plugin,
    create_configmap,
    deploy_bookinfo,
    patch_deployment,
)
from helpers.steps_loop import configmaps


def start_from(mesh: Mesh, point: str, *, wasm: Path | None = None) -> Result:
    """Bring the mesh to where a notebook starts, from wherever it is.

    Args:
        point: "bookinfo" (Bookinfo runs, no plugin, nothing mounted) or "deployed" (the
            corrected filter works: ConfigMap, volume in the sidecar, WasmPlugin, wasm:info).
        wasm: the module for "deployed"; otherwise the workbook's header-logger is built.

    Raises:
        BadInput: another point.
    """
    points: dict[str, Callable[[], list[str]]] = {
        "bookinfo": lambda: _bookinfo(mesh),
        "deployed": lambda: _deployed(mesh, wasm),
    }
    if point not in points:
        raise BadInput(
            f"there is no starting point {point!r}",
            cause="known: bookinfo, deployed",
            fix='start_from(mesh, "bookinfo")',
        )
    begun = time.monotonic()
    done = "; ".join(points[point]())
    return Result(
        text=f"the mesh is at {point!r}: {done}",
        mesh=mesh.kind,
        seconds=time.monotonic() - begun,
    )


def _bookinfo(mesh: Mesh) -> list[str]:
    """Bring the mesh to "bookinfo"; what was done, in a person's words."""
    gone: list[str] = []
    for kind in ("wasmplugin", "trafficextension"):
        for obj in mesh.get(kind).extra["objects"]:
            name = obj["metadata"]["name"]
            mesh.delete(kind, name, missing_ok=True)
            gone.append(f"{kind}/{name}")
    held = [(None, name) for name in configmaps(mesh)] + [("istio-system", CONFIGMAP)]
    for namespace, name in held:
        # kubectl delete --ignore-not-found prints a line only for what was there.
        if mesh.delete("configmap", name, namespace=namespace, missing_ok=True).text:
            gone.append(f"configmap/{name}{f' in {namespace}' if namespace else ''}")
    # A patch outlives an apply of the manifest without it, so the Deployment starts anew.
    if not _pristine(mesh) and mesh.delete("deployment", DEPLOYMENT, missing_ok=True).text:
        gone.append(f"the changed deployment/{DEPLOYMENT}")
    deploy_bookinfo(mesh)
    return [*([f"took away {', '.join(gone)}"] if gone else []), "Bookinfo runs, without a plugin"]


def _pristine(mesh: Mesh) -> bool:
    try:
        found = mesh.get("deployment", DEPLOYMENT).extra["objects"][0]
    except NotFound:
        return False
    template = found["spec"]["template"]
    return not template["metadata"].get("annotations") and not any(
        "configMap" in volume for volume in template["spec"].get("volumes") or ()
    )


def _deployed(mesh: Mesh, wasm: Path | None) -> list[str]:
    """Bring the mesh to "deployed"; what was done, in a person's words."""
    done = _bookinfo(mesh)[:-1]
    create_configmap(mesh, wasm or build_plugin("header-logger"))
    patch_deployment(mesh, "patch-productpage-sidecar-volume.yaml")
    mesh.wait_ready(DEPLOYMENT, timeout=180)
    apply_wasmplugin(mesh)
    mesh.set_log_level("wasm:info")
    return [
        *done,
        f"Bookinfo runs; made configmap/{CONFIGMAP}, mounted it into the sidecar, "
        f"applied wasmplugin/{PLUGIN}, set the log level to wasm:info",
    ]
