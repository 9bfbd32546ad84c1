"""The inner loop on a cluster, beside the local mesh's and the article's manual way."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers import cargo, steps
from helpers.bench import cluster_memory, inner_loop
from helpers.bench.cluster_kubectl import Kubectl
from helpers.bench.cluster_ways import (
    Way,
    by_hand,
    by_hash,
    by_kubelet,
    first_line,
    in_place,
    put_back,
    settled,
)
from helpers.bench.figures import Figure, Measured, Spread, Stacks, number
from helpers.bench.inner_loop import Parts
from helpers.bench.place import scratch
from helpers.crate import Crate
from helpers.errors import MeshDown, WorkbookError
from helpers.mesh import open_mesh
from helpers.mesh.base import Mesh

if TYPE_CHECKING:
    from helpers.mesh.cluster.mesh import ClusterMesh

GOAL_SECONDS = 10.0
#: Its own, so that a learner's plugins and a bench's never meet.
NAMESPACE = "workbook-bench"

LOCAL = "local mesh, in place"
IN_PLACE = "cluster, in place"
BY_HASH = "cluster, rollout by hash"
BY_HAND = "cluster, the article's way"
KUBECTL = "the article's way, by kubectl"
KUBELET = "cluster, kubelet not woken"

PARTS = {
    "build": "build",
    "delivered": "file in the sidecar",
    "loaded": "Envoy loads it, or new pod is ready",
    "first_line": "request and first line",
}


def missing() -> str:
    """Why there is no cluster to measure; empty where there is one.

    Only the workbook's own cluster, or one that WORKBOOK_KUBECONFIG names, is ever measured:
    a cluster that a person's kubeconfig happens to point to is not ours to load.
    """
    from helpers.mesh.cluster.settings import own_kubeconfig

    if not os.environ.get("WORKBOOK_KUBECONFIG") and not own_kubeconfig().is_file():
        return "no cluster is up, and WORKBOOK_KUBECONFIG names none"
    from helpers.mesh.cluster.connection import Connection
    from helpers.mesh.cluster.settings import ClusterSettings

    try:
        connection = Connection(ClusterSettings.read())
        connection.request("GET", "/version")
    except WorkbookError as error:
        return error.what
    connection.close()
    return ""


def bench(
    *, rounds: int = 5, kubelet_rounds: int = 2, say: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
) -> Measured:
    """Edit, build, deliver, request, read the line: each way in turn, in each round.

    Args:
        rounds: turns of each way, after one build that compiles what never changes.
        kubelet_rounds: turns of the way that waits for the kubelet, a minute each.
        say: told how far it is.
        folder: another place for state and workspace, for tests.

    Raises:
        MeshDown: there is no cluster.
        Stuck, WorkbookError: a way failed; half a comparison would mean nothing.
    """
    if why := missing():
        raise MeshDown("there is no cluster to measure", cause=why,
                       fix="./workbook cluster up, or WORKBOOK_KUBECONFIG=PATH")
    from helpers.mesh.cluster.mesh import ClusterMesh

    with scratch(folder):
        crate, source = inner_loop.make_crate()
        say("the first build compiles the dependencies")
        cargo.build(crate, sink=None)
        first = cargo.build(crate, incremental=True, sink=None).module
        local, remote = open_mesh("local"), ClusterMesh(namespace=NAMESPACE)
        with _cleaned(remote, say):
            say(f"Bookinfo on this computer, and in namespace {NAMESPACE} of the cluster")
            for mesh in (local, remote):
                steps.start_from(mesh, "deployed", wasm=first)
            ways = ways_of(local, remote, kubectl=kubectl_of(remote), kubelet=kubelet_rounds)
            turns = take_turns(ways, crate, source, rounds, say)
            memory = cluster_memory.by_program()
            about = about_of(remote.describe().text)
    return summary(turns, memory=memory, notes=(about,))


@contextlib.contextmanager
def _cleaned(mesh: ClusterMesh, say: Callable[[str], None]) -> Iterator[None]:
    """At the end, also when it was cancelled, what was made in the cluster is removed."""
    again = f"./workbook clean --mesh cluster --namespace {NAMESPACE}"
    try:
        yield
    except BaseException:
        try:
            mesh.clean()
        except WorkbookError as error:
            say(f"what it made in the cluster is still there ({again} removes it): {error.what}")
        raise
    else:
        say("removing what it made in the cluster")
        mesh.clean()
    finally:
        mesh.close()


def about_of(described: str) -> str:
    """What `ClusterMesh.describe` says of the cluster, in one line: context and versions."""
    pairs = (line.split(maxsplit=1) for line in described.splitlines())
    return ", ".join(" ".join(pair) for pair in pairs
                     if pair[0] in ("context", "Kubernetes", "Istio"))


def kubectl_of(mesh: ClusterMesh) -> Kubectl | None:
    """kubectl, bound to where `mesh` works; None where it is not installed."""
    if not Kubectl.installed():
        return None
    return Kubectl(mesh.settings.kubeconfig or "", mesh.connection.context, mesh.namespace)


def ways_of(local: Mesh, remote: Mesh, *, kubectl: Kubectl | None, kubelet: int) -> list[Way]:
    """The ways that are measured, in the order of the tables.

    Args:
        kubectl: None leaves its way out.
        kubelet: how often the kubelet is waited for.
    """
    def way(name: str, mesh: Mesh, deliver: Callable[[Mesh, Path], tuple[float, float]]) -> Way:
        return Way(name=name, mesh=mesh, deliver=deliver, line=first_line)

    by_hand_too = [] if kubectl is None else [
        Way(name=KUBECTL, mesh=remote, deliver=kubectl.deliver, line=kubectl.first_line,
            incremental=False)]
    return [
        way(LOCAL, local, in_place),
        way(IN_PLACE, remote, in_place),
        Way(name=BY_HASH, mesh=remote, deliver=by_hash, line=first_line, after=put_back),
        Way(name=BY_HAND, mesh=remote, deliver=by_hand, line=first_line, incremental=False),
        *by_hand_too,
        *([Way(name=KUBELET, mesh=remote, deliver=by_kubelet, line=first_line, most=kubelet)]
          if kubelet else []),
    ]


def take_turns(ways: Sequence[Way], crate: Crate, source: str, rounds: int,
               say: Callable[[str], None]) -> dict[str, list[Parts]]:
    """Each way once in each round; every other round in the reverse order.

    Each turn has a text of its own, so that no line of another turn can be taken for its.
    """
    turns: dict[str, list[Parts]] = {way.name: [] for way in ways}
    for turn in range(rounds):
        for at, way in list(enumerate(ways))[:: -1 if turn % 2 else 1]:
            if way.most is not None and turn >= way.most:
                continue
            settled(way.mesh)
            # As long in each turn: the text's length would change the module's size.
            text = f"way {at} turn {turn:02d}: "
            parts = inner_loop.turn(way.mesh, crate, source, text, way.deliver,
                                    incremental=way.incremental, line=way.line)
            turns[way.name].append(parts)
            say(f"round {turn + 1} of {rounds}: {way.name}, {parts.total:.1f} s")
            if way.after is not None:
                way.after(way.mesh, cargo.build(crate, incremental=True, sink=None).module)
    return turns


def faster(turns: Mapping[str, Sequence[Parts]]) -> str:
    """Which of the cluster's two short ways has the lower median."""
    return min((IN_PLACE, BY_HASH), key=lambda name: _whole(turns[name]).median)


def summary(turns: Mapping[str, Sequence[Parts]], *,
            memory: Mapping[str, tuple[int, float]], notes: Sequence[str] = ()) -> Measured:
    """Figures from the turns of each way, by name.

    Args:
        memory: number of processes and MB by program; may be empty.
        notes: what to say first.
    """
    hand = _whole(turns[BY_HAND])

    def figure(name: str) -> Figure:
        ours = _whole(turns[name])
        goal = GOAL_SECONDS if name in (IN_PLACE, BY_HASH) else None
        if name in (LOCAL, IN_PLACE, BY_HASH):
            return Figure(name=name, unit="s", ours=ours, naive=hand, goal=goal,
                          naive_way="the article's way on the cluster")
        return Figure(name=name, unit="s", ours=ours)

    held = [Figure(name=f"memory of {name} ({count})", unit="MB", ours=Spread.of([megabytes]))
            for name, (count, megabytes) in memory.items()]
    if held:
        whole = sum(megabytes for _, megabytes in memory.values())
        held.append(Figure(name="memory of all of them", unit="MB", ours=Spread.of([whole])))
    names = [name for name in turns if turns[name]]
    return Measured(
        name="cluster",
        title="Edit to first log line of the new code (header-logger, release), build included",
        figures=(*(figure(name) for name in names), *held),
        bars=Stacks("From an edit to the first log line", _frame(turns, names),
                    tuple(PARTS.values()), "s", GOAL_SECONDS),
        columns=("way", "turns", *(f"{label} (s)" for label in PARTS.values())),
        rows=tuple((name, str(len(turns[name])),
                    *(number(statistics.median(getattr(parts, one.name) for parts in turns[name]))
                      for one in fields(Parts)))
                   for name in names),
        notes=(
            *notes,
            f"{faster(turns)} is the faster of the cluster's two short ways",
            "the table's parts are medians of their own; the plot's are those of the turn with "
            "the median whole, so that they add up",
            "where a new pod brings the file, all of the way there counts as loaded",
            "the article's ways build without CARGO_INCREMENTAL; the others with it",
            "before each turn the pods are at rest: an old one that still ends is waited for, "
            "and that is no part of the time",
            *(() if KUBECTL in turns else ("kubectl is not installed: its way is left out",)),
            *(("memory is resident, of all pods on the node, other learners' too; pages that "
               "processes share count once for each: an upper bound",) if memory else ()),
        ),
    )


def _whole(turns: Sequence[Parts]) -> Spread:
    return Spread.of([parts.total for parts in turns])


def _frame(turns: Mapping[str, Sequence[Parts]], names: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        ordered = sorted(turns[name], key=lambda parts: parts.total)
        middle = ordered[(len(ordered) - 1) // 2]
        rows.append({"name": name} | {label: getattr(middle, part) for part, label in
                                      PARTS.items()}
                    | {"least": ordered[0].total, "most": ordered[-1].total})
    return pd.DataFrame(rows, columns=["name", *PARTS.values(), "least", "most"])
