"""One `run` and one `lab` at a time in a clone; the second learns who has it."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from helpers import files, paths
from helpers.errors import Busy


class Alone:
    """A lock of this clone that the operating system frees when its holder ends."""

    def __init__(self, name: str, *, holding: str, folder: Path | None = None) -> None:
        home = folder or paths.HOME
        self._lock = FileLock(home / f"{name}.lock")
        self._pid = home / f"{name}.pid"
        self._holding = holding

    def __enter__(self) -> Alone:
        try:
            with files.writing(self._pid):
                self._pid.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire(timeout=0)
        except Timeout:
            pid = self._pid.read_text(encoding="ascii").strip() if self._pid.exists() else "?"
            raise Busy(
                f"{self._holding} is at work in this clone already (pid {pid})",
                cause="two at once would undo each other's mesh",
                fix=f"wait for it, or end it: kill {pid}",
            ) from None
        try:
            files.write_atomic(self._pid, f"{os.getpid()}\n")
        except BaseException:  # nobody calls __exit__ for what was never entered
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pid.unlink(missing_ok=True)
        self._lock.release()
