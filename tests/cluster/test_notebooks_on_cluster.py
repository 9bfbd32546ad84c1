"""Every notebook on a real Kubernetes with a real Istio, by the code of `run --mesh cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.cli.outcome import Outcome
from helpers.cli.run import Places, chosen, execute_all
from helpers.cli.where import Where
from helpers.cli.witness import PodSeen, Witness
from helpers.mesh.cluster import ClusterMesh
from helpers.setup.pristine import all_notebooks

pytestmark = pytest.mark.timeout(2700)


@dataclass(frozen=True)
class Run:
    """What became of each notebook, and what was seen of the cluster."""

    outcomes: dict[str, Outcome]
    witness: Witness

    def pods(self, notebook: str) -> list[PodSeen]:
        return [one for one in self.witness.seen if one.notebook == notebook]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, kubeconfig: Path) -> Run:
    """All notebooks, once, in the namespace default of our own cluster, cleaned afterwards."""
    folder = tmp_path_factory.mktemp("run")
    places = Places(folder / "state", folder / "workspace", folder / "report")
    where = Where("cluster", kubeconfig=kubeconfig, namespace="default", yes=True)
    mesh = ClusterMesh(kubeconfig=str(kubeconfig), namespace="default", yes=True)
    witness = Witness(mesh, about=mesh.describe().text)
    try:
        outcomes = execute_all(chosen(None), places=places, mesh="cluster",
                               env=where.environment(), after=witness.look)
    finally:
        witness.end()
    return Run({one.name: one for one in outcomes}, witness)


@pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)
def test_the_notebook_runs_and_keeps_its_promises(path: Path, run: Run) -> None:
    one = run.outcomes[path.stem]
    assert one.problems == ()
    assert one.cells == one.total > 0


def test_what_was_verified_is_recorded_as_the_clusters(run: Run) -> None:
    (deploy,) = (one for name, one in run.outcomes.items() if name.startswith("06_"))
    assert {check.mesh for check in deploy.checks} == {"cluster"}


def test_the_report_names_server_and_istio(run: Run) -> None:
    assert "v1.34" in run.witness.about
    assert "1.31" in run.witness.about
    assert run.witness.troubles == []


def test_each_pods_requests_are_accounted_for_but_those_of_the_silent_run(run: Run) -> None:
    """Notebook 08 sends 60 requests while the sidecar's level is warning; all others are logged."""
    seen = run.pods("08_verify_logs")
    assert sum(one.tagged for one in seen) >= 360
    assert sum(one.tagged - one.logged for one in seen) == 60
    assert all("wasm log" in line and "User-Agent: " in line for one in seen for line in one.last)
    assert any(one.last for one in seen)
    assert all(one.node not in ("", "?") for one in seen)


def test_nothing_of_ours_is_left_in_the_cluster(run: Run, kubeconfig: Path) -> None:
    assert run.witness.clean, run.witness.left
    mesh = ClusterMesh(kubeconfig=str(kubeconfig), namespace="default", yes=True)
    try:
        assert mesh.get("wasmplugin").extra["objects"] == []
        assert mesh.get("deployment").extra["objects"] == []
    finally:
        mesh.close()
