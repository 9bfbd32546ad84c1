"""The article's commands that need a mesh, and the waits that belong to them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from helpers import cargo, manifests, paths
from helpers.errors import BadInput, NotReady
from helpers.mesh.base import CurlResult, EventList, LogText, Mesh
from helpers.show import Result, TableResult, table_text

#: The article's names.
CONFIGMAP = "header-logger"
PLUGIN = "header-logger"
KEY = "istio_wasm_demo.wasm"
MOUNT_PATH = "/etc/wasm/header-logger"
DEPLOYMENT = "productpage-v1"
URL = "http://productpage:9080/productpage"
USER_AGENT = "MyTestClient"
APPS = ("details-v1", "ratings-v1", "reviews-v1", DEPLOYMENT)


def build_plugin(name: str, *, profile: str = "release") -> Path:
    """Build one of the workbook's own plugins and give the module's path; fast when cached.

    Args:
        name: "as-printed", "header-logger", "naive", "noop", "panics" or "not-configured".

    Raises:
        NotFound: there is no such plugin.
        BuildFailed, ToolchainMissing: as for `cargo_build`.
    """
    return cargo.build(paths.plugins() / name, profile=profile, sink=None).module


def deploy_bookinfo(mesh: Mesh, *, timeout: float = 120.0) -> Result:
    """kubectl apply -f manifests/bookinfo.yaml, then wait for every Deployment.

    Raises:
        NotReady: a pod is not ready within `timeout` seconds.
    """
    done = mesh.apply(paths.manifests() / "bookinfo.yaml")
    for name in APPS:
        mesh.wait_ready(name, timeout=timeout)
    return done


def check_crd(mesh: Mesh) -> TableResult:
    """kubectl get crd wasmplugins.extensions.istio.io: does the mesh know WasmPlugin at all?"""
    return mesh.get("crd", "wasmplugins.extensions.istio.io")


def create_configmap(mesh: Mesh, wasm: Path, *, namespace: str = "default") -> Result:
    """kubectl create configmap header-logger --from-file=istio_wasm_demo.wasm=WASM -n NAMESPACE

    The article says `-n istio-system`. A ConfigMap that is there already is replaced.

    Raises:
        BadManifest: the module is over 1,048,576 bytes.
    """
    return mesh.create_configmap(CONFIGMAP, {KEY: wasm}, namespace=namespace)


def apply_wasmplugin(mesh: Mesh, **changes: Any) -> Result:
    """kubectl apply -f manifests/wasmplugin.yaml: the article's WasmPlugin.

    With changes it is no longer that file, so the command shows the whole object.

    Args:
        changes: fields of `spec` to set or, with None, to remove: `match=[…]`, `phase="AUTHN"`.
    """
    path = paths.manifests() / "wasmplugin.yaml"
    if not changes:
        return mesh.apply(path)
    document = dict(manifests.load(path)[0])
    spec = dict(document["spec"])
    for key, value in changes.items():
        if value is None:
            spec.pop(key, None)
        else:
            spec[key] = value
    return mesh.apply({**document, "spec": spec})


def patch_deployment(mesh: Mesh, patch: str) -> Result:
    """kubectl patch deploy productpage-v1 --patch-file manifests/PATCH

    Args:
        patch: a file of manifests/, such as "patch-productpage-sidecar-volume.yaml".
    """
    path = paths.manifests() / patch
    if not path.is_file():
        known = ", ".join(sorted(p.name for p in paths.manifests().glob("patch-*.yaml")))
        raise BadInput(
            f"there is no patch {patch!r}",
            cause=f"manifests/ has: {known}",
            fix="use one of these names",
        )
    done = mesh.patch("deployment", DEPLOYMENT, manifests.load_patch(path))
    return Result(
        command=f"kubectl patch deploy {DEPLOYMENT} --patch-file {paths.shown(path)}",
        text=done.text,
        mesh=done.mesh,
    )


def curl(mesh: Mesh, *, user_agent: str | bytes = USER_AGENT, **more: Any) -> CurlResult:
    """The article's request: curl -s -H "User-Agent: MyTestClient" URL, in the sidecar."""
    return mesh.curl(URL, headers={"User-Agent": user_agent}, **more)


def curl_until(mesh: Mesh, status: int, *, timeout: float = 10.0, **more: Any) -> CurlResult:
    """The article's request, again until it is answered with `status`.

    A change of the mesh reaches Envoy within a second or two on a cluster, so the first
    request after it may still meet the old configuration.

    Returns:
        The last answer, whatever its status: a failure of the lesson is a result, too.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = curl(mesh, **more)
        if answer.status == status or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def user_agent_lines(mesh: Mesh, *, since: float | None = None) -> LogText:
    """kubectl logs POD -c istio-proxy | grep User-Agent"""
    return mesh.logs(grep="User-Agent", since=since)


def wait_for_log(
    mesh: Mesh, text: str, *, since: float | None = None, timeout: float = 10.0
) -> LogText:
    """kubectl logs … | grep TEXT, again until there is such a line.

    Raises:
        NotReady: there is none within `timeout` seconds; `detail` has the last lines.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = mesh.logs(grep=text, since=since)
        if found.lines:
            return found
        if time.monotonic() > deadline:
            raise NotReady(
                f"no log line with {text!r} within {timeout:.0f} s",
                cause="the plugin did not log it, or its level is below the sidecar's",
                fix="why_no_log(mesh) looks at each layer",
                detail=mesh.logs(tail=10).text,
            )
        time.sleep(0.05)


def wait_for_event(
    mesh: Mesh, reason: str, *, text: str = "", since: float = 0.0, timeout: float = 30.0
) -> EventList:
    """kubectl get events --field-selector reason=REASON, again until there is one.

    Args:
        reason: such as "FailedMount".
        text: the message has it. A busy kubelet's first event only says that it could not ask yet
            (`helpers.mesh.telling`).
        since: seconds since the epoch; only events last seen at or after it.

    Raises:
        NotReady: there is none within `timeout` seconds; `detail` has the last events.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = mesh.events()
        chosen = [
            (event, row)
            for event, row in zip(found.events, found.rows, strict=True)
            if event.reason == reason and text in event.message and event.time >= since
        ]
        if chosen:
            rows = tuple(row for _, row in chosen)
            return EventList(
                command=f"kubectl get events --field-selector reason={reason}",
                text=table_text(found.columns, rows),
                mesh=found.mesh,
                columns=found.columns,
                rows=rows,
                events=tuple(event for event, _ in chosen),
            )
        if time.monotonic() > deadline:
            raise NotReady(
                f"no event {reason}{f' with {text!r}' if text else ''} within {timeout:.0f} s",
                cause="what should cause it did not happen, or is still under way",
                fix="look at mesh.pods() and mesh.events()",
                detail="\n".join(found.text.splitlines()[-6:]),
            )
        time.sleep(0.1)
