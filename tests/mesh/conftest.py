"""A real Envoy and real modules for the mesh tests. Nothing here skips: what is missing fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import steps
from helpers.mesh.local import LocalMesh

# Before it is imported, so that a failed assertion shows its values.
pytest.register_assert_rewrite("contract")


@pytest.fixture(scope="session")
def wasm() -> dict[str, Path]:
    """The workbook's own plugins, built by the real cargo."""
    names = ("as-printed", "header-logger", "naive", "noop", "panics", "not-configured")
    return {name: steps.build_plugin(name) for name in names}


@pytest.fixture(scope="module")
def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """One mesh for the tests of a module, so that Envoy starts once."""
    state = tmp_path_factory.mktemp("mesh") / "state"
    mesh = LocalMesh(state=state)
    try:
        yield mesh
    finally:
        mesh.stop()


@pytest.fixture
def mesh(shared_mesh: LocalMesh) -> LocalMesh:
    """The module's mesh with a fresh Bookinfo: no plugin, nothing mounted."""
    steps.start_from(shared_mesh, "bookinfo")
    return shared_mesh


@pytest.fixture
def deployed(shared_mesh: LocalMesh, wasm: dict[str, Path]) -> LocalMesh:
    """The module's mesh with the corrected filter at work."""
    steps.start_from(shared_mesh, "deployed", wasm=wasm["header-logger"])
    return shared_mesh
