"""What istiod sends and what the API server refuses is what the local mesh has.

`docs/cluster-comparison.md` says what is compared, what was mended, and what stays different.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.comparison import doubtful, sets, together
from helpers.comparison.report import Report
from helpers.mesh.cluster import ClusterMesh
from helpers.mesh.local import LocalMesh

SEED = 1
# Three minutes on two quiet cores; far more beside other work.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    mesh = LocalMesh(state=tmp_path_factory.mktemp("comparison") / "state")
    try:
        yield mesh
    finally:
        mesh.stop()


@pytest.fixture(scope="module")
def made(
    local: LocalMesh, shared_mesh: ClusterMesh, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """Every set and every doubtful object, on both."""
    tried, objects = sets.generate(SEED), doubtful.generate(SEED)
    shared_mesh.awaits_sidecars = False  # the markers tell when a whole set is there
    one, other = together.both([local, shared_mesh], tried, objects)
    report = together.report(tried, objects, one, other, f"Seed {SEED}.")
    path: Path = tmp_path_factory.mktemp("comparison") / "report.md"
    path.write_text(report.markdown(), encoding="utf-8")
    print(report.summary(), path, sep="\n")
    return report


def test_no_difference_is_unexplained(made: Report) -> None:
    assert made.unexplained == [], made.summary()


def test_sets_have_reached_the_sidecar(made: Report) -> None:
    assert len(made.sets) >= 60
    for chain in ("inbound http", "outbound http", "inbound network", "outbound network"):
        assert sum(bool(each.cluster.plugins(chain)) for each in made.sets) >= 5, chain
    assert sum(len(each.cluster.ecds) for each in made.sets) >= 150


def test_the_api_server_refused_many_and_took_others(made: Report) -> None:
    outcomes = [each.cluster.outcome for each in made.objects]
    assert outcomes.count("refused") >= 100
    assert outcomes.count("taken") >= 30


def test_little_is_kept(made: Report) -> None:
    kept = [each for each in (*made.sets, *made.objects) if each.differences]
    assert len(kept) <= 20
