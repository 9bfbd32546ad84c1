"""The cluster of `workbook cluster up` for these tests. Nothing here skips: what is missing fails.

`./workbook test --cluster` brings the cluster up before and takes it down after them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import steps
from helpers.mesh.cluster import ClusterMesh
from helpers.mesh.cluster.settings import own_kubeconfig

# Before it is imported, so that a failed assertion shows its values.
pytest.register_assert_rewrite("contract")


@pytest.fixture(scope="session", autouse=True)
def kubeconfig() -> Path:
    """The kubeconfig of our own cluster, which must be up."""
    path = own_kubeconfig()
    if not path.is_file():
        pytest.fail("there is no cluster: ./workbook test --cluster brings one up", pytrace=False)
    return path


@pytest.fixture(scope="session")
def wasm() -> dict[str, Path]:
    """The workbook's own plugins, built by the real cargo."""
    names = ("as-printed", "header-logger", "naive", "noop", "panics", "not-configured")
    return {name: steps.build_plugin(name) for name in names}


@pytest.fixture(scope="module")
def shared_mesh(request: pytest.FixtureRequest, kubeconfig: Path) -> Iterator[ClusterMesh]:
    """A learner's namespace for the tests of a module, cleaned afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.module.__name__.rpartition(".")[2].lower())
    mesh = ClusterMesh(kubeconfig=str(kubeconfig), namespace=name.removeprefix("test-")[:40])
    try:
        yield mesh
    finally:
        mesh.clean()
        mesh.close()


def answering(mesh: ClusterMesh) -> None:
    """Wait until the application listens: Bookinfo's pods are Ready before they do."""
    assert steps.curl_until(mesh, 200, timeout=60).status == 200


@pytest.fixture
def mesh(shared_mesh: ClusterMesh) -> ClusterMesh:
    """The module's mesh with a fresh Bookinfo: no plugin, nothing mounted."""
    steps.start_from(shared_mesh, "bookinfo")
    answering(shared_mesh)
    return shared_mesh


@pytest.fixture
def deployed(shared_mesh: ClusterMesh, wasm: dict[str, Path]) -> ClusterMesh:
    """The module's mesh with the corrected filter at work."""
    steps.start_from(shared_mesh, "deployed", wasm=wasm["header-logger"])
    answering(shared_mesh)
    return shared_mesh


@pytest.fixture
def learner(kubeconfig: Path) -> Iterator[Callable[..., ClusterMesh]]:
    """Opens meshes of other learners or with other options; each is cleaned afterwards."""
    opened: list[ClusterMesh] = []

    def open_one(namespace: str, **options: object) -> ClusterMesh:
        found = ClusterMesh(**{"kubeconfig": str(kubeconfig), "namespace": namespace, **options})
        opened.append(found)
        return found

    yield open_one
    for each in opened:
        if each.settings.ours:  # others have credentials that can do less
            each.clean()
        each.close()
