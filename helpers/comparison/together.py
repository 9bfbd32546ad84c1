"""Everything on several meshes at the same time, and the results beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from helpers import steps
from helpers.comparison import compare, running
from helpers.comparison.model import Doubtful, PluginSet
from helpers.comparison.reading import Seen
from helpers.comparison.report import OfObject, OfSet, Report
from helpers.comparison.running import Answer
from helpers.mesh.base import Mesh


@dataclass(frozen=True)
class Found:
    """What one mesh made of everything."""

    sets: dict[int, Seen]
    objects: dict[int, Answer]


def both(
    meshes: Sequence[Mesh],
    tried: Sequence[PluginSet],
    objects: Sequence[Doubtful],
    progress: Callable[[int], None] = lambda done: None,
) -> list[Found]:
    """Everything on each mesh, at the same time; `progress` is called with how much is done.

    Raises:
        WorkbookError: a mesh fails, or a set does not reach its sidecar.
    """
    done: list[int] = []
    module = steps.build_plugin("noop")

    def one(mesh: Mesh) -> Found:
        with running.prepared(mesh, module) as places:
            return Found(
                running.run(mesh, places, tried, done.append),
                running.answers(mesh, places, objects, done.append),
            )

    with ThreadPoolExecutor(len(meshes)) as pool:
        waiting: list[Future[Found]] = [pool.submit(one, mesh) for mesh in meshes]
        while not all(each.done() for each in waiting):
            time.sleep(0.1)
            progress(len(done))
        return [each.result() for each in waiting]


def report(
    tried: Sequence[PluginSet],
    objects: Sequence[Doubtful],
    local: Found,
    cluster: Found,
    about: str,
) -> Report:
    """The two compared."""
    return Report(
        about,
        [
            OfSet(
                each,
                cluster.sets[each.number],
                compare.differences(local.sets[each.number], cluster.sets[each.number]),
            )
            for each in tried
        ],
        [
            OfObject(
                each,
                one := local.objects[each.number],
                other := cluster.objects[each.number],
                compare.verdict(one, other),
            )
            for each in objects
        ],
    )
