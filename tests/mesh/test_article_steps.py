"""The article's steps, exactly as printed, fail here as they failed on a real cluster."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers import steps
from helpers.errors import NotReady
from helpers.mesh.local import LocalMesh

NAME = "default.header-logger~istio-translated-wasmplugin"
FILTER = f"extensions.istio.io/trafficextension/{NAME}"


def test_the_crd_of_wasmplugin_is_there(mesh: LocalMesh) -> None:
    found = steps.check_crd(mesh)
    assert found.columns == ("NAME", "CREATED AT")
    assert found.rows[0][0] == "wasmplugins.extensions.istio.io"


def test_a_plugin_whose_file_is_not_in_the_sidecar_answers_500(mesh: LocalMesh) -> None:
    begun = time.time()
    steps.apply_wasmplugin(mesh)
    reply = steps.curl(mesh)
    assert (reply.status, reply.body) == (500, "")
    line = steps.wait_for_log(mesh, "Invalid path", since=begun).lines[0]
    assert "\twarning\tenvoy config " in line
    # The container's path, not this computer's.
    assert "Filesystem config update rejected: Invalid path: " + steps.MOUNT_PATH in line


def test_a_configmap_in_another_namespace_leaves_the_new_pod_in_init(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.create_configmap(mesh, wasm["as-printed"], namespace="istio-system")
    old = mesh.pods("app=productpage").pods[0].name
    steps.patch_deployment(mesh, "patch-productpage-app-volume.yaml")
    with pytest.raises(NotReady) as failure:
        mesh.wait_ready(steps.DEPLOYMENT, timeout=1.5)
    assert 'configmap "header-logger" not found' in failure.value.cause
    pods = {pod.name: pod for pod in mesh.pods("app=productpage").pods}
    assert pods[old].status == "Running"
    assert pods[old].ready == "2/2"
    new = next(pod for name, pod in pods.items() if name != old)
    assert (new.status, new.ready) == ("Init:0/2", "0/2")
    event = next(e for e in mesh.events().events[::-1] if e.reason == "FailedMount")
    assert (event.type, event.source) == ("Warning", "kubelet")
    assert event.message == (
        'MountVolume.SetUp failed for volume "wasm-filters" : configmap "header-logger" not found'
    )
    assert steps.curl(mesh).status == 200, "the old pod serves on"


def test_the_waiting_pod_starts_once_its_configmap_is_there(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.apply_wasmplugin(mesh)
    old = mesh.pods("app=productpage").pods[0].name
    steps.patch_deployment(mesh, "patch-productpage-app-volume.yaml")
    steps.create_configmap(mesh, wasm["as-printed"])
    mesh.wait_ready(steps.DEPLOYMENT)
    (pod,) = mesh.pods("app=productpage").pods
    assert pod.name != old
    assert (pod.ready, pod.status) == ("2/2", "Running")
    # The volume is on the application's container; Envoy runs in the other one.
    assert steps.curl(mesh).status == 500
    assert mesh.logs(grep="Invalid path").lines


def test_the_printed_filter_answers_503_because_its_root_has_no_type(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.create_configmap(mesh, wasm["as-printed"])
    steps.patch_deployment(mesh, "patch-productpage-sidecar-volume.yaml")
    steps.apply_wasmplugin(mesh)
    mesh.wait_ready(steps.DEPLOYMENT)
    assert steps.curl(mesh).status == 503
    steps.wait_for_log(mesh, " 503 - wasm_fail_stream ")
    text = mesh.logs().text
    assert "Function: proxy_on_context_create failed: Uncaught RuntimeError: unreachable" in text
    assert "proxy_wasm::dispatcher::Dispatcher::on_create_context" in text


def test_the_corrected_filter_answers_200_and_is_silent_at_the_default_level(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.create_configmap(mesh, wasm["header-logger"])
    steps.patch_deployment(mesh, "patch-productpage-sidecar-volume.yaml")
    steps.apply_wasmplugin(mesh)
    mesh.wait_ready(steps.DEPLOYMENT)
    assert steps.curl(mesh).status == 200
    steps.wait_for_log(mesh, '"GET /productpage HTTP/1.1" 200')
    assert mesh.proxy_config("log").extra["json"]["wasm"] == "warning"
    assert not steps.user_agent_lines(mesh).lines


def test_at_wasm_info_the_user_agent_is_logged_in_the_sidecars_words(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "SERVER"}])
    begun = time.time()
    assert steps.curl(deployed).status == 200
    (line,) = steps.wait_for_log(deployed, "MyTestClient\tthread", since=begun).lines
    stamp, level, where, text, thread = line.split("\t")
    assert stamp.endswith("Z")
    assert level == "info"
    assert where.startswith("envoy wasm source/extensions/common/wasm/context.cc:")
    assert text == f"wasm log {NAME}: User-Agent: MyTestClient"
    assert thread.startswith("thread=")


def test_the_level_set_on_a_pod_is_gone_with_the_pod(deployed: LocalMesh) -> None:
    assert deployed.proxy_config("log").extra["json"]["wasm"] == "info"
    deployed.restart(steps.DEPLOYMENT)
    deployed.wait_ready(steps.DEPLOYMENT)
    assert deployed.proxy_config("log").extra["json"]["wasm"] == "warning"


def test_the_annotation_sets_the_level_for_every_pod_of_the_template(deployed: LocalMesh) -> None:
    steps.patch_deployment(deployed, "patch-productpage-log-level.yaml")
    deployed.wait_ready(steps.DEPLOYMENT)
    begun = time.time()
    assert steps.curl(deployed).status == 200
    assert steps.wait_for_log(deployed, "User-Agent: MyTestClient", since=begun).lines


def test_the_plugin_says_that_it_was_configured_for_each_vm(deployed: LocalMesh) -> None:
    begun = time.time()
    deployed.patch("wasmplugin", "header-logger", {"metadata": {"annotations": {"again": "1"}}})
    lines = steps.wait_for_log(deployed, "HeaderLogger configured", since=begun).lines
    # A throw-away VM, the main thread, then each of two workers, which say so a little later.
    deadline = time.monotonic() + 10
    while len(lines) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
        lines = deployed.logs(grep="HeaderLogger configured", since=begun).lines
    assert len(lines) >= 4
    assert any("\twasm log: HeaderLogger configured" in line for line in lines)
