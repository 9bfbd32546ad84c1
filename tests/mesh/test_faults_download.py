"""Modules by http: fetched with the right checksum, denied or allowed without it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers import steps
from helpers.mesh.local import LocalMesh


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def url(wasm: dict[str, Path]) -> Iterator[str]:
    """The plugins' build folder on loopback."""
    module = wasm["header-logger"]
    handler = partial(_Quiet, directory=str(module.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{module.name}"
        server.shutdown()
        thread.join()


def test_the_right_checksum_is_fetched_and_works(
    mesh: LocalMesh, wasm: dict[str, Path], url: str
) -> None:
    digest = hashlib.sha256(wasm["header-logger"].read_bytes()).hexdigest()
    steps.apply_wasmplugin(mesh, url=url, sha256=digest)
    mesh.set_log_level("wasm:info")
    begun = time.time()
    assert steps.curl(mesh).status == 200
    assert steps.wait_for_log(mesh, "User-Agent: MyTestClient", since=begun).lines


@pytest.mark.parametrize("fault", ["wrong checksum", "unreachable"])
@pytest.mark.parametrize(
    ("strategy", "status", "word"), [("FAIL_CLOSE", 403, "deny"), ("FAIL_OPEN", 200, "allow")]
)
def test_a_module_that_cannot_be_had_denies_all_or_allows_all(
    mesh: LocalMesh, url: str, fault: str, strategy: str, status: int, word: str
) -> None:
    begun = time.time()
    where = url if fault == "wrong checksum" else "http://127.0.0.1:1/nobody.wasm"
    steps.apply_wasmplugin(mesh, url=where, sha256="0" * 64, failStrategy=strategy)
    assert steps.curl_until(mesh, status).status == status
    line = steps.wait_for_log(
        mesh, "error in converting the wasm config to local: ", since=begun
    ).lines[0]
    assert "\terror\twasm\t" in line
    assert line.endswith(f"applying {word} RBAC filter")
