"""What the programs of the bare cluster hold in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

from helpers import paths
from helpers.cluster import made_by
from helpers.cluster.bare import node
from helpers.errors import NotReady
from helpers.processes import Registry

#: A program that holds less than this is counted with the others.
_SMALL_MB = 10.0
_OTHERS = "others"


def by_program() -> dict[str, tuple[int, float]]:
    """Processes and resident MB of each program on the bare cluster's node, the largest first.

    The pods' programs are among them: each runs in a PID namespace below the node's. Empty
    where the cluster is not the workbook's own bare one.

    Raises:
        NotReady: the node has ended.
    """
    if made_by() != "bare":
        return {}
    record = Registry(paths.HOME / "cluster").get(node.NAME)
    if record is None:
        raise NotReady("the node does not run", cause="nothing is recorded of it",
                       fix="./workbook cluster up")
    return grouped(_inside(node.first_process(record)))


def grouped(processes: Iterable[tuple[str, float]]) -> dict[str, tuple[int, float]]:
    """Number and sum by name, the largest sum first, small ones together at the end.

    Args:
        processes: the name and MB of each.
    """
    sums: dict[str, tuple[int, float]] = {}
    for name, megabytes in processes:
        count, total = sums.get(name, (0, 0.0))
        sums[name] = (count + 1, total + megabytes)
    large = {name: value for name, value in sums.items() if value[1] >= _SMALL_MB}
    small = [value for name, value in sums.items() if name not in large]
    ordered = dict(sorted(large.items(), key=lambda item: -item[1][1]))
    if small:
        ordered[_OTHERS] = (sum(count for count, _ in small), sum(total for _, total in small))
    return ordered


def _inside(init: int) -> Iterable[tuple[str, float]]:
    """Name and MB of each process in the PID namespace of `init` or in one below it.

    A containerd-shim leaves its parent, so the tree alone does not find all; a pod has a
    namespace of its own, so the namespace alone does not either.
    """
    own = _namespace(init)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if _namespace(process.pid) != own:
            continue
        found[process.pid] = process
        try:
            found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    for process in found.values():
        try:
            # The kernel cuts a name after 15 characters; the command line has all of it.
            name = Path(next(iter(process.cmdline()), "")).name or process.name()
            yield name.removesuffix(":"), process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended
    except PermissionError:
        return ""  # protected even from root, so none that we started
