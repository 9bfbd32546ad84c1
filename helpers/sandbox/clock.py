"""A clock that stands until it is moved, and what is due when it moves."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Work = Callable[[], None]
_FEW = 64


class Timer:
    """Something that will happen; `cancel` forgets it."""

    __slots__ = ("at", "work")

    def __init__(self, at: int, work: Work) -> None:
        self.at = at
        self.work: Work | None = work

    def cancel(self) -> None:
        """It will not happen."""
        self.work = None


class Clock:
    """Time in nanoseconds, moved by hand.

    Args:
        now: the first moment, in nanoseconds since the epoch.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self._due: list[tuple[int, int, Timer]] = []
        self._sweep_at = _FEW
        self._number = itertools.count()

    def after(self, nanoseconds: int, work: Work) -> Timer:
        """Do `work` when the clock has moved on so far."""
        if len(self._due) >= self._sweep_at:
            # What was cancelled goes, or a million answered calls would leave their timeouts.
            self._due = [due for due in self._due if due[2].work is not None]
            heapq.heapify(self._due)
            self._sweep_at = max(_FEW, 2 * len(self._due))
        timer = Timer(self.now + nanoseconds, work)
        heapq.heappush(self._due, (timer.at, next(self._number), timer))
        return timer

    def next(self) -> int | None:
        """When the next thing is due; None when nothing is."""
        while self._due and self._due[0][2].work is None:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def step(self, until: int) -> bool:
        """Move to the next thing due no later than `until`, and do it; False if none is."""
        at = self.next()
        if at is None or at > until:
            return False
        timer = heapq.heappop(self._due)[2]
        self.now = max(self.now, at)
        work, timer.work = timer.work, None
        if work is not None:
            work()
        return True
