"""What became of one notebook: its cells, and its promises compared with the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from helpers.errors import WorkbookError
from helpers.evidence import Check


@dataclass(frozen=True)
class Outcome:
    """One row of the summary.

    Attributes:
        name: the notebook's file name without its ending.
        cells: code cells that ran to their end, of `total`.
        seconds: wall time.
        checks: what it recorded, in order.
        problems: why it failed, in words; empty when it passed.
        reported: whether it has a page in the report.
    """

    name: str
    cells: int
    total: int
    seconds: float
    checks: tuple[Check, ...]
    problems: tuple[str, ...]
    reported: bool

    @property
    def passed(self) -> bool:
        """Whether every cell ran and every promised check was recorded as passed."""
        return not self.problems

    @property
    def verified(self) -> str:
        """The checks in a few words, for a table's cell."""
        good = [check.id for check in self.checks if check.passed]
        return ", ".join(dict.fromkeys(good)) or "-"


def promised(notebook: Any) -> list[str]:
    """The ids of the checks that the metadata `workbook.verifies` of `notebook` promises."""
    return [str(name) for name in notebook.metadata.get("workbook", {}).get("verifies", [])]


def problems(
    promises: Sequence[str], checks: Sequence[Check], failure: WorkbookError | None
) -> tuple[str, ...]:
    """Why a notebook failed: its error, checks that failed, promised checks never recorded.

    A check that failed once counts, even when a later one of the same id passed: the reader
    of the notebook saw it fail.
    """
    found = [] if failure is None else [str(failure)]
    found += [f"not verified: {check.id}: expected {check.expected}, seen {check.seen}"
              for check in checks if not check.passed]
    recorded = {check.id for check in checks}
    found += [f"promised but never checked: {name}" for name in promises if name not in recorded]
    return tuple(found)
