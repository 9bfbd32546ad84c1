"""One line that says how far a piece of work is, updated at most five times a second.

Only the thread that runs the cell may call it: output of other threads lands in whichever
cell runs then.
"""

from __future__ import annotations

import html
import sys
import time
from typing import Any

_EVERY = 0.2  # seconds


def _notebook_handle() -> Any | None:
    """A display that can be updated in place, or None outside a notebook kernel."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import HTML, display

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return display(HTML("<div></div>"), display_id=True)


class Progress:
    """A progress line: a bar in a notebook, a rewritten line on a terminal, else silent.

    Args:
        total: how many make it complete.
        unit: what is counted, such as "requests".
        show: False makes every call do nothing.
    """

    def __init__(self, total: int, unit: str, *, show: bool = True) -> None:
        self._total, self._unit = total, unit
        self._handle = _notebook_handle() if show else None
        self._terminal = show and self._handle is None and sys.stderr.isatty()
        self._begin = time.monotonic()
        self._last = 0.0

    def update(self, done: int) -> None:
        """`done` of the total are complete."""
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self._show(done, f"{done:,} of {self._total:,} {self._unit}, {now - self._begin:.0f} s")

    def finish(self, text: str) -> None:
        """The work is over; `text` is what stays."""
        self._show(self._total, f"{text}, {time.monotonic() - self._begin:.1f} s")
        if self._terminal:
            sys.stderr.write("\n")

    def _show(self, done: int, text: str) -> None:
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(
                HTML(
                    f"<progress value='{done}' max='{self._total}' "
                    f"aria-label='{html.escape(self._unit)}'></progress> {html.escape(text)}"
                )
            )
        elif self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
