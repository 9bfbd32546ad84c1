"""The record of what was verified, by which notebook, on which mesh.

`verify` compares what was expected with what was seen, shows the outcome and appends it to
`evidence.jsonl` in the state folder. `workbook run` reads that file: a check that a notebook
promises (its metadata `workbook.verifies`) and that did not pass makes the run fail.
"""

from __future__ import annotations

import html
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helpers import paths
from helpers.show import TableResult, table


@dataclass(frozen=True)
class Check:
    """One comparison of what was expected with what was seen."""

    id: str
    passed: bool
    expected: str
    seen: str
    notebook: str = ""
    mesh: str = ""
    time: float = 0.0

    def __str__(self) -> str:
        word = "verified" if self.passed else "NOT verified"
        return f"{word}: {self.id}\n  expected: {self.expected}\n  seen:     {self.seen}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark, word = ("✔", "verified") if self.passed else ("✘", "NOT verified")
        return (
            f"<div><b>{mark} {word}</b>: {html.escape(self.id)}"
            "<pre style='margin:.2em 0;white-space:pre-wrap;font-family:monospace'>"
            f"expected  {html.escape(self.expected)}\n"
            f"seen      {html.escape(self.seen)}</pre></div>"
        )


def record_path() -> Path:
    """The file that checks are appended to, one JSON object a line."""
    return paths.state() / "evidence.jsonl"


def verify(
    check: str, *, expected: Any, seen: Any, passed: bool | None = None, mesh: str = ""
) -> Check:
    """Compare, show and record.

    Args:
        check: a short stable name such as "filter-503".
        expected: what should be there, as a value or in words.
        seen: what is there.
        passed: the outcome where equality does not express it; otherwise `expected == seen`.
        mesh: which mesh the fact comes from; by default the one that WORKBOOK_MESH names.

    Returns:
        The check. It does not raise when it fails: the learner reads on, `workbook run` fails.
    """
    outcome = (expected == seen) if passed is None else bool(passed)
    result = Check(
        id=check,
        passed=outcome,
        expected=str(expected),
        seen=str(seen),
        notebook=os.environ.get("WORKBOOK_NOTEBOOK", ""),
        mesh=mesh or os.environ.get("WORKBOOK_MESH") or "local",
        time=time.time(),
    )
    path = record_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
    return result


def read(path: Path | None = None) -> list[Check]:
    """All recorded checks, oldest first. A line cut short by a crash is passed over."""
    source = path or record_path()
    if not source.exists():
        return []
    found: list[Check] = []
    for line in source.read_text(encoding="utf-8").splitlines():
        try:
            found.append(Check(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def achieved(*checks: str) -> TableResult:
    """What became of these checks, each by its latest record: the end of a notebook.

    Returns:
        A table, one row a check, with CHECK, OUTCOME ("verified", "NOT verified" or "not run
        yet") and SEEN.
    """
    latest = {check.id: check for check in read()}
    rows = []
    for name in checks:
        found = latest.get(name)
        word = "not run yet" if found is None else "verified" if found.passed else "NOT verified"
        rows.append((name, word, "" if found is None else _first_line(found.seen)))
    return table(("CHECK", "OUTCOME", "SEEN"), rows)


def _first_line(text: str, most: int = 100) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= most else f"{line[:most]}…"
