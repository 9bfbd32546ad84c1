"""Objects, pods and rollouts: what each verb answers, and how it refuses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from contract import page
from helpers import steps
from helpers.errors import AlreadyExists, BadManifest, NotFound, NotReady
from helpers.mesh.base import Mesh

FOLDER = f"file://{steps.MOUNT_PATH}/{steps.KEY}"


def plugin(mesh: Mesh, name: str = "probe", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": mesh.namespace},
        "spec": {"url": FOLDER, "selector": {"matchLabels": {"app": "nobody"}}, **spec},
    }


def test_it_is_a_mesh_with_a_badge_and_a_namespace(mesh: Mesh) -> None:
    assert isinstance(mesh, Mesh)
    assert mesh.kind in ("local", "cluster")
    assert mesh.pods().mesh == mesh.kind


def test_a_configmap_is_created_and_then_replaced(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "greeting.txt"
    file.write_text("hello\n")
    mesh.delete("configmap", "greeting", missing_ok=True)
    first = mesh.create_configmap("greeting", {"greeting.txt": file})
    assert first.text == "configmap/greeting created"
    assert first.command.startswith("kubectl create configmap greeting ")
    assert "--from-file=greeting.txt=" in first.command
    file.write_text("good day\n")
    assert mesh.create_configmap("greeting", {"greeting.txt": file}).text == (
        "configmap/greeting replaced")
    (found,) = mesh.get("configmap", "greeting").extra["objects"]
    assert found["data"] == {"greeting.txt": "good day\n"}
    assert mesh.delete("configmap", "greeting").text.startswith('configmap "greeting" deleted')


def test_a_configmap_of_bytes_keeps_them(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "raw"
    file.write_bytes(b"\0asm\xff")
    mesh.create_configmap("raw", {"raw": file})
    (found,) = mesh.get("cm", "raw").extra["objects"]
    assert found["binaryData"] == {"raw": "AGFzbf8="}
    assert "data" not in found
    mesh.delete("cm", "raw")


def test_a_configmap_over_a_mebibyte_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"\xff" * 1_048_577)
    with pytest.raises(BadManifest, match="Too long: may not be more than 1048576 bytes"):
        mesh.create_configmap("big", {"big": big})
    with pytest.raises(NotFound):
        mesh.get("configmap", "big")


def test_a_configmap_in_a_namespace_that_is_not_there_is_refused(
    mesh: Mesh, wasm: dict[str, Path]
) -> None:
    with pytest.raises(NotFound, match='namespaces "nope" not found'):
        mesh.create_configmap("x", {"k": wasm["noop"]}, namespace="nope")


def test_apply_says_created_unchanged_configured(mesh: Mesh) -> None:
    label = "wasmplugin.extensions.istio.io/probe"
    assert mesh.apply(plugin(mesh)).text == f"{label} created"
    assert mesh.apply(plugin(mesh)).text == f"{label} unchanged"
    assert mesh.apply(plugin(mesh, priority=7)).text == f"{label} configured"
    (found,) = mesh.get("wasmplugin", "probe").extra["objects"]
    assert found["spec"]["priority"] == 7
    assert mesh.apply(plugin(mesh)).text == f"{label} configured"
    (found,) = mesh.get("wasmplugin", "probe").extra["objects"]
    assert "priority" not in found["spec"], "what is applied no more goes away"


def test_a_patch_that_changes_nothing_says_so(mesh: Mesh) -> None:
    mesh.apply(plugin(mesh))
    note = {"metadata": {"annotations": {"again": "1"}}}
    first = mesh.patch("wasmplugin", "probe", note)
    assert first.text == "wasmplugin.extensions.istio.io/probe patched"
    assert first.command.startswith("kubectl patch wasmplugin probe ")
    assert mesh.patch("wasmplugin", "probe", note).text.endswith("patched (no change)")


def test_delete_get_and_patch_of_nothing_are_not_found(mesh: Mesh) -> None:
    for call in (
        lambda: mesh.delete("wasmplugin", "none"),
        lambda: mesh.get("wasmplugin", "none"),
        lambda: mesh.patch("wasmplugin", "none", {"spec": {"priority": 1}}),
        lambda: mesh.wait_ready("none", timeout=1),
        lambda: mesh.restart("none"),
    ):
        with pytest.raises(NotFound, match='"none" not found') as caught:
            call()
        assert caught.value.fix
    assert mesh.delete("wasmplugin", "none", missing_ok=True).text == ""


def test_a_namespace_is_made_once(mesh: Mesh) -> None:
    name = f"{mesh.namespace}-twice"
    assert mesh.create_namespace(name).text == f"namespace/{name} created"
    try:
        with pytest.raises(AlreadyExists, match=f'namespaces "{name}" already exists'):
            mesh.create_namespace(name)
    finally:
        mesh.delete("namespace", name)


@pytest.mark.parametrize(("spec", "field", "words"), [
    ({"foo": 1}, "spec.foo", 'unknown field "spec.foo"'),
    ({"phase": "NOPE"}, "spec.phase", 'Unsupported value: "NOPE"'),
    ({"url": None}, "spec.url", "Required value"),
    ({"priority": "a"}, "spec.priority", "must be of type integer"),
    ({"targetRefs": [{"kind": "Service", "name": "x"}]}, "spec",
     "only one of targetRefs or selector can be set"),
    ({"sha256": "zz"}, "spec.sha256", "should match '(^$|^[a-f0-9]{64}$)'"),
    ({"match": [{"ports": [{"number": 0}]}]}, "spec.match[0].ports[0].number",
     "should be greater than or equal to 1"),
    ({"vmConfig": {"env": [{"name": "A", "valueFrom": "HOST", "value": "b"}]}},
     "spec.vmConfig.env[0]", "value may only be set when valueFrom is INLINE"),
])
def test_a_refused_plugin_names_its_field_and_is_not_stored(
    mesh: Mesh, spec: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(BadManifest) as caught:
        mesh.apply(plugin(mesh, "refused", **spec))
    assert words in str(caught.value)
    assert caught.value.field == field
    with pytest.raises(NotFound):
        mesh.get("wasmplugin", "refused")


def test_a_bad_name_is_refused(mesh: Mesh) -> None:
    with pytest.raises(BadManifest, match="lowercase RFC 1123 subdomain") as caught:
        mesh.apply(plugin(mesh, "Bad_Name"))
    assert caught.value.field == "metadata.name"


def test_pods_have_kubectls_columns_and_bookinfo_is_ready(mesh: Mesh) -> None:
    found = mesh.pods()
    assert found.columns == ("NAME", "READY", "STATUS", "RESTARTS", "AGE")
    assert {pod.labels["app"] for pod in found.pods} == {
        "productpage", "details", "reviews", "ratings"}
    pod = page(mesh)
    assert (pod.ready, pod.status, pod.is_ready) == ("2/2", "Running", True)
    assert set(pod.containers) >= {"productpage", "istio-proxy"}
    assert abs(pod.created - time.time()) < 24 * 3600
    assert mesh.pods("app=nobody").pods == ()


def test_deployments_and_crds_are_shown_with_kubectls_columns(mesh: Mesh) -> None:
    found = mesh.get("deployment")
    assert found.columns == ("NAME", "READY", "AGE")
    assert steps.DEPLOYMENT in {row[0] for row in found.rows}
    assert steps.check_crd(mesh).columns == ("NAME", "CREATED AT")


def test_a_restart_brings_a_new_pod_and_the_old_one_goes(mesh: Mesh) -> None:
    old = page(mesh)
    assert mesh.restart(steps.DEPLOYMENT).text == (
        f"deployment.apps/{steps.DEPLOYMENT} restarted")
    said = mesh.wait_ready(steps.DEPLOYMENT)
    assert said.text == f'deployment "{steps.DEPLOYMENT}" successfully rolled out'
    assert page(mesh).name != old.name
    assert steps.curl_until(mesh, 200, timeout=60).status == 200


def test_a_pod_without_its_configmap_stays_in_init_and_the_old_one_serves(mesh: Mesh) -> None:
    old = page(mesh)
    steps.patch_deployment(mesh, "patch-productpage-app-volume.yaml")
    with pytest.raises(NotReady) as failure:
        mesh.wait_ready(steps.DEPLOYMENT, timeout=8)
    assert 'configmap "header-logger" not found' in failure.value.cause
    pods = {pod.name: pod for pod in mesh.pods("app=productpage").pods}
    assert (pods[old.name].ready, pods[old.name].status) == ("2/2", "Running")
    (new,) = [pod for name, pod in pods.items()
              if name != old.name and pod.status != "Terminating"]
    assert (new.ready, new.status, new.is_ready) == ("0/2", "Init:0/2", False)
    found = mesh.events()
    assert found.columns == ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
    event = next(e for e in found.events[::-1]
                 if e.reason == "FailedMount" and "not found" in e.message)
    assert (event.type, event.source, event.object) == ("Warning", "kubelet", f"pod/{new.name}")
    assert event.message == (
        'MountVolume.SetUp failed for volume "wasm-filters" : configmap "header-logger" not found')
    assert steps.curl(mesh).status == 200
