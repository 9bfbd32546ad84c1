"""Long-lived processes that outlive a notebook kernel and are found again.

A process is recorded by pid and create time in `processes/NAME.json` of the state folder:
a pid alone can be another program's after a restart. Each runs in a session of its own, so
that the kernel's Stop button does not end it, and writes its output to a file.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
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
        _children[child.pid] = child
        try:
            record = self._record(name, child.pid, log, argv)
        except psutil.NoSuchProcess:
            child.wait()
            raise _ended_at_once(name, f"its exit status was {child.returncode}", log) from None
        except BaseException:  # a process that nobody can find again must not stay behind
            child.kill()
            child.wait()
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
            raise

    def _record(self, name: str, pid: int, log: Path, argv: Sequence[str]) -> Recorded:
        created = psutil.Process(pid).create_time()
        files.write_json(
            self._path(name),
            {"name": name, "pid": pid, "created": created, "log": str(log), "argv": list(argv)},
            version=_SCHEMA,
        )
        return Recorded(name, pid, created, log, tuple(argv))

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


_ORPHAN = 'log=$1; shift; { exec "$@"; } </dev/null >>"$log" 2>&1 & echo $!'


def _ended_at_once(name: str, cause: str, log: Path) -> MeshDown:
    return MeshDown(
        f"{name} ended as soon as it was started", cause=cause, fix=f"read {log}", detail=tail(log)
    )


def end_strays(folder: Path) -> list[str]:
    """End programs of this Python environment that work in `folder` and are in no record.

    A program counts when it was started from the environment and a word of its command line
    lies inside `folder`. This process and those that started it never count.

    Returns:
        Each ended program's name and pid.
    """
    prefix = sys.prefix + os.sep
    inside = str(folder.resolve()) + os.sep
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[psutil.Process] = []
    names: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.pid in own:
                continue
            argv = process.cmdline()
            if argv and argv[0].startswith(prefix) and any(inside in word for word in argv[1:]):
                names.append(f"{process.name()} (pid {process.pid})")
                found.append(process)
                process.terminate()
        except psutil.Error:  # it ended, or it belongs to somebody else: not ours
            continue
    for process in _left(found, timeout=_STOP_SECONDS):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _left(found, timeout=2)
    for process in found:
        _reap(process.pid)
    return names


#: Children of this very process: they must be waited for, or they stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """They are meant to outlive this process: Python must not warn about each."""
    for child in _children.values():
        if child.poll() is None:
            child.returncode = 0


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
    left = _left(family, timeout=max(0.0, deadline - time.monotonic()))
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    _left(left, timeout=2)
    _reap(record.pid)
    return True


def _left(family: Sequence[psutil.Process], *, timeout: float) -> list[psutil.Process]:
    """Those that still run after `timeout` seconds; a zombie that init never collects does not."""
    deadline = time.monotonic() + timeout
    left = list(family)
    while True:
        left = [process for process in left if _runs(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _reap(pid: int, timeout: float | None = 0) -> None:
    child = _children.get(pid)
    if child is None:
        return
    try:
        child.wait(timeout=timeout)
    except subprocess.TimeoutExpired:
        return
    del _children[pid]
