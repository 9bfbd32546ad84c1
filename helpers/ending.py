"""How processes are brought to their end, also those that no record knows."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

#: What a process has to end by itself before it is ended by force.
STOP_SECONDS = 5.0


def programs_in(folders: Iterable[Path], environment: Path) -> list[psutil.Process]:
    """Programs of a Python environment that work in one of `folders`, recorded or not.

    A program counts when it was started from `environment` and a word of its command line
    lies inside a folder. This process and those that started it never count.
    """
    prefix = str(environment) + os.sep
    inside = [str(folder.resolve()) + os.sep for folder in folders]
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            argv = [] if process.pid in own else process.cmdline()
        except psutil.Error:  # it ended, or it belongs to somebody else: not ours
            continue
        if (
            argv
            and argv[0].startswith(prefix)
            and any(folder in word for word in argv[1:] for folder in inside)
        ):
            found.append(process)
    return found


def end_strays(folder: Path) -> list[str]:
    """End programs of this Python environment that work in `folder` and are in no record.

    To be called when every recorded process was ended, for it asks for no record.

    Returns:
        Each ended program's name and pid.
    """
    found: list[psutil.Process] = []
    names: list[str] = []
    for process in programs_in([folder], Path(sys.prefix)):
        try:
            name = f"{process.name()} (pid {process.pid})"
            process.terminate()
        except psutil.Error:  # it ended meanwhile
            continue
        names.append(name)
        found.append(process)
    for process in _left(found, timeout=STOP_SECONDS):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _left(found, timeout=2)
    for process in found:
        reap(process.pid)
    return names


#: Children of this very process: they must be waited for, or they stay as zombies.
children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """They are meant to outlive this process: Python must not warn about each."""
    for child in children.values():
        if child.poll() is None:
            child.returncode = 0


def end(process: psutil.Process, *, seconds: float = STOP_SECONDS) -> bool:
    """End a process and its children, politely first, then by force; whether it was running."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        reap(process.pid)
        return False
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    reap(process.pid)
    left = _left(family, timeout=seconds)
    for member in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    _left(left, timeout=2)
    reap(process.pid)
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


def reap(pid: int) -> None:
    """Collect the exit status of a child of this process, if it is one and has ended."""
    child = children.get(pid)
    if child is None:
        return
    if child.poll() is not None:
        del children[pid]
