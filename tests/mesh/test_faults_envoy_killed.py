"""Envoy ends in the middle of work; ports; and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psutil
import pytest

from helpers import steps, traffic
from helpers.errors import MeshDown
from helpers.mesh.local import LocalMesh
from helpers.processes import Recorded, Registry

SIDECAR = "istio-proxy"


@pytest.fixture(autouse=True)
def _own_state(shared_mesh: LocalMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", str(shared_mesh.state))


@pytest.fixture
def pod(mesh: LocalMesh) -> Iterator[LocalMesh]:
    """A mesh whose productpage has no crash on record: they are counted for a minute."""
    mesh.restart(steps.DEPLOYMENT)
    mesh.wait_ready(steps.DEPLOYMENT)
    yield mesh
    mesh.restart(steps.DEPLOYMENT)
    mesh.wait_ready(steps.DEPLOYMENT)


def envoy_of(mesh: LocalMesh) -> Recorded:
    (pod,) = mesh.pods("app=productpage").pods
    record = Registry(mesh.state).get(f"{pod.name}.{SIDECAR}")
    assert record is not None
    return record


def kill(record: Recorded) -> None:
    process = record.process()
    assert process is not None
    os.kill(record.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while record.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not record.alive()


def working_in(state: Path) -> list[str]:
    """Command lines that name the state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(state) in word for word in words):
            found.append(" ".join(words))
    return found


def test_traffic_through_a_killed_envoy_is_rows_with_errors_and_the_next_call_mends_it(
    pod: LocalMesh,
) -> None:
    before = envoy_of(pod)
    sent: list[pd.DataFrame] = []
    sender = threading.Thread(
        target=lambda: sent.append(traffic.send(pod, count=150, rate=100.0, progress=False))
    )
    sender.start()
    log = Path(before.argv[before.argv.index("--log-path") + 1])
    deadline = time.monotonic() + 20
    while log.read_text().count('"GET /productpage') < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    kept = log.read_text().splitlines()[:10]
    kill(before)
    sender.join(timeout=60)

    (frame,) = sent
    assert len(frame) == 150, "every request is accounted for"
    answered = frame["status"].notna()
    assert answered.any()
    assert not answered.all()
    assert set(frame.loc[answered, "status"]) == {200}
    assert (frame.loc[~answered, "error"] != "").all()
    assert (frame.loc[answered, "error"] == "").all()

    pod.wait_ready(steps.DEPLOYMENT)
    (found,) = pod.pods("app=productpage").pods
    assert (found.ready, found.status, found.restarts) == ("2/2", "Running", 1)
    after = envoy_of(pod)
    assert after.alive()
    assert after.pid != before.pid
    assert steps.curl(pod).status == 200
    reply = steps.curl(pod, container="productpage")
    assert reply.status == 200, "the application learned the new way out"
    event = next(e for e in pod.events().events[::-1] if e.reason == "BackOff")
    assert (event.type, event.object) == ("Warning", f"pod/{found.name}")
    assert event.message == (
        f"Back-off restarting failed container {SIDECAR} in pod {found.name}"
    )
    lines = pod.logs().lines
    assert list(lines[:10]) == kept, "the log before the end is kept"
    assert any("error\tagent\tEnvoy ended unexpectedly" in line for line in lines)


def test_an_application_that_ends_is_started_again(pod: LocalMesh) -> None:
    (found,) = pod.pods("app=productpage").pods
    record = Registry(pod.state).get(f"{found.name}.productpage")
    assert record is not None
    kill(record)
    pod.wait_ready(steps.DEPLOYMENT)
    assert pod.pods("app=productpage").pods[0].restarts == 1
    assert steps.curl_until(pod, 200).status == 200


def test_an_envoy_that_keeps_ending_is_left_in_back_off_until_a_restart(pod: LocalMesh) -> None:
    begun = time.time()
    assert steps.curl(pod).status == 200
    # Envoy keeps access lines for a while before it writes them; a killed one writes none.
    steps.wait_for_log(pod, '"GET /productpage', since=begun)
    (old,) = pod.pods("app=productpage").pods
    for _ in range(3):
        kill(envoy_of(pod))
        pod.wait_ready(steps.DEPLOYMENT)
    kill(envoy_of(pod))
    (found,) = pod.pods("app=productpage").pods
    assert (found.ready, found.status, found.restarts) == ("0/2", "CrashLoopBackOff", 3)
    for call in (
        lambda: steps.curl(pod),
        lambda: pod.wait_ready(steps.DEPLOYMENT),
        lambda: pod.set_log_level("wasm:info"),
    ):
        with pytest.raises(MeshDown) as caught:
            call()
        assert caught.value.what == f"container {SIDECAR} of pod {old.name} keeps ending"
        assert "4 times within" in caught.value.cause
        assert 'mesh.restart("productpage-v1")' in caught.value.fix
        assert "Envoy ended unexpectedly" in caught.value.detail
        assert '"GET /productpage' in caught.value.detail
    # What the fix says.
    pod.restart("productpage-v1")
    pod.wait_ready("productpage-v1")
    (new,) = pod.pods("app=productpage").pods
    assert new.name != old.name
    assert (new.status, new.restarts) == ("Running", 0)
    assert steps.curl(pod).status == 200


def test_no_port_is_chosen_before_the_process_that_listens_binds_it(pod: LocalMesh) -> None:
    records = [record for record in Registry(pod.state).all() if record.alive()]
    assert len(records) == 6, "four apps, Envoy, the caretaker"
    listening = {
        connection.laddr.port
        for record in records
        for connection in psutil.Process(record.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) == 7, "four apps, two listeners, the admin interface"
    for record in records:
        assert not [port for port in listening if str(port) in " ".join(record.argv)]
    folder = Path(envoy_of(pod).argv[2]).parent
    for name in ("envoy-rev.json", "xds/lds/lds.json"):
        document = json.loads((folder / name).read_text())
        addresses = [document["admin"]["address"]] if "admin" in document else [
            resource["address"] for resource in document["resources"]
        ]
        assert addresses
        assert all(a["socket_address"]["port_value"] == 0 for a in addresses)
        assert all(a["socket_address"]["address"] == "127.0.0.1" for a in addresses)


def test_a_changed_listener_keeps_its_port(pod: LocalMesh) -> None:
    endpoint = pod.endpoint()
    before = {row[0]: row[2] for row in pod.proxy_config("listener").rows}
    steps.apply_wasmplugin(pod)
    assert steps.curl(pod).status == 500, "the listener has a new filter"
    assert {row[0]: row[2] for row in pod.proxy_config("listener").rows} == before
    assert pod.endpoint() == endpoint


def test_two_meshes_start_at_once_and_stopping_them_leaves_no_process(tmp_path: Path) -> None:
    meshes = [LocalMesh(state=tmp_path / name) for name in ("one", "two")]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(steps.deploy_bookinfo, meshes))
        first, second = (mesh.endpoint().url for mesh in meshes)
        assert first != second
        assert [steps.curl(mesh).status for mesh in meshes] == [200, 200]
        begun = time.time()
        steps.curl(meshes[0], user_agent="OnlyTheFirst")
        steps.wait_for_log(meshes[0], "OnlyTheFirst", since=begun)
        assert not meshes[1].logs(grep="OnlyTheFirst").lines
        meshes[0].stop()
        assert steps.curl(meshes[1]).status == 200
        assert not working_in(tmp_path / "one")
        assert working_in(tmp_path / "two")
    finally:
        for mesh in meshes:
            mesh.stop()
    assert not working_in(tmp_path)
