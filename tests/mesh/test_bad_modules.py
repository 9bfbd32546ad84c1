"""What is no good module, through the whole path: ConfigMap, volume, WasmPlugin, real Envoy."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from contract.modules import UNKNOWN_IMPORT

from helpers import steps
from helpers.errors import BadModule, NotModelled
from helpers.mesh.local import LocalMesh

NAME = "default.header-logger~istio-translated-wasmplugin"

#: The eight bytes that begin a component in place of a core module: version 13, layer 1.
COMPONENT = b"\0asm\x0d\x00\x01\x00"


def _truncated(wasm: dict[str, Path]) -> bytes:
    return wasm["header-logger"].read_bytes()[:20_000]


#: Each bad module with words that Envoy logs about it.
BAD: dict[str, tuple[Callable[[dict[str, Path]], bytes], tuple[str, ...]]] = {
    "empty": (lambda _: b"", (f"Plugin {NAME} failed to load",
                              "Plugin configured to fail closed failed to load")),
    "truncated": (_truncated, ("Wasm VM failed Failed to parse corrupted Wasm module",)),
    # Which of its words a text file gets depends on the bytes; these here get the first.
    "text": (lambda _: b"this is no module\n",
             ("Wasm VM failed Failed to parse corrupted Wasm module",)),
    "no-plugin": (lambda _: bytes(wasmtime.wat2wasm("(module)")),
                  ("Wasm VM failed Missing or unknown Proxy-Wasm ABI version",)),
    "component": (lambda _: COMPONENT, (f"Plugin {NAME} failed to load",)),
    "unknown-import": (
        lambda _: bytes(wasmtime.wat2wasm(UNKNOWN_IMPORT)),
        ("Failed to load Wasm module due to a missing import: env.proxy_frobnicate",
         "Wasm VM failed Failed to initialize Wasm code")),
    "not-configured": (lambda wasm: wasm["not-configured"].read_bytes(),
                       ("Wasm VM failed Failed to configure base Wasm plugin",)),
}


@pytest.fixture(scope="module")
def mounted(shared_mesh: LocalMesh, wasm: dict[str, Path]) -> LocalMesh:
    steps.start_from(shared_mesh, "deployed", wasm=wasm["header-logger"])
    return shared_mesh


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_module_answers_500_and_envoy_says_why_and_a_good_one_heals_it(
    mounted: LocalMesh, wasm: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    make, words = BAD[kind]
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(make(wasm))
    mounted.delete("wasmplugin", steps.PLUGIN)
    steps.create_configmap(mounted, bad)
    mounted.sync_volumes()
    digest = hashlib.sha256(bad.read_bytes()).hexdigest()
    assert mounted.file_sha256(f"{steps.MOUNT_PATH}/{steps.KEY}").sha256 == digest
    begun = time.time()
    steps.apply_wasmplugin(mounted)
    reply = steps.curl_until(mounted, 500)
    assert (reply.status, reply.body) == (500, "")
    for text in words:
        line = steps.wait_for_log(mounted, text, since=begun).lines[0]
        assert line.split("\t")[1] in ("warning", "error", "critical")
    assert mounted.pods("app=productpage").pods[0].ready == "2/2"
    # Envoy lives on and takes a good module.
    steps.deploy(mounted, wasm["header-logger"])
    assert steps.curl_until(mounted, 200).status == 200


@pytest.mark.parametrize("kind", BAD)
def test_deploy_refuses_what_is_no_module_before_it_changes_anything(
    mounted: LocalMesh, wasm: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    if kind in ("unknown-import", "not-configured", "no-plugin"):
        # Modules by form: what is wrong with them only a host can tell.
        assert steps.inspect(_written(tmp_path, BAD[kind][0](wasm))).sha256
        return
    steps.deploy(mounted, wasm["header-logger"])
    objects = [mounted.get(kind_, name).extra["objects"]
               for kind_, name in (("cm", steps.CONFIGMAP), ("wasmplugin", steps.PLUGIN))]
    with pytest.raises(BadModule) as caught:
        steps.deploy(mounted, _written(tmp_path, BAD[kind][0](wasm)))
    assert caught.value.cause
    assert caught.value.fix
    assert objects == [mounted.get(kind_, name).extra["objects"]
                       for kind_, name in (("cm", steps.CONFIGMAP),
                                           ("wasmplugin", steps.PLUGIN))]
    assert steps.curl(mounted).status == 200


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "it.wasm"
    path.write_bytes(data)
    return path


def test_a_bad_module_after_a_good_one_is_refused_and_the_good_one_works_on(
    mounted: LocalMesh, wasm: dict[str, Path], tmp_path: Path
) -> None:
    steps.deploy(mounted, wasm["header-logger"])
    begun = time.time()
    steps.create_configmap(mounted, _written(tmp_path, b"this is no module"))
    mounted.sync_volumes()
    mounted.patch("wasmplugin", steps.PLUGIN, {"metadata": {"annotations": {"again": "1"}}})
    steps.wait_for_log(mounted, f"Unable to create Wasm plugin {NAME}", since=begun)
    begun = time.time()
    assert steps.curl(mounted).status == 200
    assert steps.wait_for_log(mounted, "User-Agent: MyTestClient", since=begun).lines
    steps.deploy(mounted, wasm["header-logger"])


@pytest.mark.parametrize("url", ["oci://registry.example/x:1", "registry.example/x:1"])
def test_an_image_is_refused_with_the_reason_and_nothing_is_applied(
    mounted: LocalMesh, url: str
) -> None:
    before = mounted.get("wasmplugin", steps.PLUGIN).extra["objects"]
    with pytest.raises(NotModelled) as caught:
        steps.apply_wasmplugin(mounted, url=url)
    assert url in caught.value.what
    assert "registry" in caught.value.cause
    assert "file://" in caught.value.fix
    assert mounted.get("wasmplugin", steps.PLUGIN).extra["objects"] == before
