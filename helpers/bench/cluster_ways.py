"""The ways in which an edited module comes to a sidecar, on this computer and on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import manifests, module, paths, steps
from helpers.bench.inner_loop import Stuck
from helpers.errors import NotReady
from helpers.mesh.base import Mesh
from helpers.steps_loop import configmaps

#: Where the module lies in the sidecar.
FILE = f"/etc/wasm/header-logger/{steps.KEY}"
#: A kubelet that nobody woke looks at its volumes once a minute, and its cache may be as old.
KUBELET_SECONDS = 180.0
_LINE_SECONDS = 60.0
_PODS = "app=productpage"

#: Brings a module to the mesh; gives the seconds until the file was in the sidecar and, from
#: there, until it was loaded. Where the new pod brings the file, all of it is the latter.
Deliver = Callable[[Mesh, Path], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way from an edit to its first log line.

    Attributes:
        name: as the tables and the plot call it.
        mesh: where.
        deliver: brings the built module there.
        line: requests until the new text is in the log.
        incremental: whether cargo may keep what the edit did not touch.
        after: what the next way needs; no part of the time.
        most: at most this often; None: in each round.
    """

    name: str
    mesh: Mesh
    deliver: Deliver
    line: Callable[[Mesh, str], None]
    incremental: bool = True
    after: Callable[[Mesh, Path], None] | None = None
    most: int | None = None


def in_place(mesh: Mesh, wasm: Path) -> tuple[float, float]:
    """`steps.deploy`: the ConfigMap replaced, the kubelet woken, the WasmPlugin touched."""
    begun = time.perf_counter()
    done = steps.deploy(mesh, wasm, how="in-place")
    return done.delivered, time.perf_counter() - begun - done.delivered


def by_hash(mesh: Mesh, wasm: Path) -> tuple[float, float]:
    """`steps.deploy`: a ConfigMap named after its content, and a new pod that mounts it."""
    begun = time.perf_counter()
    steps.deploy(mesh, wasm, how="rollout")
    return 0.0, time.perf_counter() - begun


def by_hand(mesh: Mesh, wasm: Path) -> tuple[float, float]:
    """The article's way: replace the ConfigMap, restart, wait, set the log level again."""
    begun = time.perf_counter()
    steps.create_configmap(mesh, wasm)
    mesh.restart(steps.DEPLOYMENT)
    mesh.wait_ready(steps.DEPLOYMENT, timeout=180)
    mesh.set_log_level("wasm:info")  # a new pod has Istio's default level
    return 0.0, time.perf_counter() - begun


def by_kubelet(mesh: Mesh, wasm: Path) -> tuple[float, float]:
    """In place, but the kubelet comes by in its own time.

    Raises:
        NotReady: it had not come after three minutes.
    """
    begun = time.perf_counter()
    digest = module.inspect(wasm).sha256
    steps.create_configmap(mesh, wasm)
    while mesh.file_sha256(FILE).sha256 != digest:
        if time.perf_counter() - begun > KUBELET_SECONDS:
            raise NotReady(
                f"the kubelet had not brought the new file after {KUBELET_SECONDS:.0f} s",
                cause="its syncFrequency is longer than a minute, or it is ill",
                fix="./workbook cluster status")
        time.sleep(0.5)
    delivered = time.perf_counter() - begun
    mesh.patch("wasmplugin", steps.PLUGIN,
               {"metadata": {"annotations": {"workbook/module-sha256": digest}}})
    return delivered, time.perf_counter() - begun - delivered


def put_back(mesh: Mesh, wasm: Path) -> None:
    """After a rollout: the Deployment mounts the plain ConfigMap again, at Istio's own level."""
    steps.create_configmap(mesh, wasm)
    patch: dict[str, Any] = manifests.load_patch(
        paths.manifests() / "patch-productpage-sidecar-volume.yaml")
    notes = patch["spec"]["template"]["metadata"]["annotations"]
    notes["sidecar.istio.io/componentLogLevel"] = None
    mesh.patch("deployment", steps.DEPLOYMENT, patch)
    mesh.wait_ready(steps.DEPLOYMENT, timeout=180)
    for name in configmaps(mesh):
        if name != steps.CONFIGMAP:
            mesh.delete("configmap", name, missing_ok=True)
    mesh.set_log_level("wasm:info")


def settled(mesh: Mesh, *, timeout: float = 180.0) -> None:
    """Wait until an old pod of productpage is gone: it would still answer, or take the CPU.

    Raises:
        NotReady: there are still several, or none is ready.
    """
    deadline = time.monotonic() + timeout
    while True:
        pods = mesh.pods(_PODS)
        if len(pods.pods) == 1 and pods.pods[0].is_ready:
            return
        if time.monotonic() > deadline:
            raise NotReady("productpage did not come to rest with one ready pod",
                           cause=f"after {timeout:.0f} s its pods are those below",
                           fix="look at its events: mesh.events()", detail=pods.text)
        time.sleep(0.3)


def first_line(mesh: Mesh, text: str) -> None:
    """The article's request and a look at the log, in turn, until a line with `text` is there.

    Raises:
        Stuck: there is none after a minute.
    """
    deadline = time.monotonic() + _LINE_SECONDS
    while True:
        answer = steps.curl(mesh)
        # No `since`: a node's clock may differ from ours, and the text is of this round alone.
        if mesh.logs(grep=text).lines:
            return
        if time.monotonic() > deadline:
            raise Stuck(
                f"no line with {text!r} within {_LINE_SECONDS:.0f} s; the last answer was "
                f"{answer.status}",
                cause="Envoy still runs the old module, or refused the new one",
                fix="the last log lines are below", detail=mesh.logs(tail=10).text)
        time.sleep(0.05)
