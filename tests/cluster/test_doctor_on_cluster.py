"""why_no_log on a cluster: the article's failures, each at the layer that the local mesh names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import doctor, paths, steps
from helpers.doctor import Diagnosis
from helpers.errors import NotReady
from helpers.mesh.cluster import ClusterMesh
from helpers.mesh.cluster.errors import About


def lost_at(found: Diagnosis, layer: str) -> str:
    """The layer fails, all before it hold, none after it was looked at; what was seen there."""
    assert found.layer == layer, found.text
    words = [row[1] for row in found.rows]
    at = [row[0] for row in found.rows].index(layer)
    assert words == ["ok"] * at + ["FAILS"] + ["not reached"] * (len(words) - at - 1)
    assert found.cause
    assert found.fix
    assert found.call
    return str(found.rows[at][2])


def test_the_articles_failures_one_after_the_other(
    mesh: ClusterMesh, wasm: dict[str, Path]
) -> None:
    lost_at(doctor.why_no_log(mesh), "plugin")

    steps.create_configmap(mesh, wasm["as-printed"], namespace="istio-system")
    steps.apply_wasmplugin(mesh)
    assert steps.MOUNT_PATH in lost_at(doctor.why_no_log(mesh), "volume")

    steps.patch_deployment(mesh, "patch-productpage-app-volume.yaml")
    with pytest.raises(NotReady, match="not ready"):
        mesh.wait_ready(steps.DEPLOYMENT, timeout=10)
    found = doctor.why_no_log(mesh)
    seen = lost_at(found, "pod")
    assert "Init:0/2" in seen
    assert "FailedMount" in seen
    assert "istio-system" in found.cause
    assert f"-n {mesh.namespace}" in found.fix

    steps.create_configmap(mesh, wasm["as-printed"])
    mesh.wait_ready(steps.DEPLOYMENT, timeout=120)
    assert "not in istio-proxy" in lost_at(doctor.why_no_log(mesh), "volume")

    steps.patch_deployment(mesh, "patch-productpage-sidecar-volume.yaml")
    mesh.wait_ready(steps.DEPLOYMENT, timeout=120)
    steps.curl_until(mesh, 503, timeout=30)
    found = doctor.why_no_log(mesh)
    assert "503" in lost_at(found, "requests")
    assert "proxy_on_context_create" in found.cause

    steps.deploy(mesh, wasm["header-logger"])
    steps.curl_until(mesh, 200, timeout=30)
    assert "wasm: warning" in lost_at(doctor.why_no_log(mesh), "log level")

    mesh.set_log_level("wasm:info")
    assert doctor.why_no_log(mesh).found


def test_a_selector_and_a_direction_that_do_not_fit(deployed: ClusterMesh) -> None:
    steps.apply_wasmplugin(deployed, selector={"matchLabels": {"app": "reviews"}})
    lost_at(doctor.why_no_log(deployed), "selector")
    steps.apply_wasmplugin(deployed, match=[{"mode": "CLIENT"}])
    lost_at(doctor.why_no_log(deployed), "direction")


def test_strict_mtls_is_the_cause_of_a_reset(deployed: ClusterMesh) -> None:
    path = f"/apis/security.istio.io/v1/namespaces/{deployed.namespace}/peerauthentications"
    about = About("create", "peerauthentications.security.istio.io", "PeerAuthentication")
    deployed.connection.request("POST", path, about=about, body={
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}})
    try:
        steps.curl_until(deployed, 0, timeout=15)
        found = doctor.why_no_log(deployed)
        lost_at(found, "requests")
        assert "STRICT" in found.cause
        assert 'container="productpage"' in found.call
    finally:
        deployed.connection.request("DELETE", f"{path}/default", about=about)


@pytest.mark.parametrize(("switch", "words"), [
    ("namespace", "istio-injection=disabled"),
    ("template", "sidecar.istio.io/inject: false"),
])
def test_a_pod_without_a_sidecar_tells_why_it_has_none(
    learner: Callable[..., ClusterMesh], switch: str, words: str
) -> None:
    mesh = learner(f"no-sidecar-{switch}")
    mesh.apply(paths.manifests() / "bookinfo.yaml")
    if switch == "namespace":
        mesh.connection.request(
            "PATCH", f"/api/v1/namespaces/{mesh.namespace}", about=About(),
            content_type="application/merge-patch+json",
            body={"metadata": {"labels": {"istio-injection": "disabled"}}})
        mesh.restart(steps.DEPLOYMENT)
    else:
        mesh.patch("deployment", steps.DEPLOYMENT, {"spec": {"template": {"metadata": {
            "labels": {"sidecar.istio.io/inject": "false"}}}}})
    mesh.wait_ready(steps.DEPLOYMENT, timeout=120)
    found = doctor.why_no_log(mesh)
    assert "no sidecar" in lost_at(found, "pod")
    assert words in found.cause
