"""Requests, logs, Envoy's admin interface and files, on a real Kubernetes with a real Istio."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import doctor, logs, plots, reconcile, steps, traffic
from helpers.errors import BadInput, NotFound, NotReady
from helpers.mesh.cluster import ClusterMesh, execing, volumes
from helpers.mesh.cluster.errors import About

ODD = b"Yodao\xa1\xb1; )"
PODS = "/api/v1/namespaces/{}/pods/{}"


def place(mesh: ClusterMesh, container: str = "istio-proxy") -> execing.Place:
    return execing.Place(mesh.namespace, mesh._pod(None)["metadata"]["name"], container)


def programs(mesh: ClusterMesh) -> list[str]:
    """The command lines of what runs in the sidecar's container, this look itself left out."""
    look = 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; done'
    text = execing.run(mesh.connection, place(mesh), ["sh", "-c", look]).stdout.decode()
    return [line for line in text.splitlines() if line.strip() and "cmdline" not in line]


# -- exec ------------------------------------------------------------------------------------


def test_exec_carries_every_byte_both_ways_and_keeps_stderr_apart(deployed: ClusterMesh) -> None:
    data = bytes(range(256)) * 500
    command = ["sh", "-c", "head -c 128000; echo apart >&2; exit 3"]
    done = execing.run(deployed.connection, place(deployed), command, stdin=data)
    assert (done.code, done.stdout, done.stderr) == (3, data, b"apart\n")


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program"])
def test_a_program_that_the_image_lacks_is_named(deployed: ClusterMesh, name: str) -> None:
    with pytest.raises(execing.ProgramMissing, match=name):
        execing.run(deployed.connection, place(deployed), [name])


def test_a_program_that_is_late_is_given_up_and_a_bounded_one_ends(deployed: ClusterMesh) -> None:
    command = execing.bounded(["sleep", "31"], 1)
    with pytest.raises(execing.TimedOut):
        execing.run(deployed.connection, place(deployed), command, timeout=0.3)
    time.sleep(2)
    assert not any("sleep 31" in line for line in programs(deployed))


def test_a_pod_that_is_removed_during_a_call_is_said_to_be(deployed: ClusterMesh) -> None:
    where = place(deployed)
    path = PODS.format(where.namespace, where.pod) + "?gracePeriodSeconds=1"
    delete = threading.Timer(
        1.0, lambda: deployed.connection.request("DELETE", path, about=About("delete", "pods")))
    delete.start()
    with pytest.raises(execing.PodGone, match="was removed") as caught:
        execing.run(deployed.connection, where, ["sleep", "30"], timeout=25)
    assert "mesh.pods() shows its successor" in caught.value.fix
    delete.join()
    deployed.wait_ready("productpage-v1", timeout=90)


# -- curl ------------------------------------------------------------------------------------


def test_a_header_that_is_no_text_reaches_the_plugin(deployed: ClusterMesh) -> None:
    assert steps.curl_until(deployed, 200, user_agent=ODD).status == 200
    steps.wait_for_log(deployed, r"User-Agent: Yodao\xa1\xb1; )")


def test_curls_own_words_for_what_does_not_answer(deployed: ClusterMesh) -> None:
    answer = deployed.curl("http://nowhere:9080/")
    assert (answer.status, answer.error) == (0, "curl: (6) Could not resolve host: nowhere")


def test_from_the_application_a_request_is_logged_once_for_each_direction(
    deployed: ClusterMesh,
) -> None:
    assert steps.trace_request(deployed).extra["inbound"] == 1
    seen = steps.trace_request(deployed, container="productpage").extra
    # productpage asks details and reviews: two more go out.
    assert (seen["inbound"], seen["outbound"], seen["plugin"]) == (1, 3, 4)


def test_a_container_that_is_not_there_is_named_with_those_that_are(deployed: ClusterMesh) -> None:
    with pytest.raises(NotFound, match="container nope is not valid") as caught:
        deployed.curl(steps.URL, container="nope")
    assert "productpage, istio-proxy" in caught.value.cause


def test_strict_mtls_resets_the_sidecars_own_request_and_says_what_to_do(
    deployed: ClusterMesh,
) -> None:
    deployed.apply({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "strict"}, "spec": {"mtls": {"mode": "STRICT"}}})
    try:
        deadline = time.monotonic() + 15
        while not (answer := steps.curl(deployed)).error and time.monotonic() < deadline:
            time.sleep(0.3)
        assert answer.status == 0
        assert answer.error == "curl: (56) Recv failure: Connection reset by peer"
        assert "STRICT" in answer.notes[0]
        assert 'container="productpage"' in answer.notes[1]
        assert steps.curl(deployed, container="productpage").status == 200
        refused = traffic.send(deployed, count=2, progress=False)
        assert refused["status"].isna().all()
        assert refused["error"].str.contains("reset").all()
    finally:
        deployed.delete("peerauthentication", "strict")


# -- load ------------------------------------------------------------------------------------


def test_every_request_of_a_load_is_one_inbound_line(deployed: ClusterMesh) -> None:
    sent = traffic.send(deployed, count=200, rate=50, concurrency=8, progress=False)
    found = reconcile.settled(deployed, sent, match="CLIENT_AND_SERVER", timeout=15)
    assert found.balanced, str(found)
    assert found.totals["logged_inbound"] == 200
    assert found.totals["logged_outbound"] == 400


def test_closing_leaves_no_program_in_the_container(deployed: ClusterMesh) -> None:
    traffic.send(deployed, count=20, rate=None, concurrency=8, progress=False)
    deployed.close()
    deadline = time.monotonic() + 10
    while any("bash" in line or line.startswith("cat") for line in programs(deployed)):
        assert time.monotonic() < deadline, programs(deployed)
        time.sleep(0.3)


def test_load_follows_a_rollout(deployed: ClusterMesh) -> None:
    traffic.send(deployed, count=2, progress=False)
    deployed.restart("productpage-v1")
    deployed.wait_ready("productpage-v1", timeout=90)
    time.sleep(2.1)  # the relay looks again after two seconds
    sent = traffic.send(deployed, count=10, progress=False)
    assert sent["status"].eq(200).all()


def test_no_service_is_not_ready(deployed: ClusterMesh) -> None:
    with pytest.raises(NotReady, match="no ready pod stands behind service nowhere"):
        deployed.endpoint("nowhere")


def test_two_replicas_are_read_together_and_counted_by_pod(deployed: ClusterMesh) -> None:
    deployed.patch("deployment", "productpage-v1", {"spec": {"replicas": 2}})
    try:
        deployed.wait_ready("productpage-v1", timeout=90)
        time.sleep(2)  # kube-proxy learns of the second one
        assert deployed.set_log_level("wasm:info").command.count("istioctl") == 2
        sent = traffic.send(deployed, count=100, rate=50, concurrency=16, progress=False)
        found = reconcile.settled(deployed, sent, match="CLIENT_AND_SERVER", timeout=15)
        assert found.balanced, str(found)
        assert len(found.pods) == 2
        assert found.pods["inbound"].sum() == 100
        assert (found.pods["inbound"] > 0).all()
        log = logs.parse(deployed.logs(since=sent["time"].min().timestamp()))
        table = plots.requests_and_log_lines(sent, log).table
        assert len([name for name in table.columns if name.startswith("plugin lines of")]) == 2
    finally:
        deployed.patch("deployment", "productpage-v1", {"spec": {"replicas": 1}})
        deployed.wait_ready("productpage-v1", timeout=90)


# -- logs ------------------------------------------------------------------------------------


def test_follow_gives_new_lines_only_and_ends_in_time(deployed: ClusterMesh) -> None:
    steps.curl(deployed, user_agent="before")
    steps.wait_for_log(deployed, "before")
    send = threading.Timer(1.0, steps.curl, args=(deployed,), kwargs={"user_agent": "during"})
    send.start()
    begun = time.monotonic()
    lines = list(deployed.follow(seconds=4, grep="User-Agent: "))
    assert 3.9 < time.monotonic() - begun < 8
    send.join()
    assert any("during" in line for line in lines)
    assert not any("before" in line for line in lines)


def test_lines_before_the_sidecar_was_killed_are_still_read(deployed: ClusterMesh) -> None:
    sent = traffic.send(deployed, count=10, progress=False)
    reconcile.settled(deployed, sent, timeout=10)  # Envoy has written them
    kill = ["sh", "-c", 'for p in /proc/[0-9]*; do '
            '[ "$(cat $p/comm)" != envoy ] || kill -9 ${p#/proc/}; done']
    execing.run(deployed.connection, place(deployed), kill)
    deadline = time.monotonic() + 60
    while not _restarted(deployed):
        assert time.monotonic() < deadline, "the kubelet did not start it again"
        time.sleep(0.3)
    deployed.wait_ready("productpage-v1", timeout=60)
    assert steps.curl_until(deployed, 200, timeout=30).status == 200
    found = reconcile.settled(deployed, sent, match="CLIENT_AND_SERVER")
    assert found.balanced, str(found)
    assert any("--previous" in note for note in deployed.logs(tail=1).notes)
    assert deployed.stats(r"^server\.uptime$")["server.uptime"] < 60


def _restarted(mesh: ClusterMesh) -> bool:
    from helpers.mesh.cluster import podfacts

    status: Any = podfacts.status_of(mesh._pod(None), "istio-proxy")
    return bool(status.get("restartCount")) and "running" in status["state"]


# -- Envoy and files -------------------------------------------------------------------------


def test_envoys_tables_are_those_of_the_local_mesh(deployed: ClusterMesh) -> None:
    assert "wasm.v3.Wasm" in deployed.proxy_config("ecds").text
    names = [each["name"] for each in deployed.proxy_config("listener").extra["json"]]
    assert {"virtualInbound", "virtualOutbound"} <= set(names)
    assert "productpage." in deployed.proxy_config("cluster").text
    deployed.set_log_level("wasm:debug")
    assert deployed.proxy_config("log").extra["json"]["wasm"] == "debug"
    with pytest.raises(BadInput, match="unrecognized logger"):
        deployed.set_log_level("nope:info")


def test_a_changed_configmap_is_in_the_pod_within_seconds(
    deployed: ClusterMesh, wasm: dict[str, Path]
) -> None:
    done = steps.deploy(deployed, wasm["noop"])
    assert done.delivered < 20  # a kubelet left alone takes up to 60 to 90 s
    path = f"{steps.MOUNT_PATH}/{steps.KEY}"
    expected = hashlib.sha256(wasm["noop"].read_bytes()).hexdigest()
    assert deployed.file_sha256(path).sha256 == expected
    with pytest.raises(NotFound, match="No such file or directory"):
        deployed.file_sha256("/etc/wasm/header-logger/nope")


def test_a_volume_that_does_not_come_in_time_is_not_ready(
    deployed: ClusterMesh, wasm: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "_touch", lambda *_: None)
    steps.create_configmap(deployed, wasm["panics"])
    with pytest.raises(NotReady, match="1 files of pod") as caught:
        deployed.sync_volumes(timeout=0.5)
    assert steps.KEY in caught.value.detail


def test_why_no_log_finds_the_level(deployed: ClusterMesh) -> None:
    deployed.set_log_level("wasm:warning")
    assert "wasm: warning" in doctor.why_no_log(deployed).text
