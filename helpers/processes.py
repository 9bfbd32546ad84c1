"""Long-lived processes that outlive a notebook kernel and are found again.

A process is recorded by pid and birth in `processes/NAME.json` of the state folder:
a pid alone can be another program's after a restart. Each runs in a session of its own, so
that the kernel's Stop button does not end it, and writes its output to a file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers import ending, files
from helpers.errors import BadState, MeshDown

_SCHEMA = 2  # 2: the birth is counted from the start of the computer where that is steady
#: Two readings of one process's birth differ by less.
_SAME_SECONDS = 0.02


def born(process: psutil.Process) -> float:
    """When a process began, in seconds on a clock that nobody sets.

    On Linux since the computer's start: psutil adds the time of that start, which moves with
    the system clock, so that after a correction (a laptop that wakes up) every living process
    would look like another one. Elsewhere the system itself keeps the time of birth.
    """
    created = process.create_time()
    return created - psutil.boot_time() if sys.platform == "linux" else created


def is_same(process: psutil.Process, birth: float) -> bool:
    """Whether `process` is the one that was born at `birth` (`born`): pids are used again."""
    return abs(born(process) - birth) <= _SAME_SECONDS


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
            if not is_same(process, self.created):
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
        orphan: bool = False,
    ) -> Recorded:
        """Start `argv` in its own session, its output appended to `log`, and record it.

        Args:
            orphan: make it nobody's child, so that the end of this process cannot end it: on
                Linux Envoy asks the kernel for SIGTERM when the parent dies
                (prctl PR_SET_PDEATHSIG). Elsewhere no program gets such a signal.

        Raises:
            MeshDown: it ended as soon as it was started.
        """
        with files.writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
        if orphan and sys.platform == "linux":
            return self._start_orphan(name, argv, log=log, cwd=cwd, env=env)
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
        ending.children[child.pid] = child
        try:
            record = self._record(name, child.pid, log, argv)
        except psutil.NoSuchProcess:
            child.wait()
            raise _ended_at_once(name, f"its exit status was {child.returncode}", log) from None
        except BaseException:  # a process that nobody can find again must not stay behind
            child.kill()
            child.wait()
            self.forget(name)  # else its end would be taken for a crash
            raise
        return record

    def _start_orphan(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        cwd: Path | None,
        env: Mapping[str, str] | None,
    ) -> Recorded:
        # The shell puts it into the background and ends, which leaves it to init.
        launcher = subprocess.Popen(
            ["/bin/sh", "-c", _ORPHAN, "sh", str(log.resolve()), *argv],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            said, _ = launcher.communicate()
            return self._record(name, int(said), log, argv)
        except (psutil.NoSuchProcess, ValueError):
            raise _ended_at_once(name, "its own words are below", log) from None
        except BaseException:  # it shares the launcher's group, whose number the group keeps
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
            self.forget(name)
            raise

    def _record(self, name: str, pid: int, log: Path, argv: Sequence[str]) -> Recorded:
        created = born(psutil.Process(pid))
        files.write_json(
            self._path(name),
            {"name": name, "pid": pid, "created": created, "log": str(log), "argv": list(argv)},
            version=_SCHEMA,
        )
        return Recorded(name, pid, created, log, tuple(argv))

    def get(self, name: str) -> Recorded | None:
        """The record called `name`, whether or not the process still runs.

        Raises:
            BadState: the record is damaged.
        """
        try:
            data = files.read_json(self._path(name), version=_SCHEMA)
        except FileNotFoundError:
            return None
        try:
            return Recorded(
                str(data["name"]), int(data["pid"]), float(data["created"]), Path(data["log"]),
                tuple(data["argv"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise files.damaged(self._path(name)) from error

    def all(self) -> list[Recorded]:
        """All records, by name.

        Raises:
            BadState: one is damaged.
        """
        return [record for name in self.names() if (record := self.get(name)) is not None]

    def names(self) -> list[str]:
        """The names of all records, sorted; also of those that are damaged."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

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

    def stop_all(self, *, last: str = "") -> list[str]:
        """End every recorded process; the names of those that ran.

        A damaged record cannot tell its pid; it is left in place and named in the error,
        after all others were ended.

        Args:
            last: the name of the process to end after all others.

        Raises:
            BadState: a record is damaged.
        """
        ended: list[str] = []
        damaged: list[BadState] = []
        for name in sorted(self.names(), key=lambda each: each == last):
            try:
                if self.stop(name):
                    ended.append(name)
            except BadState as error:
                damaged.append(error)
        if damaged:
            raise damaged[0]
        return ended

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


_ORPHAN = 'log=$1; shift; { exec "$@"; } </dev/null >>"$log" 2>&1 & echo $!'


def _ended_at_once(name: str, cause: str, log: Path) -> MeshDown:
    return MeshDown(
        f"{name} ended as soon as it was started", cause=cause, fix=f"read {log}", detail=tail(log)
    )


def stop(record: Recorded, *, seconds: float = ending.STOP_SECONDS) -> bool:
    """End a recorded process and its children; whether it was running.

    Args:
        seconds: how long it may take by itself before it is ended by force.
    """
    process = record.process()
    if process is None:
        ending.reap(record.pid)
        return False
    return ending.end(process, seconds=seconds)
