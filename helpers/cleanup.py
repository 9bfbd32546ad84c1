"""What the workbook runs and keeps on this computer, and the learner's work in one archive."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers import evidence, paths
from helpers.doctor import leftovers
from helpers.mesh.local import caretaker
from helpers.processes import Registry
from helpers.show import Result, TableResult, table

__all__ = ["Kept", "Work", "keep", "places", "running", "work"]

#: Folders of a workspace that cargo or `workbook run` make anew.
_MADE = {"target", "run", "report", "kept"}

#: What is recorded and is no container.
_OTHERS = {"jupyterlab": "JupyterLab, which serves the notebooks"}


@dataclass(frozen=True, kw_only=True)
class Work(Result):
    """What a learner made.

    Attributes:
        files: each file's path from the workspace's top, with "/", and its sha256 in hex.
        size: bytes, all files together.
    """

    files: dict[str, str]
    size: int

    @property
    def summary(self) -> str:
        """Number of files, bytes, and one sha256 over all of it; equal only for equal work."""
        listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.files.items()))
        total = hashlib.sha256(listing.encode()).hexdigest()
        return f"{len(self.files)} files, {self.size:,} bytes, sha256 {total[:16]}"


@dataclass(frozen=True, kw_only=True)
class Kept(Result):
    """An archive of a learner's work.

    Attributes:
        path: the .zip file.
        names: what is in it, from its top.
    """

    path: Path
    names: tuple[str, ...]


def running() -> TableResult:
    """What runs for the mesh of this workbook now, also what no record knows.

    Returns:
        Columns NAME (the container or the program), PID, MB (resident memory; shared pages
        count in each process), LISTENS ON (ADDRESS:PORT …, "?" where the system does not
        tell), WHAT IT IS. No rows when nothing runs. `extra["addresses"]` is the sorted list
        of the addresses alone.

    Raises:
        BadState: a record is damaged; `./workbook clean` sets it aside.
    """
    state = paths.state()
    alive = [(record, process) for record in Registry(state).all()
             if (process := record.process()) is not None]
    lost = leftovers.strays([state], {record.pid for record, _ in alive})
    known = [(record.name, process, _purpose(record.name)) for record, process in alive]
    known += [(process.name(), process, "in no record: ./workbook clean ends it")
              for process in lost if process.is_running()]
    rows = []
    addresses: set[str] = set()
    for name, process, what in known:
        try:
            megabytes = round(process.memory_info().rss / 1e6)
            listens = _listens(process)
        except psutil.NoSuchProcess:  # it ended between the questions
            continue
        addresses.update(listen.rpartition(":")[0] or listen for listen in listens)
        rows.append((name, process.pid, megabytes, " ".join(listens), what))
    return table(("NAME", "PID", "MB", "LISTENS ON", "WHAT IT IS"), rows, empty="nothing runs",
                 extra={"addresses": sorted(addresses)})


def places() -> TableResult:
    """Where the workbook keeps things, and what removes them.

    Returns:
        Columns FOLDER, MB, WHAT IS IN IT, REMOVED BY; folders that are there, largest last.
    """
    every, all_ = "./workbook clean", "./workbook clean --all"
    known = [
        (paths.state(), "the mesh: objects, pods, logs, records, checks", every),
        (paths.workspace(), "your crates, your archives", "you alone"),
        (paths.cargo_target(), "what cargo compiled", all_),
        (paths.HOME / "rust-std", "the wasm32 standard library that was built here", all_),
        (paths.HOME / "venv", "Python packages, Envoy and JupyterLab among them", all_),
    ]
    rows = [(paths.shown(folder), sum(_size(path) for path in _walk(folder)) / 1e6, what, who)
            for folder, what, who in known if folder.is_dir()]
    return table(("FOLDER", "MB", "WHAT IS IN IT", "REMOVED BY"),
                 [(name, f"{size:.1f}", what, who)
                  for name, size, what, who in sorted(rows, key=lambda row: row[1])])


def work() -> Work:
    """What you made in the workspace: crates and manifests, not what cargo built from them."""
    home = paths.workspace()
    files: dict[str, str] = {}
    size = 0
    for path in sorted(_own(home)):
        data = path.read_bytes()
        files[path.relative_to(home).as_posix()] = hashlib.sha256(data).hexdigest()
        size += len(data)
    text = "\n".join(files) or "the workspace is empty"
    return Work(command=f"ls -R {paths.shown(home)}", text=text, files=files, size=size)


def keep() -> Kept:
    """Pack your work into one archive: the workspace, the notebooks as they are, the checks.

    It goes to `kept/` in the workspace, under a name with the time; nothing is moved or
    removed, and `./workbook clean` leaves it alone.
    """
    home = paths.workspace()
    target = home / "kept" / f"workbook-{time.strftime('%Y%m%d-%H%M%S')}.zip"
    wanted = [(path, f"workspace/{path.relative_to(home).as_posix()}") for path in _own(home)]
    wanted += [(path, f"notebooks/{path.name}")
               for path in (paths.ROOT / "notebooks").glob("*.ipynb")]
    if evidence.record_path().is_file():
        wanted.append((evidence.record_path(), "evidence.jsonl"))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    names = []
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, name in sorted(wanted, key=lambda pair: pair[1]):
                archive.write(path, name)
                names.append(name)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    size = target.stat().st_size
    return Kept(command=f"zip {paths.shown(target)} …", path=target, names=tuple(names),
                text=f"{paths.shown(target)}  {len(names)} files, {size:,} bytes")


def _listens(process: psutil.Process) -> list[str]:
    try:
        found = process.net_connections("inet")
    except psutil.AccessDenied:  # macOS tells it of no process but one's own
        return ["?"]
    return sorted({f"{each.laddr.ip}:{each.laddr.port}" for each in found
                   if each.status == psutil.CONN_LISTEN})


def _purpose(name: str) -> str:
    if name == caretaker.NAME:
        return "ends the mesh when its owner is gone, and keeps logs short"
    pod, _, container = name.rpartition(".")
    if not pod:  # only containers are recorded under their pod's name
        return _OTHERS.get(name, "a program that the workbook started")
    if container == "istio-proxy":
        return "Envoy, the sidecar"
    return f"Bookinfo's {container}"


def _own(home: Path) -> Iterator[Path]:
    """The files of a workspace that a learner made."""
    return (path for path in _walk(home)
            if not _MADE.intersection(path.relative_to(home).parts[:-1]))


def _walk(folder: Path) -> Iterator[Path]:
    # A link out of the folder belongs to whoever made what it leads to.
    for top, names, files in os.walk(folder):
        names.sort()
        for name in files:
            path = Path(top, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # rotated or rewritten while we looked
        return 0
