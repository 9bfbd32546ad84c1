"""One set-up at a time in a clone."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from helpers.setup.console import Console

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        # Beyond the text, so that others can still read which pid holds it.
        os.lseek(descriptor, 4096, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """Held while the environment is changed; the operating system frees it with its holder."""

    def __init__(self, path: Path, console: Console) -> None:
        self._path = path
        self._console = console
        self.descriptor = -1

    def __enter__(self) -> Lock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        begun = time.monotonic()
        said = False
        while True:
            try:
                _take(self.descriptor)
                break
            except OSError:
                if not said:
                    self._console.say(f"another set-up of this clone is at work{self._holder()}: "
                                      "waiting for it to end")
                    said = True
                self._console.progress(f"waiting for {time.monotonic() - begun:.0f} s")
                time.sleep(0.3)
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.write(self.descriptor, str(os.getpid()).encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)

    def _holder(self) -> str:
        pid = self._path.read_text(encoding="ascii", errors="replace").strip("\0 \n")
        return f" (pid {pid})" if pid.isdecimal() else ""
