"""Run a program to its end with live output, so that a learner can watch and stop it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers.errors import Cancelled, CommandFailed, ToolchainMissing

#: Called with each line of output as it comes, without its line end.
Sink = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end.

    Attributes:
        argv: what was run.
        status: its exit status; negative when a signal ended it.
        output: stdout and stderr together, in order.
        seconds: wall time.
    """

    argv: tuple[str, ...]
    status: int
    output: str
    seconds: float


def print_line(line: str) -> None:
    """The usual sink: a notebook's output or the terminal."""
    print(line, flush=True)


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    sink: Sink | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Finished:
    """Run `argv`, hand each line to `sink`, and wait for the end.

    The program runs in a process group of its own. When the cell is interrupted, or
    `timeout` (seconds) passes, the whole group is ended before the error is raised:
    nothing is left running. Reading happens in a thread that only fills a queue; lines are
    handed to `sink` here, in the caller's thread, so that output lands in the right cell.

    Args:
        env: variables added to those of this process.
        check: raise when the exit status is not 0.

    Raises:
        CommandFailed: the status is not 0, the time was up, or it cannot be run at all.
        ToolchainMissing: there is no such program.
        Cancelled: the learner interrupted it.
    """
    words = tuple(str(word) for word in argv)
    begun = time.monotonic()
    try:
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        missing = cwd if cwd is not None and not cwd.is_dir() else words[0]
        raise ToolchainMissing(
            f"{missing} was not found",
            cause="it is not installed, or its folder is not in PATH",
            fix="run `./workbook doctor`: it says what is missing and the command to get it",
        ) from error
    except OSError as error:
        raise CommandFailed(
            f"{words[0]} cannot be run: {error.strerror or error}",
            cause="it is no program for this computer, or this user may not run it",
            fix="run `./workbook doctor`: it names the programs that the workbook uses",
        ) from error
    guard: subprocess.Popen[bytes] | None = None
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child, lines), daemon=True)
    seen: list[str] = []
    try:
        reader.start()
        guard = _guard(child.pid)
        while True:
            left = None if timeout is None else timeout - (time.monotonic() - begun)
            if left is not None and left <= 0:
                raise TimeoutError
            try:
                # A bounded wait lets Windows deliver Ctrl-C, too.
                line = lines.get(timeout=0.2 if left is None else min(0.2, left))
            except queue.Empty:
                continue
            if line is None:
                break
            seen.append(line)
            if sink is not None:
                sink(line)
        status = child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise Cancelled(
            f"stopped: {' '.join(words[:4])}",
            cause="you interrupted the cell",
            fix="run the cell again: finished parts of the work are kept",
        ) from None
    except TimeoutError:
        _end(child)
        raise CommandFailed(
            f"{words[0]} did not finish within {timeout:.0f} s and was ended",
            cause="it hung, or this machine is busy",
            fix="run it again, with a longer timeout if the machine is slow",
            detail="\n".join(seen[-30:]),
        ) from None
    except BaseException:
        _end(child)
        raise
    finally:
        _dismiss(guard)
        if reader.ident is not None:
            reader.join(timeout=2)
        if child.stdout is not None:
            child.stdout.close()
    finished = Finished(words, status, "\n".join(seen), time.monotonic() - begun)
    if check and status != 0:
        raise CommandFailed(
            f"{' '.join(words)} ended with status {status}", detail="\n".join(seen[-60:])
        )
    return finished


def _read(child: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    # The pipe is closed under us when the program was cancelled: that ends the stream.
    with contextlib.suppress(ValueError, OSError):
        for raw in child.stdout:
            lines.put(raw.decode("utf-8", "replace").rstrip("\r\n"))
    lines.put(None)


# The guard reads one line from us. When the line cannot come because this process was killed,
# the pipe ends instead, and the guard ends the program's whole group.
_GUARD = 'read -r line || kill -s TERM -- "-$1"'


def _guard(group: int) -> subprocess.Popen[bytes] | None:
    """A process that ends `group` if this one is killed; a kernel restart does just that."""
    if sys.platform == "win32":
        return None
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _dismiss(guard: subprocess.Popen[bytes] | None) -> None:
    if guard is None:
        return
    with contextlib.suppress(BrokenPipeError):
        guard.communicate(b"done\n")


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the program with everything that it started."""
    try:
        family = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if sys.platform != "win32":
        # It may have ended just now; macOS then says EPERM of a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGTERM)
    else:
        child.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=3)
    finally:  # also when Stop is pressed again while we wait
        child.kill()
        child.wait()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
