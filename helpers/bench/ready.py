"""How long it takes until productpage can be asked, with everything in the caches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from helpers import manifests, paths, steps
from helpers.bench.figures import Bars, Figure, Measured, Spread
from helpers.bench.place import scratch
from helpers.errors import NotReady
from helpers.mesh import open_mesh
from helpers.mesh.base import Mesh


def bench(
    *, rounds: int = 5, say: Callable[[str], None] = lambda _: None, folder: Path | None = None
) -> Measured:
    """From `open_mesh()` to productpage's first answer: from nothing, and found again.

    Args:
        rounds: each starts from an empty state folder.
        say: told how far it is.
        folder: another place for the state, for tests.
    """
    together: list[float] = []
    in_turn: list[float] = []
    again: list[float] = []
    with scratch(folder):
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            # Whichever comes second finds the programs in the page cache: take turns.
            for ours in (True, False) if number % 2 else (False, True):
                samples, way = (together, _ours) if ours else (in_turn, one_after_another)
                samples.append(_seconds(way))
                if ours:
                    again.append(_seconds(way))
                _empty(open_mesh())
    return summary(together, in_turn, again)


def _seconds(way: Callable[[Mesh], None]) -> float:
    begun = time.perf_counter()
    mesh = open_mesh()
    way(mesh)
    _answers(mesh)
    return time.perf_counter() - begun


def _ours(mesh: Mesh) -> None:
    steps.deploy_bookinfo(mesh)


def one_after_another(mesh: Mesh) -> None:
    """Bookinfo as one would write it first: each Deployment applied and awaited in its turn."""
    for document in manifests.load(paths.manifests() / "bookinfo.yaml"):
        mesh.apply(document)
        if document["kind"] == "Deployment":
            mesh.wait_ready(document["metadata"]["name"], timeout=120)


def _answers(mesh: Mesh) -> None:
    answer = steps.curl(mesh)
    if answer.status != 200:
        raise NotReady(
            f"productpage was said to be ready, but answered {answer.status}",
            cause=answer.error or "its sidecar or the application failed",
            fix="look at its log: mesh.logs()",
            detail=mesh.logs(tail=10).text,
        )


def _empty(mesh: Mesh) -> None:
    """Nothing runs, nothing is known: a new learner's state folder."""
    from helpers.mesh.local.mesh import LocalMesh

    assert isinstance(mesh, LocalMesh)
    mesh.stop()
    mesh.reset()


def summary(together: list[float], in_turn: list[float], again: list[float]) -> Measured:
    """Figures from seconds by round."""
    fresh, slow, found = Spread.of(together), Spread.of(in_turn), Spread.of(again)
    return Measured(
        name="ready",
        title="From open_mesh() to productpage's first answer, everything cached",
        figures=(
            Figure(name="from an empty state folder", unit="s", ours=fresh, naive=slow,
                   naive_way="each Deployment applied and awaited in turn"),
            Figure(name="found again (a kernel was restarted)", unit="s", ours=found, naive=fresh,
                   naive_way="start from nothing again"),
        ),
        bars=Bars.of("Productpage ready, everything cached",
                     {"found again": found.median, "from nothing": fresh.median,
                      "from nothing, one after another": slow.median},
                     unit="s", baseline="from nothing"),
        notes=("the environment, Envoy and the manifests are on this computer already",),
    )
