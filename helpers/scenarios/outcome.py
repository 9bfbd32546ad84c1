"""What came of a scenario, to print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from helpers.scenarios.checks import Check
from helpers.scenarios.format import Scenario
from helpers.scenarios.seen import Line
from helpers.show import TableResult, duration, table_text

_COLUMNS = ("", "check", "expected", "seen")
_WIDE = 60
#: Where a scenario ran, in words.
PLACES = {"sandbox": "the sandbox", "local": "a real Envoy"}


@dataclass(frozen=True, kw_only=True)
class Outcome(TableResult):
    """A scenario that was run.

    Attributes:
        plugin, scenario: which.
        on: "sandbox" or "local".
        passed: whether every check did.
        checks: all of them, in order.
        logs: the lines of each step, those of the start first.
    """

    plugin: str
    scenario: str
    on: str
    passed: bool
    checks: tuple[Check, ...]
    logs: tuple[tuple[Line, ...], ...] = ()

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def line(self) -> str:
        """One line that tells it."""
        took = "" if self.seconds is None else f"  ({duration(self.seconds)})"
        return f"{_word(self.passed)}  {self.plugin}: {self.scenario}{took}"


def outcome(
    scenario: Scenario,
    on: str,
    checks: Iterable[Check],
    logs: Sequence[Sequence[Line]],
    notes: Sequence[str],
    seconds: float,
) -> Outcome:
    """Put it together.

    Args:
        logs: the lines of the start, then of each step.
        notes: what the host said, shown when a check failed.
    """
    checks = tuple(checks)
    passed = all(check.passed for check in checks)
    rows = tuple((_word(c.passed), c.name, c.expected, c.seen) for c in checks)
    shown = [(word, name, _cut(expected), _cut(seen)) for word, name, expected, seen in rows]
    count = sum(check.passed for check in checks)
    text = [f"{scenario.plugin}: {scenario.name}",
            f"{count} of {len(checks)} checks passed on {PLACES[on]}",
            table_text(_COLUMNS, shown)]
    if not passed:
        for check in checks:  # what the table had no room for
            if not check.passed and max(len(check.expected), len(check.seen)) > _WIDE:
                text += [check.name, f"  expected: {check.expected}", f"  seen:     {check.seen}"]
        if any(logs):
            text.append("logged:")
            names = ["start", *(f"steps[{number}]" for number in range(len(logs) - 1))]
            text += [f"  {name}  {line}" for name, lines in zip(names, logs, strict=True)
                     for line in lines]
    return Outcome(
        columns=_COLUMNS, rows=rows, text="\n".join(text), seconds=seconds, plugin=scenario.plugin,
        scenario=scenario.name, on=on, passed=passed, checks=checks,
        logs=tuple(tuple(lines) for lines in logs), notes=() if passed else tuple(notes),
    )


def _word(passed: bool) -> str:
    return "ok  " if passed else "FAIL"


def _cut(text: str) -> str:
    text = text.replace("\n", "\\n")
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
