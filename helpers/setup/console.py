"""What set-up says while it works: one line that moves on a terminal, few lines elsewhere."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

#: Seconds between two lines of progress where lines cannot be overwritten.
_QUIET_SECONDS = 10.0


class Console:
    """Messages and progress, on stderr: stdout belongs to the command that follows."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._moving = self._stream.isatty()
        self._shown = 0.0
        self._open = False

    def say(self, text: str) -> None:
        """A message that stays."""
        self._finish_line()
        print(f"workbook: {text}", file=self._stream, flush=True)

    def progress(self, text: str) -> None:
        """How far the work is; on a terminal it replaces the last such line."""
        if self._moving:
            width = shutil.get_terminal_size((80, 20)).columns - 1
            print(f"\r\x1b[K  {text}"[: width + 4], end="", file=self._stream, flush=True)
            self._open = True
        elif time.monotonic() - self._shown >= _QUIET_SECONDS:
            self._shown = time.monotonic()
            print(f"  {text}", file=self._stream, flush=True)

    def _finish_line(self) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._open = False


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    line: Callable[[str], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    keep_open: Sequence[int] = (),
) -> tuple[int, str]:
    """Run a program that asks nothing; its output goes to `log` and to `line`.

    Args:
        tick: called about once a second, also while the program is silent.
        keep_open: descriptors that the program inherits. Set-up passes its lock: should this
            process be killed, the lock stays held until the program has ended, so that a
            second set-up cannot write into the same environment at the same time.

    Returns:
        The exit status (127: no such program) and the last 60 lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [os.fspath(word) for word in argv]
    lines: queue.Queue[str | None] = queue.Queue()
    seen: list[str] = []
    with log.open("a", encoding="utf-8") as sink:
        print(f"$ {' '.join(words)}", file=sink, flush=True)
        try:
            child = subprocess.Popen(
                words,
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(keep_open) if sys.platform != "win32" else (),
            )
        except FileNotFoundError as error:
            print(error, file=sink)
            return 127, str(error)
        reader = threading.Thread(target=_read, args=(child, lines), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    text = lines.get(timeout=1.0)
                except queue.Empty:
                    tick()
                    continue
                if text is None:
                    break
                print(text, file=sink, flush=True)
                seen.append(text)
                del seen[:-60]
                line(text)
            status = child.wait()
        except BaseException:
            # Ctrl-C has reached the child, too, unless this was a signal to us alone.
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise
    return status, "\n".join(seen)


def _read(child: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    with child.stdout:
        for raw in child.stdout:
            lines.put(raw.decode("utf-8", "replace").rstrip())
    lines.put(None)
