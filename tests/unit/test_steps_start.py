"""The line that says what start_from did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from helpers import steps
from helpers.errors import NotFound
from helpers.mesh.base import Mesh
from helpers.show import Result, TableResult


@dataclass
class _Mesh:
    """Holds names by kind, and an untouched Deployment."""

    there: dict[str, list[str]] = field(default_factory=dict)
    kind: str = "local"

    def get(self, kind: str, name: str | None = None) -> TableResult:
        if kind == "deployment":
            found: list[Mapping[str, Any]] = [{"spec": {"template": {"metadata": {}, "spec": {}}}}]
        else:
            found = [{"metadata": {"name": each}} for each in self.there.get(kind, ())]
        return TableResult(extra={"objects": found})

    def delete(
        self, kind: str, name: str, *, namespace: str = "default", missing_ok: bool = False
    ) -> Result:
        key = kind if namespace == "default" else f"{kind} of {namespace}"
        if name not in self.there.get(key, ()):
            if not missing_ok:
                raise NotFound(name)
            return Result()
        self.there[key].remove(name)
        return Result(text=f'{kind} "{name}" deleted')

    def apply(self, manifest: object) -> Result:
        return Result()

    def wait_ready(self, name: str, *, timeout: float) -> Result:
        return Result()


def start(mesh: _Mesh) -> str:
    return steps.start_from(cast("Mesh", mesh), "bookinfo").text


def test_a_clean_mesh_loses_nothing() -> None:
    assert start(_Mesh()) == "the mesh is at 'bookinfo': Bookinfo runs, without a plugin"


def test_what_was_taken_away_is_named_in_one_line() -> None:
    mesh = _Mesh({"wasmplugin": ["mine"], "configmap of istio-system": [steps.CONFIGMAP]})
    text = start(mesh)
    assert "took away wasmplugin/mine, configmap/header-logger in istio-system;" in text
    assert "\n" not in text
    assert start(mesh) == start(_Mesh())
