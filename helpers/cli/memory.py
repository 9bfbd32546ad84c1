"""How much memory the run and all that it started take together."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from helpers import processes
from helpers.errors import BadState

_EVERY_SECONDS = 0.5


class Peak:
    """The highest sum of resident memory seen, in bytes: a process, its descendants, the mesh.

    Pages that processes share are counted once for each, so the figure is an upper bound.

    Args:
        state: the mesh's state folder.
        root: whose descendants count; this process by default.
    """

    def __init__(self, state: Path, *, root: psutil.Process | None = None) -> None:
        self._registry = processes.Registry(state)
        self._root = root or psutil.Process()
        self._next = 0.0
        self.bytes = 0

    def look(self) -> None:
        """Measure, at most twice a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        family: dict[int, psutil.Process] = {}
        roots = [self._root]
        try:
            # The mesh outlives the kernel that started it, so it is nobody's child by then.
            recorded = [record.process() for record in self._registry.all()]
            roots += [process for process in recorded if process is not None]
        except BadState:
            # The mesh itself reports a damaged record; a measurement must not.
            roots = [self._root]
        total = 0
        for root in roots:
            try:
                for process in (root, *root.children(recursive=True)):
                    family[process.pid] = process
            except psutil.NoSuchProcess:
                continue
        for process in family.values():
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        self.bytes = max(self.bytes, total)
