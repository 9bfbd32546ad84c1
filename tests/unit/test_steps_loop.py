"""The two ways of the inner loop: what each changes, and which ConfigMaps it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from helpers import module, steps
from helpers.errors import BadInput, BadModule, NotFound
from helpers.mesh.base import Mesh
from helpers.show import Result, TableResult

WASM = b"\0asm\1\0\0\0"


@dataclass
class _Mesh:
    """Remembers what was done to it; mounts the ConfigMap of its last patch."""

    configmaps: list[str] = field(default_factory=lambda: ["header-logger", "somebody-elses"])
    annotations: dict[str, str] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    kind: str = "local"

    def get(self, kind: str, name: str | None = None) -> TableResult:
        if kind == "wasmplugin":
            return TableResult()
        found: list[Any] = [{"metadata": {"name": each}} for each in self.configmaps]
        if kind == "deployment":
            found = [{"spec": {"template": {"metadata": {"annotations": self.annotations}}}}]
        return TableResult(extra={"objects": found})

    def create_configmap(
        self, name: str, files: dict[str, Path], *, namespace: str = "default"
    ) -> Result:
        self.did.append(f"configmap {name}")
        self.configmaps = [*dict.fromkeys([*self.configmaps, name])]
        return Result()

    def sync_volumes(self) -> Result:
        self.did.append("sync")
        return Result()

    def patch(self, kind: str, name: str, patch: dict[str, Any]) -> Result:
        self.did.append(f"patch {kind}")
        if kind == "deployment":
            self.annotations |= patch["spec"]["template"]["metadata"]["annotations"]
        return Result()

    def wait_ready(self, name: str, *, timeout: float) -> Result:
        self.did.append("wait")
        return Result()

    def delete(self, kind: str, name: str, *, missing_ok: bool) -> Result:
        self.did.append(f"delete {name}")
        self.configmaps.remove(name)
        return Result()


@pytest.fixture
def wasm(tmp_path: Path) -> Path:
    path = tmp_path / "new.wasm"
    path.write_bytes(WASM)
    return path


def deploy(mesh: _Mesh, wasm: Path, how: Any = "in-place") -> steps.Deployed:
    return steps.deploy(cast("Mesh", mesh), wasm, how=how)


def test_in_place_is_the_usual_way_and_makes_no_new_pod(wasm: Path) -> None:
    mesh = _Mesh()
    assert deploy(mesh, wasm).how == "in-place"
    assert mesh.did == ["configmap header-logger", "sync", "patch wasmplugin"]


def test_a_rollout_names_the_configmap_by_its_content_and_leaves_the_plugin_alone(
    wasm: Path,
) -> None:
    mesh = _Mesh()
    name = f"header-logger-{module.inspect(wasm).sha256[:8]}"
    done = deploy(mesh, wasm, "rollout")
    assert done.configmap == name
    assert mesh.did == [f"configmap {name}", "patch deployment", "wait", "delete header-logger"]
    assert f'"name":"{name}"' in mesh.annotations["sidecar.istio.io/userVolume"]
    assert mesh.annotations["sidecar.istio.io/componentLogLevel"] == "wasm:info"


def test_only_the_configmaps_of_earlier_modules_go(wasm: Path) -> None:
    mesh = _Mesh(configmaps=["header-logger-0a1b2c3d", "header-logger-notes", "mine"])
    name = deploy(mesh, wasm, "rollout").configmap
    assert mesh.configmaps == ["header-logger-notes", "mine", name]


def test_the_same_module_twice_is_the_same_configmap(wasm: Path) -> None:
    mesh = _Mesh()
    assert deploy(mesh, wasm, "rollout").configmap == deploy(mesh, wasm, "rollout").configmap
    assert len(mesh.configmaps) == 2


def test_content_does_not_change_under_a_name_that_was_made_from_it(wasm: Path) -> None:
    mesh = _Mesh()
    deploy(mesh, wasm, "rollout")
    mesh.did.clear()
    with pytest.raises(BadInput, match="named after its content"):
        deploy(mesh, wasm)
    assert mesh.did == []


def test_a_way_that_there_is_not_changes_nothing(wasm: Path) -> None:
    mesh = _Mesh()
    with pytest.raises(BadInput, match="no way 'sideways'"):
        deploy(mesh, wasm, "sideways")
    assert mesh.did == []


@pytest.mark.parametrize("how", ["in-place", "rollout"])
def test_what_is_no_module_changes_nothing(tmp_path: Path, how: Any) -> None:
    (tmp_path / "page.html").write_text("<html>")
    mesh = _Mesh()
    with pytest.raises(BadModule):
        deploy(mesh, tmp_path / "page.html", how)
    assert mesh.did == []


def test_without_a_plugin_there_is_nothing_to_deploy_to(
    wasm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = _Mesh()

    def get(kind: str, name: str | None = None) -> TableResult:
        raise NotFound("no plugin")

    monkeypatch.setattr(mesh, "get", get)
    with pytest.raises(NotFound):
        deploy(mesh, wasm)
    assert mesh.did == []
