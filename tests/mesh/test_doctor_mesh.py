"""why_no_log names the layer at which a line is lost, on a mesh that is broken in that layer."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from helpers import doctor, paths, steps
from helpers.doctor import Diagnosis, tools
from helpers.errors import NotFound
from helpers.mesh.local import LocalMesh, volumes

_POD_VOLUME = "patch-productpage-sidecar-volume.yaml"


def outcomes(found: Diagnosis) -> dict[str, str]:
    return {row[0]: row[1] for row in found.rows}


def seen(found: Diagnosis, layer: str) -> str:
    return str(next(row[2] for row in found.rows if row[0] == layer))


def lost_at(found: Diagnosis, layer: str) -> None:
    """The layer fails, all before it hold, none after it was looked at, and a fix is named."""
    assert found.layer == layer, found.text
    assert not found.found
    words = list(outcomes(found).values())
    at = list(outcomes(found)).index(layer)
    assert words[:at] == ["ok"] * at
    assert words[at] == "FAILS"
    assert words[at + 1 :] == ["not reached"] * (len(words) - at - 1)
    assert found.cause
    assert found.fix
    assert found.call


@pytest.fixture
def empty(tmp_path: Path) -> LocalMesh:
    return LocalMesh(state=tmp_path / "state")


def test_a_mesh_with_nothing_on_it_has_no_pod(empty: LocalMesh) -> None:
    found = doctor.why_no_log(empty)

    lost_at(found, "pod")
    assert "kubectl apply -f manifests/bookinfo.yaml" in found.fix


def test_bookinfo_without_a_plugin_lacks_the_plugin(mesh: LocalMesh) -> None:
    lost_at(doctor.why_no_log(mesh), "plugin")


def test_a_configmap_in_istio_system_is_told_by_the_pod_that_waits_for_it(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.create_configmap(mesh, wasm["header-logger"], namespace="istio-system")
    steps.patch_deployment(mesh, _POD_VOLUME)

    found = doctor.why_no_log(mesh)

    lost_at(found, "pod")
    assert "FailedMount" in seen(found, "pod")
    assert "Init:0/2" in seen(found, "pod")
    assert "istio-system" in found.cause
    assert "-n default" in found.fix


def test_a_volume_on_the_application_container_does_not_reach_envoy(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.create_configmap(mesh, wasm["header-logger"])
    steps.patch_deployment(mesh, "patch-productpage-app-volume.yaml")
    mesh.wait_ready(steps.DEPLOYMENT)
    steps.apply_wasmplugin(mesh)

    found = doctor.why_no_log(mesh)

    lost_at(found, "volume")
    assert "in container productpage, not in istio-proxy" in seen(found, "volume")
    assert _POD_VOLUME in found.fix


def test_a_plugin_without_any_volume_says_what_is_not_mounted(mesh: LocalMesh) -> None:
    steps.apply_wasmplugin(mesh)

    found = doctor.why_no_log(mesh)

    lost_at(found, "volume")
    assert "/etc/wasm/header-logger/istio_wasm_demo.wasm" in seen(found, "volume")


def test_a_plugin_in_another_namespace_concerns_no_pod_of_ours(deployed: LocalMesh) -> None:
    plugin = deployed.get("wasmplugin", steps.PLUGIN).extra["objects"][0]
    deployed.delete("wasmplugin", steps.PLUGIN)
    moved = {
        "apiVersion": plugin["apiVersion"],
        "kind": plugin["kind"],
        "metadata": {"name": steps.PLUGIN, "namespace": "elsewhere"},
        "spec": plugin["spec"],
    }
    if "elsewhere" not in {
        found["metadata"]["name"] for found in deployed.get("namespace").extra["objects"]
    }:
        deployed.create_namespace("elsewhere")
    deployed.apply(moved)

    found = doctor.why_no_log(deployed)
    deployed.delete("wasmplugin", steps.PLUGIN, namespace="elsewhere")

    lost_at(found, "plugin")
    assert "elsewhere" in seen(found, "plugin")


def test_a_plugin_in_the_root_namespace_concerns_our_pod(deployed: LocalMesh) -> None:
    plugin = deployed.get("wasmplugin", steps.PLUGIN).extra["objects"][0]
    deployed.delete("wasmplugin", steps.PLUGIN)
    moved = {
        "apiVersion": plugin["apiVersion"],
        "kind": plugin["kind"],
        "metadata": {"name": steps.PLUGIN, "namespace": "istio-system"},
        "spec": plugin["spec"],
    }
    deployed.apply(moved)

    found = doctor.why_no_log(deployed)
    deployed.delete("wasmplugin", steps.PLUGIN, namespace="istio-system")

    assert found.found, found.text
    assert "root namespace" in seen(found, "plugin")


def test_a_selector_for_other_labels_is_named_with_the_pods_own(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, selector={"matchLabels": {"app": "reviews"}})

    found = doctor.why_no_log(deployed)

    lost_at(found, "selector")
    assert "app=reviews" in seen(found, "selector")
    assert "app=productpage" in seen(found, "selector")


def test_a_match_for_outbound_traffic_misses_what_comes_in(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "CLIENT"}])

    lost_at(doctor.why_no_log(deployed), "direction")


def test_a_match_for_another_port_misses_what_comes_in(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "SERVER", "ports": [{"number": 9999}]}])

    found = doctor.why_no_log(deployed)

    lost_at(found, "direction")
    assert "9999" in seen(found, "direction")


def test_a_replaced_configmap_leaves_a_stale_file_in_the_sidecar(
    deployed: LocalMesh, wasm: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "PROPAGATION_SECONDS", 3600.0)
    steps.create_configmap(deployed, wasm["naive"])

    found = doctor.why_no_log(deployed)

    lost_at(found, "file")
    assert "stale" in seen(found, "file")

    deployed.sync_volumes()
    assert outcomes(doctor.why_no_log(deployed))["file"] == "ok"


def test_a_text_file_in_the_configmap_is_no_module(deployed: LocalMesh, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("this is no module\n")
    steps.create_configmap(deployed, wrong)
    deployed.sync_volumes()

    found = doctor.why_no_log(deployed)

    lost_at(found, "module")
    assert "no Wasm module" in seen(found, "module")


def test_a_key_that_the_url_does_not_name_is_no_file(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    deployed.create_configmap(steps.CONFIGMAP, {"other.wasm": wasm["header-logger"]})

    found = doctor.why_no_log(deployed)

    lost_at(found, "volume")
    assert "other.wasm" in seen(found, "volume")


def test_the_printed_filter_is_named_by_the_function_in_which_it_panics(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.start_from(mesh, "deployed", wasm=wasm["as-printed"])

    found = doctor.why_no_log(mesh)

    lost_at(found, "requests")
    assert "503" in seen(found, "requests")
    assert "proxy_on_context_create" in found.cause
    assert "get_type" in found.cause


def test_an_on_configure_that_returns_false_leaves_no_vm(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.start_from(mesh, "deployed", wasm=wasm["not-configured"])

    found = doctor.why_no_log(mesh)

    lost_at(found, "configuration")
    assert "on_configure" in found.cause
    assert "Failed to configure base Wasm plugin" in seen(found, "configuration")


def test_a_file_that_came_after_the_plugin_is_not_looked_for_again_until_the_plugin_changes(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    deployed.create_configmap(steps.CONFIGMAP, {"other.wasm": wasm["header-logger"]})
    deployed.restart(steps.DEPLOYMENT)
    deployed.wait_ready(steps.DEPLOYMENT)
    deployed.set_log_level("wasm:info")
    steps.create_configmap(deployed, wasm["header-logger"])
    deployed.sync_volumes()

    found = doctor.why_no_log(deployed)

    lost_at(found, "configuration")
    assert "Invalid path" in seen(found, "configuration")
    assert "kubectl annotate" in found.fix

    change = {"metadata": {"annotations": {"workbook/touched": "now"}}}
    deployed.patch("wasmplugin", steps.PLUGIN, change)
    assert doctor.why_no_log(deployed).found


def test_one_request_that_is_not_utf8_is_recognised_by_what_it_leaves_behind(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.start_from(mesh, "deployed", wasm=wasm["naive"])
    for _ in range(8):  # enough to reach both workers
        steps.curl(mesh, user_agent=b"Yodao\xa1\xb1; )")

    found = doctor.why_no_log(mesh)

    lost_at(found, "requests")
    assert "proxy_on_request_headers" in found.cause
    assert "UTF-8" in found.cause


def test_fail_open_hides_a_panic_and_the_diagnosis_finds_it(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.start_from(mesh, "deployed", wasm=wasm["as-printed"])
    steps.apply_wasmplugin(mesh, failStrategy="FAIL_OPEN")
    for _ in range(12):
        steps.curl(mesh)

    found = doctor.why_no_log(mesh)

    lost_at(found, "log line")
    assert "FAIL_OPEN" in found.cause


def test_a_module_that_cannot_be_fetched_is_told_by_the_filter_in_its_place(
    mesh: LocalMesh,
) -> None:
    steps.apply_wasmplugin(mesh, url="http://127.0.0.1:1/x.wasm")

    found = doctor.why_no_log(mesh)

    lost_at(found, "configuration")
    assert "RBAC" in seen(found, "configuration")


def test_a_lua_script_is_followed_to_its_own_logger(mesh: LocalMesh) -> None:
    mesh.apply(paths.manifests() / "trafficextension-lua.yaml")
    name = str(mesh.get("trafficextension").extra["objects"][0]["metadata"]["name"])

    quiet = doctor.why_no_log(mesh, plugin=name)
    mesh.set_log_level("lua:info")
    loud = doctor.why_no_log(mesh, plugin=name)

    lost_at(quiet, "log level")
    assert "--level lua:info" in quiet.fix
    assert loud.found, loud.text


def test_a_quiet_logger_is_silence_with_200(deployed: LocalMesh) -> None:
    deployed.set_log_level("wasm:warning")

    found = doctor.why_no_log(deployed)

    lost_at(found, "log level")
    assert "200" in seen(found, "requests")
    assert "--level wasm:info" in found.fix


def test_a_plugin_that_logs_at_debug_wants_a_louder_logger(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, pluginConfig={"log_level": "debug"})

    found = doctor.why_no_log(deployed)

    lost_at(found, "log level")
    assert "--level wasm:debug" in found.fix


def test_a_plugin_that_logs_warnings_is_heard_by_a_quiet_logger(deployed: LocalMesh) -> None:
    deployed.set_log_level("wasm:warning")
    steps.apply_wasmplugin(deployed, pluginConfig={"log_level": "warning"})

    assert doctor.why_no_log(deployed).found


def test_a_log_level_that_the_code_never_reads_changes_nothing(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.start_from(mesh, "deployed", wasm=wasm["naive"])
    mesh.set_log_level("wasm:warning")
    steps.apply_wasmplugin(mesh, pluginConfig={"log_level": "warning"})

    found = doctor.why_no_log(mesh)

    lost_at(found, "log line")
    assert "unless it reads that" in found.cause


def test_a_module_that_logs_nothing_is_told_from_a_broken_one(
    mesh: LocalMesh, wasm: dict[str, Path]
) -> None:
    steps.start_from(mesh, "deployed", wasm=wasm["noop"])

    found = doctor.why_no_log(mesh)

    lost_at(found, "log line")
    assert "the code itself" in found.cause


def test_a_whole_chain_ends_at_the_line(deployed: LocalMesh) -> None:
    found = doctor.why_no_log(deployed)

    assert found.found, found.text
    assert set(outcomes(found).values()) == {"ok"}
    assert "User-Agent: workbook-doctor" in seen(found, "log line")
    assert "The line is there" in found._repr_html_()


def test_an_envoy_that_was_killed_has_forgotten_its_log_level(deployed: LocalMesh) -> None:
    pod = deployed.pods("app=productpage").pods[0]
    record = deployed._registry.get(f"{pod.name}.istio-proxy")
    assert record is not None
    process = record.process()
    assert process is not None
    process.kill()
    process.wait(10)
    deployed.wait_ready(steps.DEPLOYMENT)

    found = doctor.why_no_log(deployed)

    lost_at(found, "log level")
    assert "until it restarts" in found.fix


def test_the_sidecars_file_is_told_by_its_digest_and_its_absence(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    path = f"{steps.MOUNT_PATH}/{steps.KEY}"
    there = deployed.file_sha256(path)

    assert there.sha256 == sha256(wasm["header-logger"].read_bytes()).hexdigest()
    assert there.size == wasm["header-logger"].stat().st_size
    assert "sha256sum" in there.command
    with pytest.raises(NotFound, match="No such file or directory"):
        deployed.file_sha256(path, container="productpage")
    with pytest.raises(NotFound, match="Is a directory"):
        deployed.file_sha256(steps.MOUNT_PATH)


def test_a_diagnosis_is_a_table_and_can_be_read_as_one(deployed: LocalMesh) -> None:
    found = doctor.why_no_log(deployed, plugin="nothing-of-the-kind")

    lost_at(found, "plugin")
    frame = found.frame()
    assert list(frame.columns) == ["layer", "outcome", "seen"]
    assert json.loads(frame.to_json(orient="records"))[0]["outcome"] == "ok"
    assert "header-logger" in seen(found, "plugin")


def test_this_computers_envoy_really_loads_a_module() -> None:
    assert [found.outcome for found in tools.envoy_runtime()] == ["ok"]


def test_the_runtime_check_fails_when_envoy_does_not_load_the_module(tmp_path: Path) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("this is no module\n")

    found = tools.envoy_runtime(wrong)[0]

    assert found.outcome == "fail"
    assert "Wasm VM failed" in found.found


def test_the_whole_report_runs_here_and_no_check_breaks() -> None:
    report = doctor.report()

    assert {found.check for found in report.findings} >= {"Envoy", "Envoy's Wasm runtime", "disk"}
    assert "the check itself broke" not in report.text
    assert str(Path.home()) + "/" not in report.text
