"""What was once observed on a real cluster, each row of it observed again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from contract.modules import UNKNOWN_IMPORT

from helpers import listeners, logs, steps
from helpers.errors import NotFound, NotReady
from helpers.mesh.cluster import ClusterMesh
from helpers.mesh.cluster.errors import About

NOT_UTF8 = b"Yodao\xa1\xb1; )"
SERVER = [{"mode": "SERVER"}]
FILE = f"{steps.MOUNT_PATH}/{steps.KEY}"


def the_pod(mesh: ClusterMesh) -> str:
    """The one pod of productpage that stays."""
    (name,) = [p.name for p in mesh.pods("app=productpage").pods if p.status == "Running"]
    return name


def test_the_articles_steps_exactly_as_printed(mesh: ClusterMesh, wasm: dict[str, Path]) -> None:
    name = f"{mesh.namespace}.header-logger~istio-translated-wasmplugin"
    assert steps.create_configmap(
        mesh, wasm["as-printed"], namespace="istio-system").text.endswith("created")

    # The plugin comes to a pod that has no such file.
    begun = time.time()
    steps.apply_wasmplugin(mesh)
    reply = steps.curl_until(mesh, 500, timeout=30)
    assert (reply.status, reply.body) == (500, "")
    line = steps.wait_for_log(mesh, "Invalid path", since=begun).lines[0]
    assert "\twarning\tenvoy config source/" in line
    assert ("delta config for type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig "
            f"rejected: Invalid path: {FILE}") in line

    # The volume is named in a namespace that has no such ConfigMap.
    old = the_pod(mesh)
    steps.patch_deployment(mesh, "patch-productpage-app-volume.yaml")
    with pytest.raises(NotReady) as failure:
        mesh.wait_ready(steps.DEPLOYMENT, timeout=10)
    assert 'configmap "header-logger" not found' in failure.value.cause
    states = {pod.name: (pod.ready, pod.status) for pod in mesh.pods("app=productpage").pods}
    assert states.pop(old) == ("2/2", "Running")
    assert list(states.values()) == [("0/2", "Init:0/2")]
    event = steps.wait_for_event(mesh, "FailedMount", text="not found").events[-1]
    assert (event.type, event.source) == ("Warning", "kubelet")

    # With the ConfigMap the pod starts, and still Envoy sees no file: it is in the other container.
    steps.create_configmap(mesh, wasm["as-printed"])
    mesh.wait_ready(steps.DEPLOYMENT, timeout=120)
    assert the_pod(mesh) != old
    assert steps.curl_until(mesh, 500, timeout=30).status == 500
    assert steps.wait_for_log(mesh, "Invalid path").lines
    with pytest.raises(NotFound, match="No such file"):
        mesh.file_sha256(FILE)

    # Mounted where Envoy runs, the printed code panics.
    steps.patch_deployment(mesh, "patch-productpage-sidecar-volume.yaml")
    mesh.wait_ready(steps.DEPLOYMENT, timeout=120)
    assert steps.curl_until(mesh, 503, timeout=30).status == 503
    steps.wait_for_log(mesh, " 503 - wasm_fail_stream ")
    frame = logs.parse(mesh.logs())
    panic = frame[frame["text"].str.contains("proxy_on_context_create failed", na=False)].iloc[0]
    assert (panic["level"], panic["logger"]) == ("error", "wasm")
    assert "Uncaught RuntimeError: unreachable" in panic["text"]
    assert "proxy_wasm::dispatcher::Dispatcher::on_create_context" in panic["text"]
    assert panic["lines"] > 5, "the backtrace is one record"

    # The corrected code answers, and is silent at the sidecar's own level.
    mesh.delete("wasmplugin", steps.PLUGIN)
    steps.create_configmap(mesh, wasm["header-logger"])
    mesh.sync_volumes()
    steps.apply_wasmplugin(mesh)
    assert steps.curl_until(mesh, 200, timeout=30).status == 200
    assert mesh.proxy_config("log").extra["json"]["wasm"] == "warning"
    assert not steps.user_agent_lines(mesh).lines

    # At last.
    mesh.set_log_level("wasm:info")
    begun = time.time()
    assert steps.curl(mesh).status == 200
    line = steps.wait_for_log(mesh, "User-Agent: MyTestClient\tthread", since=begun).lines[0]
    row = logs.plugin_lines(logs.parse(line)).iloc[0]
    assert (row["plugin"], row["text"]) == (name, "User-Agent: MyTestClient")


@pytest.fixture(scope="module")
def mounted(shared_mesh: ClusterMesh, wasm: dict[str, Path]) -> ClusterMesh:
    steps.start_from(shared_mesh, "deployed", wasm=wasm["header-logger"])
    steps.curl_until(shared_mesh, 200, timeout=60)
    return shared_mesh


def place(mesh: ClusterMesh, module: Path, **spec: object) -> None:
    """A module in the sidecar and the WasmPlugin changed for it, inbound only: new VMs.

    Not deleted before: a listener that drains, for 45 s, keeps what Envoy took under that name,
    and a new object of the same name may meet it.
    """
    steps.create_configmap(mesh, module)
    mesh.sync_volumes()
    steps.apply_wasmplugin(mesh, match=SERVER, **spec)
    # An apply that changes nothing would leave the old code at work.
    touched = {"metadata": {"annotations": {"placed": str(time.time())}}}
    mesh.patch("wasmplugin", steps.PLUGIN, touched)


def statuses(mesh: ClusterMesh, count: int, **more: object) -> list[int]:
    return [steps.curl(mesh, **more).status for _ in range(count)]


def test_log_lines_of_all_kinds_are_parsed(mounted: ClusterMesh) -> None:
    steps.curl(mounted, user_agent="parsed/1")
    # In quotes it stands in the access log alone, which Envoy flushes once a second.
    steps.wait_for_log(mounted, '"parsed/1"')
    frame = logs.parse(mounted.logs())
    assert {"plugin", "agent", "access"} <= set(frame["kind"].dropna())
    known = frame[frame["kind"] != "malformed"]
    assert known["time"].notna().all()
    access = logs.access_lines(frame, "inbound").iloc[-1]
    assert (access["method"], access["path"], access["status"]) == ("GET", "/productpage", 200)
    assert access["user_agent"] == "parsed/1"
    assert access["upstream_cluster"] == "inbound|9080||"


def test_a_plugin_says_that_it_is_configured_for_each_vm(mounted: ClusterMesh) -> None:
    begun = time.time()
    steps.apply_wasmplugin(mounted, match=SERVER, pluginConfig={"log_level": "info", "n": 1})
    deadline = time.monotonic() + 10
    lines: tuple[str, ...] = ()
    while len(lines) < 4 and time.monotonic() < deadline:
        lines = mounted.logs(grep="HeaderLogger configured", since=begun).lines
        time.sleep(0.2)
    assert len(lines) >= 4, "a throw-away VM, the main thread, each of two workers"
    assert any("\twasm log: HeaderLogger configured" in line for line in lines)


def test_plugin_name_environment_and_policy_reach_envoy(mounted: ClusterMesh) -> None:
    steps.apply_wasmplugin(
        mounted, match=SERVER, pluginName="my_root", failStrategy="FAIL_OPEN",
        vmConfig={"env": [{"name": "TEAM", "value": "blue"}]})
    (resource,) = mounted.proxy_config("ecds").extra["json"]
    config = resource["typed_config"]["config"]
    assert (config["root_id"], config["failure_policy"]) == ("my_root", "FAIL_OPEN")
    assert config["vm_config"]["environment_variables"]["key_values"]["TEAM"] == "blue"
    begun = time.time()
    steps.curl(mounted)
    line = steps.wait_for_log(mounted, " my_root: User-Agent: MyTestClient", since=begun).lines[0]
    assert logs.parse(line)["root_id"].iloc[0] == "my_root"


def test_a_configmap_below_the_limit_passes(mounted: ClusterMesh, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"\xff" * 1_040_000)
    assert mounted.create_configmap("big", {"big": big}).text == "configmap/big created"
    assert mounted.create_configmap("big", {"big": big}).text == "configmap/big replaced"
    mounted.delete("configmap", "big")


def test_one_header_that_is_not_utf8_takes_the_naive_filter_down(
    mounted: ClusterMesh, wasm: dict[str, Path]
) -> None:
    place(mounted, wasm["naive"])
    steps.curl_until(mounted, 200, timeout=30)
    assert statuses(mounted, 3) == [200] * 3
    begun = time.time()
    # Each connection goes to one of two workers, which nobody chooses.
    for _ in range(12):
        steps.curl(mounted, user_agent=NOT_UTF8)
    assert statuses(mounted, 4) == [503] * 4
    steps.wait_for_log(mounted, "proxy_on_request_headers failed", since=begun)
    assert "proxy_wasm::hostcalls::get_map" in mounted.logs(since=begun).text


def test_the_corrected_filter_survives_the_same_header(
    mounted: ClusterMesh, wasm: dict[str, Path]
) -> None:
    place(mounted, wasm["header-logger"])
    steps.curl_until(mounted, 200, timeout=30)
    begun = time.time()
    assert statuses(mounted, 4, user_agent=NOT_UTF8) == [200] * 4
    assert statuses(mounted, 4) == [200] * 4
    assert steps.wait_for_log(mounted, "User-Agent: Yodao", since=begun).lines


ALWAYS = {"panic_on": "every-request"}


def test_fail_open_fails_the_first_request_of_each_worker_and_then_lets_all_pass(
    mounted: ClusterMesh, wasm: dict[str, Path]
) -> None:
    place(mounted, wasm["panics"], failStrategy="FAIL_OPEN", pluginConfig=ALWAYS)
    first = steps.curl_until(mounted, 503, timeout=30)
    assert first.status == 503
    seen = statuses(mounted, 14)
    assert seen.count(503) <= 1, "one for each of two workers"
    assert seen[-2:] == [200, 200]


def test_fail_close_fails_every_request(mounted: ClusterMesh, wasm: dict[str, Path]) -> None:
    place(mounted, wasm["panics"], failStrategy="FAIL_CLOSE", pluginConfig=ALWAYS)
    steps.curl_until(mounted, 503, timeout=30)
    assert statuses(mounted, 5) == [503] * 5


def test_fail_reload_fails_every_request_and_reloads_at_most_once_a_second(
    mounted: ClusterMesh, wasm: dict[str, Path]
) -> None:
    place(mounted, wasm["panics"], failStrategy="FAIL_RELOAD", pluginConfig=ALWAYS)
    assert mounted.proxy_config("ecds").extra["json"][0]["typed_config"]["config"][
        "failure_policy"] == "FAIL_RELOAD"
    steps.curl_until(mounted, 503, timeout=30)
    assert set(statuses(mounted, 6)) == {503}


#: Each bad module with words that Envoy logs about it.
BAD: dict[str, tuple[Callable[[dict[str, Path]], bytes], str]] = {
    "empty": (lambda _: b"", "Plugin configured to fail closed failed to load"),
    "truncated": (lambda wasm: wasm["header-logger"].read_bytes()[:20_000],
                  "Wasm VM failed Failed to parse corrupted Wasm module"),
    "text": (lambda _: b"this is no module\n", "Wasm VM failed "),
    "unknown-import": (lambda _: bytes(wasmtime.wat2wasm(UNKNOWN_IMPORT)),
                       "missing import: env.proxy_frobnicate"),
    "not-configured": (lambda wasm: wasm["not-configured"].read_bytes(),
                       "Wasm VM failed Failed to configure base Wasm plugin"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_module_answers_500_and_envoy_says_why(
    mounted: ClusterMesh, wasm: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    make, words = BAD[kind]
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(make(wasm))
    mounted.delete("wasmplugin", steps.PLUGIN, missing_ok=True)
    steps.create_configmap(mounted, bad)
    mounted.sync_volumes()
    begun = time.time()
    # A name of its own: a listener that drains (45 s) holds what Envoy took under the last name,
    # and a refused update leaves that at work.
    mounted.apply(plugin(mounted, f"bad-{kind}", match=SERVER))
    assert mounted.file_sha256(FILE).sha256 == hashlib.sha256(bad.read_bytes()).hexdigest()
    reply = steps.curl_until(mounted, 500, timeout=30)
    assert (reply.status, reply.body) == (500, "")
    line = steps.wait_for_log(mounted, words, since=begun).lines[0]
    assert line.split("\t")[1] in ("warning", "error", "critical")
    assert [p.ready for p in mounted.pods("app=productpage").pods if p.status == "Running"] == [
        "2/2"]
    mounted.delete("wasmplugin", f"bad-{kind}")


def test_a_good_module_heals_it(mounted: ClusterMesh, wasm: dict[str, Path]) -> None:
    place(mounted, wasm["header-logger"])
    assert steps.curl_until(mounted, 200, timeout=30).status == 200


def plugin(mesh: ClusterMesh, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": mesh.namespace},
            "spec": {"url": f"file://{FILE}", **spec}}


def inbound(mesh: ClusterMesh) -> list[str]:
    """Our plugins on the inbound listener, in order, by bare name."""
    prefix = f"extensions.istio.io/trafficextension/{mesh.namespace}."
    (listener,) = [each for each in mesh.proxy_config("listener").extra["json"]
                   if each["name"] == "virtualInbound"]
    chain: list[str] = next((names for _, names in listeners.http_filters(listener)
                             if any(name.startswith(prefix) for name in names)), [])
    return [name.removeprefix(prefix).removesuffix("~istio-translated-wasmplugin")
            for name in chain if name.startswith(prefix)]


@pytest.fixture
def alone(mounted: ClusterMesh) -> Iterator[ClusterMesh]:
    """No plugin of ours before and after."""
    def clear() -> None:
        for obj in mounted.get("wasmplugin").extra["objects"]:
            mounted.delete("wasmplugin", obj["metadata"]["name"])

    clear()
    yield mounted
    clear()


def test_higher_priority_is_first_and_none_is_last_even_after_negative(
    alone: ClusterMesh,
) -> None:
    alone.apply([
        plugin(alone, name, phase="AUTHZ", **({} if priority is None else {"priority": priority}))
        for name, priority in (("p10", 10), ("none", None), ("p20", 20), ("m5", -5), ("q20", 20))])
    assert inbound(alone) == ["p20", "q20", "p10", "m5", "none"]


def test_phases_come_in_istios_order(alone: ClusterMesh) -> None:
    alone.apply([
        plugin(alone, name, **({} if phase is None else {"phase": phase}))
        for name, phase in (("last", None), ("stats", "STATS"), ("authz", "AUTHZ"),
                            ("authn", "AUTHN"))])
    assert inbound(alone) == ["authn", "authz", "stats", "last"]


def test_a_plugin_where_nothing_is_injected_is_accepted_and_does_nothing(
    alone: ClusterMesh,
) -> None:
    name = f"{alone.namespace}-quiet"
    alone.create_namespace(name)
    try:
        there = plugin(alone, "header-logger")
        there["metadata"]["namespace"] = name
        assert alone.apply(there).text == "wasmplugin.extensions.istio.io/header-logger created"
        assert inbound(alone) == []
        assert steps.curl(alone).status == 200
        assert not [e for e in alone.events(namespace=name).events if e.type == "Warning"]
    finally:
        alone.delete("namespace", name)


def test_strict_mtls_resets_the_articles_curl_and_lets_the_applications_pass(
    alone: ClusterMesh,
) -> None:
    path = f"/apis/security.istio.io/v1/namespaces/{alone.namespace}/peerauthentications"
    about = About("create", "peerauthentications.security.istio.io", "PeerAuthentication")
    alone.connection.request("POST", path, about=about, body={
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}})
    try:
        reply = steps.curl_until(alone, 0, timeout=15)
        assert reply.status == 0
        assert reply.error.startswith("curl: (56) Recv failure: Connection reset by peer")
        assert any("STRICT" in note for note in reply.notes)
        assert steps.curl(alone, container="productpage").status == 200
    finally:
        alone.connection.request("DELETE", f"{path}/default", about=about)
    assert steps.curl_until(alone, 200, timeout=15).status == 200
