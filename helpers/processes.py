"""Long-lived processes that outlive a notebook kernel and are found again.

A process is recorded by pid and create time in `processes/NAME.json` of the state folder:
a pid alone can be another program's after a restart. Each runs in a session of its own, so
that the kernel's Stop button does not end it, and writes its output to a file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers import files
from helpers.errors import BadState, MeshDown

_SCHEMA = 1
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Recorded:
    """A process that we started and can find again."""

    name: str
    pid: int
    created: float
    log: Path
    argv: tuple[str, ...]

    def process(self) -> psutil.Process | None:
        """The living process, or None when it ended or its pid now is another program's."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) > 0.02:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process() is not None


def tail(path: Path, lines: int = 20) -> str:
    """The last `lines` lines of a log file, or an empty text when there is none."""
    try:
        with path.open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            size = handle.tell()
            handle.seek(max(0, size - 64 * 1024))
            text = handle.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Registry:
    """The recorded processes of one state folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "processes"

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Recorded:
        """Start `argv` in its own session, its output appended to `log`, and record it."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            child = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
                if sys.platform == "win32"
                else 0,
            )
        _children[child.pid] = child
        try:
            created = psutil.Process(child.pid).create_time()
            record = Recorded(name, child.pid, created, log, tuple(argv))
            files.write_json(
                self._path(name),
                {
                    "name": name,
                    "pid": child.pid,
                    "created": created,
                    "log": str(log),
                    "argv": list(argv),
                },
                version=_SCHEMA,
            )
        except psutil.NoSuchProcess:
            child.wait()
            raise MeshDown(
                f"{name} ended as soon as it was started",
                cause=f"its exit status was {child.returncode}",
                fix=f"read {log}",
                detail=tail(log),
            ) from None
        except BaseException:  # a process that nobody can find again must not stay behind
            child.kill()
            child.wait()
            raise
        return record

    def get(self, name: str) -> Recorded | None:
        """The record called `name`, whether or not the process still runs."""
        try:
            data = files.read_json(self._path(name), version=_SCHEMA)
        except FileNotFoundError:
            return None
        return Recorded(
            data["name"], data["pid"], data["created"], Path(data["log"]), tuple(data["argv"])
        )

    def all(self) -> list[Recorded]:
        """All records, by name."""
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        return [record for record in (self.get(name) for name in names) if record is not None]

    def stop(self, name: str) -> bool:
        """End the process called `name` and forget it; whether it was running."""
        record = self.get(name)
        if record is None:
            return False
        was = stop(record)
        self._path(name).unlink(missing_ok=True)
        return was

    def forget(self, name: str) -> None:
        """Drop a record without touching its process."""
        self._path(name).unlink(missing_ok=True)

    def stop_all(self) -> list[str]:
        """End every recorded process; the names of those that ran.

        A damaged record cannot tell its pid; it is left in place and named in the error,
        after all others were ended.
        """
        ended: list[str] = []
        damaged: list[BadState] = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                if self.stop(path.stem):
                    ended.append(path.stem)
            except BadState as error:
                damaged.append(error)
        if damaged:
            raise damaged[0]
        return ended

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


#: Children of this very process: they must be waited for, or they stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


def stop(record: Recorded, *, seconds: float = _STOP_SECONDS) -> bool:
    """End a recorded process and its children: politely first, then by force."""
    process = record.process()
    if process is None:
        _reap(record.pid)
        return False
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        _reap(record.pid)
        return False
    for member in family:
        try:
            member.terminate()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + seconds
    _reap(record.pid, timeout=0)
    _, left = psutil.wait_procs(family, timeout=max(0.0, deadline - time.monotonic()))
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=2)
    _reap(record.pid)
    return True


def _reap(pid: int, timeout: float | None = 0) -> None:
    child = _children.get(pid)
    if child is None:
        return
    try:
        child.wait(timeout=timeout)
    except subprocess.TimeoutExpired:
        return
    del _children[pid]
