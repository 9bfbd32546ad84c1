"""Requests, logs, Envoy's configuration and the inner loop: what each verb answers."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

from contract import page
from helpers import logs, reconcile, steps, traffic
from helpers.errors import BadInput, NotFound
from helpers.mesh.base import Mesh

FILE = f"{steps.MOUNT_PATH}/{steps.KEY}"
LINE = "User-Agent: "


def access_lines(mesh: Mesh, tag: str, count: int) -> tuple[str, ...]:
    """The access-log lines of a User-Agent, once there are `count`; Envoy flushes each second."""
    deadline = time.monotonic() + 10
    while True:
        found = tuple(line for line in mesh.logs(grep=tag).lines if '"GET /productpage ' in line)
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_curl_tells_status_headers_body_and_the_command(mesh: Mesh) -> None:
    found = mesh.curl(steps.URL, headers={"User-Agent": "contract"})
    assert found.status == 200
    assert found.headers["content-type"].startswith("text/html")
    assert "<html" in found.body.lower()
    assert found.latency_ms > 0
    assert found.error == ""
    assert "curl" in found.command
    assert "-c istio-proxy -- " in found.command


def test_what_is_not_there_has_no_answer_and_curls_words(mesh: Mesh) -> None:
    unknown = mesh.curl("http://nobody:9080/")
    assert (unknown.status, unknown.body) == (0, "")
    assert unknown.error.startswith("curl: (6) Could not resolve host: nobody")
    assert mesh.curl("http://productpage:9080/nothing-there").status == 404


def test_pods_and_containers_that_are_not_there_are_named(mesh: Mesh) -> None:
    with pytest.raises(NotFound, match="nobody-1"):
        mesh.logs("nobody-1")
    with pytest.raises(NotFound, match="sidekick") as caught:
        mesh.curl(steps.URL, container="sidekick")
    assert "istio-proxy" in caught.value.cause


def test_a_pod_is_named_by_name_by_deployment_or_by_label(mesh: Mesh) -> None:
    pod = page(mesh)
    for name in (None, pod.name, f"deploy/{steps.DEPLOYMENT}", "app=productpage"):
        assert pod.name in mesh.proxy_config("log", name).command


def test_from_the_sidecar_one_line_from_the_application_two(deployed: Mesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "SERVER"}, {"mode": "CLIENT"}])
    assert steps.curl(deployed, user_agent="by-proxy/1").status == 200
    assert steps.curl(deployed, user_agent="by-app/1", container="productpage").status == 200
    direct, through = access_lines(deployed, "by-proxy/1", 1), access_lines(
        deployed, "by-app/1", 2)
    assert set(logs.parse("\n".join(direct))["direction"].dropna()) == {"inbound"}
    frame = logs.parse("\n".join(through))
    assert sorted(frame["direction"].dropna()) == ["inbound", "outbound"]
    assert frame["request_id"].nunique() == 1


def test_the_line_is_logged_in_the_sidecars_words(deployed: Mesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "SERVER"}])
    begun = time.time()
    assert steps.curl(deployed, user_agent="words/1").status == 200
    (line,) = steps.wait_for_log(deployed, "User-Agent: words/1\tthread", since=begun).lines
    stamp, level, where, text, thread = line.split("\t")
    assert stamp.endswith("Z")
    assert level == "info"
    assert where.startswith("envoy wasm source/extensions/common/wasm/context.cc:")
    assert text == (f"wasm log {deployed.namespace}.header-logger~istio-translated-wasmplugin: "
                    "User-Agent: words/1")
    assert thread.startswith("thread=")


def test_logs_are_cut_by_time_by_tail_and_by_text(deployed: Mesh) -> None:
    steps.curl(deployed, user_agent="before/1")
    steps.wait_for_log(deployed, "User-Agent: before/1")
    time.sleep(0.1)
    begun = time.time()
    steps.curl(deployed, user_agent="after/1")
    steps.wait_for_log(deployed, "User-Agent: after/1")
    since = deployed.logs(since=begun)
    assert "before/1" not in since.text
    assert "--since-time" in since.command
    found = deployed.logs(grep="User-Agent: after/1")
    assert found.lines
    assert all("after/1" in line for line in found.lines)
    assert "grep" in found.command
    last = deployed.logs(tail=2)
    assert len(last.lines) == 2
    assert "--tail=2" in last.command
    assert last.text.splitlines() == list(last.lines)


def test_follow_brings_the_lines_that_come(deployed: Mesh) -> None:
    def later() -> None:
        time.sleep(1)
        steps.curl(deployed, user_agent="followed/1")

    lines = deployed.follow(seconds=15, grep="User-Agent: followed/1")
    sender = threading.Thread(target=later)
    sender.start()
    try:
        assert "followed/1" in next(iter(lines))
    finally:
        sender.join()


def test_follow_ends_by_itself_when_nothing_comes(mesh: Mesh) -> None:
    begun = time.monotonic()
    assert list(mesh.follow(seconds=1, grep="never in this world")) == []
    assert time.monotonic() - begun < 10


def test_the_log_level_is_set_and_shown(mesh: Mesh) -> None:
    pod = page(mesh)
    said = mesh.set_log_level("wasm:debug")
    assert said.command == (
        f"istioctl proxy-config log {pod.name} -n {mesh.namespace} --level wasm:debug")
    assert "wasm: debug" in said.text
    shown = mesh.proxy_config("log")
    assert shown.columns == ("LOGGER", "LEVEL")
    assert shown.extra["json"]["wasm"] == "debug"
    mesh.set_log_level("wasm:warning")
    assert mesh.proxy_config("log").extra["json"]["wasm"] == "warning"


def test_a_level_or_logger_that_is_none_is_refused(mesh: Mesh) -> None:
    for wrong in ("wasm:loud", "wasps:info"):
        with pytest.raises(BadInput):
            mesh.set_log_level(wrong)


def test_listeners_clusters_and_ecds_are_istioctls_tables(deployed: Mesh) -> None:
    listener = deployed.proxy_config("listener")
    assert listener.columns == ("NAME", "ADDRESSES", "PORT", "MATCH", "DESTINATION")
    assert {"virtualInbound", "0.0.0.0_9080"} <= {row[0] for row in listener.rows}
    cluster = deployed.proxy_config("cluster")
    assert cluster.columns == (
        "SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
    assert ("details." + deployed.namespace + ".svc.cluster.local", "9080", "-", "outbound") in {
        row[:4] for row in cluster.rows}
    ecds = deployed.proxy_config("ecds")
    assert ecds.columns == ("ECDS NAME", "TYPE")
    name = f"{deployed.namespace}.header-logger~istio-translated-wasmplugin"
    assert [row[0] for row in ecds.rows] == [f"extensions.istio.io/trafficextension/{name}"]
    with pytest.raises(BadInput, match="bootstrap"):
        deployed.proxy_config("bootstrap")  # type: ignore[arg-type]


def test_the_ecds_content_is_istiods(deployed: Mesh) -> None:
    (resource,) = deployed.proxy_config("ecds").extra["json"]
    stored = deployed.get("wasmplugin", "header-logger").extra["objects"][0]
    config = resource["typed_config"]["config"]
    assert resource["typed_config"]["@type"] == (
        "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm")
    assert config["name"] == f"{deployed.namespace}.header-logger~istio-translated-wasmplugin"
    assert "root_id" not in config
    assert config["configuration"] == {
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": '{"log_level":"info"}'}
    assert config["failure_policy"] == "FAIL_CLOSED"
    vm = config["vm_config"]
    assert vm["runtime"] == "envoy.wasm.runtime.v8"
    assert vm["code"]["local"]["filename"] == FILE
    assert vm["environment_variables"]["key_values"] == {
        "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": stored["metadata"]["resourceVersion"]}


def test_the_filter_is_before_istios_own_on_both_directions(deployed: Mesh) -> None:
    name = f"{deployed.namespace}.header-logger~istio-translated-wasmplugin"
    for listener in ("virtualInbound", "0.0.0.0_9080"):
        rows = [row[2] for row in steps.http_filters(deployed, listener).rows]
        ours = next(n for n, cell in enumerate(rows) if name in cell)
        assert ours < next(n for n, cell in enumerate(rows) if "router" in cell)


def test_stats_are_whole_numbers_by_name(deployed: Mesh) -> None:
    found = deployed.stats(r"^wasm\..*\.active$")
    assert found
    assert all(isinstance(value, int) for value in found.values())
    assert sum(found.values()) >= 1
    assert deployed.stats("no-such-counter-anywhere") == {}


def test_a_file_is_known_by_its_digest_and_its_absence(
    deployed: Mesh, wasm: dict[str, Path]
) -> None:
    there = deployed.file_sha256(FILE)
    assert there.sha256 == hashlib.sha256(wasm["header-logger"].read_bytes()).hexdigest()
    assert there.size == wasm["header-logger"].stat().st_size
    assert there.command.endswith(f"-c istio-proxy -- sha256sum {FILE}")
    with pytest.raises(NotFound, match="No such file or directory"):
        deployed.file_sha256(FILE, container="productpage")


def test_a_changed_configmap_reaches_the_file_and_envoy_keeps_the_old_code_until_touched(
    deployed: Mesh, wasm: dict[str, Path]
) -> None:
    steps.create_configmap(deployed, wasm["noop"])
    deployed.sync_volumes()
    digest = hashlib.sha256(wasm["noop"].read_bytes()).hexdigest()
    assert deployed.file_sha256(FILE).sha256 == digest
    steps.curl(deployed, user_agent="old-code/1")
    assert steps.wait_for_log(deployed, "User-Agent: old-code/1").lines
    deployed.patch("wasmplugin", steps.PLUGIN, {"metadata": {"annotations": {"touched": "1"}}})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        tag = f"new-code/{time.monotonic_ns()}"
        steps.curl(deployed, user_agent=tag)
        access_lines(deployed, tag, 1)
        if not deployed.logs(grep=f"User-Agent: {tag}").lines:
            break
    assert not deployed.logs(grep=f"User-Agent: {tag}").lines


def test_every_sent_request_is_accounted_for(deployed: Mesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "SERVER"}])
    where = deployed.endpoint()
    assert where.url.startswith("http://127.0.0.1:")
    assert where.host == "productpage:9080"
    sent = traffic.send(deployed, count=40, rate=20, user_agents=("a", "b"), progress=False)
    assert set(sent["status"]) == {200}
    found = reconcile.settled(deployed, sent, timeout=15)
    assert found.balanced, found.summary()
    assert found.totals["logged_inbound"] == 40


def test_the_inner_loop_brings_a_new_module_in_place(
    deployed: Mesh, wasm: dict[str, Path]
) -> None:
    pod = page(deployed)
    steps.deploy(deployed, wasm["as-printed"])
    assert steps.curl_until(deployed, 503).status == 503
    steps.wait_for_log(deployed, "Function: proxy_on_context_create failed")
    done = steps.deploy(deployed, wasm["header-logger"])
    assert steps.curl_until(deployed, 200).status == 200
    assert done.sha256 == deployed.file_sha256(FILE).sha256
    assert page(deployed).name == pod.name
