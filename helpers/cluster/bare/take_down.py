"""`workbook cluster down`: end everything, remove everything, and prove it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from helpers import files, paths
from helpers.cluster.bare import cache as kept
from helpers.cluster.bare import layout, node
from helpers.cluster.bare.layout import Layout
from helpers.errors import NotReady
from helpers.processes import Registry
from helpers.show import Result


def down(*, cache: bool = False, where: Layout | None = None) -> Result:
    """End the cluster and remove what it left; safe after a crash, and when there is none.

    Args:
        cache: also the kept programs and images, which take 20 minutes to make again.
        where: another layout, for tests.

    Raises:
        NotReady: something could not be removed; it is named.
    """
    where = where or layout.layout()
    done = end(where, Registry(where.home))
    if where.home.exists():
        with files.writing(where.home):
            shutil.rmtree(where.home)
        done.append(f"folder {paths.shown(where.home)}")
    if cache and kept.remove():
        done.append(f"kept programs and images: {kept.folder()}")
    left = leftovers(where)
    if left:
        raise NotReady("not everything is gone: " + "; ".join(left),
                       cause="a program outside of the workbook holds it, or root is needed",
                       fix="./workbook cluster down again")
    text = "\n".join(f"removed: {each}" for each in done) or "there is no cluster"
    return Result(text=text, notes=() if cache else
                  ("built programs and images are kept for the next time: "
                   "./workbook cluster down --cache removes them, too",) if done else ())


def end(where: Layout, registry: Registry) -> list[str]:
    """End every process, and remove link, cgroups and mounts; what was done, in words."""
    done = node.end(where, registry)
    # What entered the node from outside waits there for its program, which is gone.
    ended = registry.stop_all()
    if ended:
        done.append(f"{len(ended)} programs that were outside of the node: {', '.join(ended)}")
    for point in mounts(where):
        subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)
        done.append(f"mount {point}")
    (where.home / "addresses.json").unlink(missing_ok=True)
    (where.home / "node-ready").unlink(missing_ok=True)
    return done


def leftovers(where: Layout) -> list[str]:
    """What of the cluster is still on this computer, in words; empty when nothing is.

    It asks the system, not our records: processes in the node's namespaces; mounts below the
    cluster's folder; the link; cgroups.
    """
    found = [f"process {process.pid} ({name})" for process, name in _processes(where)]
    found += [f"mount {point}" for point in mounts(where)]
    if node.has_link(where):
        found.append(f"link {where.link}")
    found += [f"cgroup {folder}" for folder in node.cgroups(where)]
    if where.home.exists() and node.NAME in Registry(where.home).names():
        found.append("a record of the node")
    return found


def mounts(where: Layout) -> list[Path]:
    """Mount points of the host below the cluster's folder, inner ones first."""
    home = str(where.home.resolve())
    points = [line.split()[1].encode().decode("unicode_escape")
              for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(point) for point in reversed(points)
            if point == home or point.startswith(home + "/")]


def _processes(where: Layout) -> Iterator[tuple[psutil.Process, str]]:
    """Processes in the node's mount namespace: there, our folder is mounted at INSIDE."""
    home = str(where.home.resolve())
    for process in psutil.process_iter():
        try:
            text = Path(f"/proc/{process.pid}/mountinfo").read_text(encoding="utf-8")
        except OSError:  # it ended, or is a kernel thread or a zombie
            continue
        # Fields 4 and 5 are the mounted folder, within its file system, and the mount point.
        fields = [line.split()[3:5] for line in text.splitlines()]
        if any(point == str(layout.INSIDE) and home.endswith(root) for root, point in fields):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield process, process.name()
