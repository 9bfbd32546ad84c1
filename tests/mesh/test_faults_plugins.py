"""Rows of behaviour with time and faults, as seen on a cluster, on the real Envoy here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers import steps
from helpers.errors import BadManifest
from helpers.mesh.local import LocalMesh, volumes

NAME = "default.header-logger~istio-translated-wasmplugin"
NOT_UTF8 = b"Yodao\xa1\xb1; )"
FILE = f"{steps.MOUNT_PATH}/{steps.KEY}"
SERVER = [{"mode": "SERVER"}]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def place(mesh: LocalMesh, module: Path, **spec: object) -> None:
    """A module in the sidecar and a new WasmPlugin for it, inbound only: new VMs."""
    mesh.delete("wasmplugin", steps.PLUGIN, missing_ok=True)
    steps.create_configmap(mesh, module)
    mesh.sync_volumes()
    steps.apply_wasmplugin(mesh, match=SERVER, **spec)


def statuses(mesh: LocalMesh, count: int, **more: object) -> list[int]:
    return [steps.curl(mesh, **more).status for _ in range(count)]


def test_a_replaced_configmap_reaches_the_file_after_the_delay_and_envoy_keeps_the_old_code(
    deployed: LocalMesh, wasm: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.apply_wasmplugin(deployed, match=SERVER)
    old, new = wasm["header-logger"], wasm["noop"]
    assert deployed.file_sha256(FILE).sha256 == sha256(old)
    noticed = time.time()
    note = " ".join(steps.create_configmap(deployed, new).notes)
    assert f"{volumes.PROPAGATION_SECONDS:.0f} s here" in note
    if time.time() - noticed < volumes.PROPAGATION_SECONDS:
        assert deployed.file_sha256(FILE).sha256 == sha256(old), "the kubelet has not looked yet"
    monkeypatch.setattr(volumes, "PROPAGATION_SECONDS", 0.5)
    deadline = time.monotonic() + 10
    while deployed.file_sha256(FILE).sha256 != sha256(new) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert deployed.file_sha256(FILE).sha256 == sha256(new)
    begun = time.time()
    steps.curl(deployed)
    steps.wait_for_log(deployed, "User-Agent: MyTestClient", since=begun)  # the old code
    # Any change of the object, even an annotation, makes Envoy load the file.
    deployed.patch("wasmplugin", steps.PLUGIN, {"metadata": {"annotations": {"any": "change"}}})
    begun = time.time()
    assert steps.curl(deployed).status == 200
    steps.wait_for_log(deployed, '"GET /productpage HTTP/1.1" 200', since=begun)
    assert not steps.user_agent_lines(deployed, since=begun).lines


@contextlib.contextmanager
def a_client_for_each_worker(mesh: LocalMesh) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two connections that stay open: Envoy gives a new one to the worker with the fewest."""
    where = mesh.endpoint()

    def active() -> int:
        return sum(mesh.stats(r"^listener\..*worker_\d+\.downstream_cx_active").values())

    deadline = time.monotonic() + 10
    while active() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert active() == 0
    head = {"host": where.host, "user-agent": "MyTestClient"}
    options: dict[str, Any] = {"base_url": where.url, "headers": head, "trust_env": False}
    with httpx.Client(**options) as first, httpx.Client(**options) as second:
        for client in (first, second):
            assert client.get("/nothing-here").status_code in (404, 503)
        yield first, second


def ask(client: httpx.Client, agent: str | bytes = "MyTestClient") -> int:
    return client.get("/productpage", headers={b"user-agent": agent}).status_code


def test_one_header_that_is_not_utf8_takes_a_worker_of_the_naive_filter_down(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    place(deployed, wasm["naive"])
    assert statuses(deployed, 4) == [200] * 4
    begun = time.time()
    with a_client_for_each_worker(deployed) as (first, second):
        assert ask(first, NOT_UTF8) == 503
        assert [ask(first) for _ in range(3)] == [503] * 3, "this worker is down from now on"
        assert [ask(second) for _ in range(3)] == [200] * 3, "the other one is not"
        assert ask(second, NOT_UTF8) == 503
        assert [ask(second) for _ in range(3)] == [503] * 3
    assert steps.wait_for_log(deployed, "proxy_on_request_headers failed", since=begun).lines
    assert "proxy_wasm::hostcalls::get_map" in deployed.logs(since=begun).text
    # Two such clients, and the service is down.
    assert statuses(deployed, 4) == [503] * 4


def test_header_logger_reads_bytes_and_survives_the_same_header(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    place(deployed, wasm["header-logger"], pluginConfig={"log_level": "info"})
    begun = time.time()
    assert statuses(deployed, 4, user_agent=NOT_UTF8) == [200] * 4
    assert statuses(deployed, 4) == [200] * 4
    assert steps.wait_for_log(deployed, "User-Agent: Yodao", since=begun).lines


def test_fail_open_still_fails_the_first_request_on_each_worker(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    place(deployed, wasm["panics"], failStrategy="FAIL_OPEN",
          pluginConfig={"panic_on": "every-request"})
    with a_client_for_each_worker(deployed) as (first, second):
        # Opening the connections was the first request on each worker: two times 503.
        assert [ask(first), ask(second)] == [200, 200]
    assert statuses(deployed, 4) == [200] * 4
    begun = time.time()
    text = deployed.logs(since=begun - 30).text
    assert text.count("/nothing-here HTTP/1.1\" 503 - wasm_fail_stream") == 2


def test_fail_close_fails_every_request(deployed: LocalMesh, wasm: dict[str, Path]) -> None:
    place(deployed, wasm["panics"], failStrategy="FAIL_CLOSE",
          pluginConfig={"panic_on": "every-request"})
    assert statuses(deployed, 5) == [503] * 5


def test_fail_reload_fails_every_request_and_reloads_the_vm_about_once_a_second(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    def reloads() -> int:
        return sum(deployed.stats(r"vm_reload_success").values())

    place(deployed, wasm["panics"], failStrategy="FAIL_RELOAD",
          pluginConfig={"panic_on": "every-request"})
    before = reloads()
    begun = time.monotonic()
    sent = 0
    while reloads() < before + 2:
        assert statuses(deployed, 4) == [503] * 4
        sent += 4
        assert time.monotonic() - begun < 60
    elapsed = time.monotonic() - begun
    # Two workers, each at most once per back-off: far fewer reloads than requests.
    assert reloads() - before <= 2 * (elapsed / 0.9 + 1)
    assert any("default.header-logger" in name for name in deployed.stats("vm_reload_success"))


def test_a_plugin_that_panics_on_a_header_leaves_envoy_alive(
    deployed: LocalMesh, wasm: dict[str, Path]
) -> None:
    place(deployed, wasm["panics"], failStrategy="FAIL_OPEN", pluginConfig={"panic_on": "header"})
    assert statuses(deployed, 2) == [200] * 2
    reply = deployed.curl(steps.URL, headers={"x-panic": "1"})
    assert reply.status == 503
    assert deployed.pods("app=productpage").pods[0].restarts == 0
    assert steps.curl_until(deployed, 200).status == 200


def test_a_configmap_may_have_1048576_bytes_and_no_more(
    mesh: LocalMesh, tmp_path: Path
) -> None:
    big = tmp_path / "big.wasm"
    big.write_bytes(b"\xff" * 1_048_577)
    with pytest.raises(BadManifest) as caught:
        mesh.create_configmap("big", {"big.wasm": big})
    assert caught.value.what == (
        'error: failed to create configmap: ConfigMap "big" is invalid: []: Too long: '
        "may not be more than 1048576 bytes"
    )
    assert not [o for o in mesh.get("cm").extra["objects"] if o["metadata"]["name"] == "big"]
    big.write_bytes(b"\xff" * 1_040_000)
    mesh.create_configmap("big", {"big.wasm": big})
    (stored,) = mesh.get("cm", "big").extra["objects"]
    assert base64.b64decode(stored["binaryData"]["big.wasm"]) == big.read_bytes()
    mesh.delete("cm", "big")
