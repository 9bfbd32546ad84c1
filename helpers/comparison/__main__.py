"""The command: `python -m helpers.comparison --mesh local,cluster --seed 1`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from helpers.comparison import doubtful, sets, together
from helpers.errors import WorkbookError
from helpers.mesh.base import Mesh
from helpers.progress import Progress

MESHES = ("local", "cluster")
#: Of the namespace in a cluster; its name without a number, so that another run replaces it.
NAMESPACE = "comparison"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when there is a difference that nobody has accounted for."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.comparison",
        description="Put generated plugin objects on the local mesh and on a cluster, and compare "
        "what their sidecars hold and what their API servers refuse.",
    )
    parser.add_argument("--mesh", default="local,cluster", metavar="NAMES",
                        help="local, cluster or both: with one, nothing is compared "
                        "(default: local,cluster)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, metavar="N",
                        help="other objects (default: 1)")  # fmt: skip
    parser.add_argument("--sets", type=int, default=sets.COUNT, metavar="N",
                        help=f"so many sets (default: {sets.COUNT})")  # fmt: skip
    parser.add_argument("--objects", type=int, metavar="N",
                        help="only the first N of the doubtful objects")  # fmt: skip
    parser.add_argument("--write", type=Path, metavar="FILE",
                        help="put the tables into this document")  # fmt: skip
    given = parser.parse_args(arguments)
    names = given.mesh.split(",")
    if not names or set(names) - set(MESHES):
        parser.error(f"--mesh takes {', '.join(MESHES)}, or both with a comma between them")
    tried, objects = (
        sets.generate(given.seed, given.sets),
        doubtful.generate(given.seed)[: given.objects],
    )
    progress = Progress(len(names) * (len(tried) + len(objects)), "sets and objects")
    try:
        with ExitStack() as stack:
            meshes = [_open(name, stack) for name in names]
            found = dict(
                zip(names, together.both(meshes, tried, objects, progress.update), strict=True)
            )
    except WorkbookError as error:
        print(error, file=sys.stderr)
        return 2
    progress.finish(f"{len(tried)} sets, {len(objects)} doubtful objects")
    if len(found) < len(MESHES):
        return 0
    about = f"Seed {given.seed}, {datetime.now(UTC):%Y-%m-%d}: local mesh against cluster."
    made = together.report(tried, objects, found["local"], found["cluster"], about)
    print(made.summary())
    if given.write:
        made.write(given.write)
    return 1 if made.unexplained else 0


def _open(name: str, stack: ExitStack) -> Mesh:
    """A mesh that is left as it was: of one's own here, a namespace of one's own in a cluster."""
    if name == "local":
        from helpers.mesh.local import LocalMesh

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="workbook-"))
        local = LocalMesh(state=Path(folder) / "state")
        stack.callback(local.stop)
        return local
    from helpers.mesh.cluster.mesh import ClusterMesh

    cluster = ClusterMesh(namespace=NAMESPACE)
    cluster.awaits_sidecars = False  # the markers tell when a whole set is there
    stack.callback(cluster.close)
    stack.callback(cluster.clean)
    return cluster


if __name__ == "__main__":
    sys.exit(main())
