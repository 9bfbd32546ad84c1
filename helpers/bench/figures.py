"""What a benchmark gives back: medians with their spread, the naive way beside, the goal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from helpers.errors import BadInput


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one thing.

    Attributes:
        samples: in the order in which they were taken.
    """

    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise BadInput("nothing was measured", cause="there are no samples",
                           fix="ask for one round or more")

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of `samples`.

        Raises:
            BadInput: there are none.
        """
        return cls(tuple(float(sample) for sample in samples))

    @property
    def median(self) -> float:
        """The middle one: a pause of a shared machine moves a mean, not this."""
        return statistics.median(self.samples)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.samples)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.samples)

    def __str__(self) -> str:
        if len(self.samples) == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def ratio(over: Spread, under: Spread) -> float:
    """The median of the ratios of samples taken in the same round.

    What slows a whole round down slows both, so it leaves their ratio alone; a ratio of two
    medians may set a quiet round against a busy one. Unequal numbers of samples have no rounds
    in common: then the medians are compared.
    """
    if len(over.samples) != len(under.samples):
        return over.median / under.median
    pairs = zip(over.samples, under.samples, strict=True)
    return statistics.median(above / below for above, below in pairs)


def number(value: float) -> str:
    """A number with about three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        unit: such as "s" or "µs".
        ours: our way.
        naive: the naive way, or None where there is no other way to set beside it.
        naive_way: what the naive way is, in a few words.
        times: naive over ours (or ours over naive where more is better): above 1, ours wins.
        goal: the figure should stay below it (with `more_is_better`: reach it); None: no goal.
    """

    name: str
    unit: str
    ours: Spread
    naive: Spread | None = None
    naive_way: str = ""
    goal: float | None = None
    more_is_better: bool = False

    @property
    def times(self) -> float | None:
        """How many times better ours is than the naive way; None without one."""
        if self.naive is None:
            return None
        if self.more_is_better:
            return ratio(self.ours, self.naive)
        return ratio(self.naive, self.ours)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without a goal."""
        if self.goal is None:
            return None
        median = self.ours.median
        return median >= self.goal if self.more_is_better else median < self.goal

    def row(self) -> tuple[str, ...]:
        """The cells under `COLUMNS`."""
        goal = "–"
        if self.goal is not None:
            sign = "≥" if self.more_is_better else "<"
            goal = f"{sign} {number(self.goal)} {self.unit}".rstrip()
        return (
            self.name,
            f"{self.ours} {self.unit}".rstrip(),
            "–" if self.naive is None else f"{self.naive} {self.unit}: {self.naive_way}",
            "–" if self.times is None else f"{number(self.times)}×",
            goal,
            {None: "–", True: "met", False: "MISSED"}[self.met],
        )

    def document(self) -> dict[str, Any]:
        """The figure as JSON, with every sample."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": _document(self.ours),
            "naive": None if self.naive is None else _document(self.naive),
            "naive_way": self.naive_way,
            "times": self.times,
            "goal": self.goal,
            "more_is_better": self.more_is_better,
            "met": self.met,
        }


COLUMNS = ("figure", "ours: median (least to most)", "the naive way", "ratio", "goal", "")


def _document(spread: Spread) -> dict[str, Any]:
    return {"median": spread.median, "min": spread.low, "max": spread.high,
            "samples": list(spread.samples)}


@dataclass(frozen=True)
class Bars:
    """What the benchmark's plot shows: `helpers.plots.bench_bars` draws it.

    Attributes:
        title: short enough to stand above it.
        frame: columns name (str) and value (float64), one row a bar.
        unit: of the values.
        baseline: the bar that is 1.0×.
    """

    title: str
    frame: pd.DataFrame
    unit: str
    baseline: str

    @classmethod
    def of(cls, title: str, values: Mapping[str, float], *, unit: str, baseline: str) -> Bars:
        """Bars by name, in the order of `values`."""
        frame = pd.DataFrame({
            "name": pd.Series(list(values), dtype="str"),
            "value": pd.Series(list(values.values()), dtype="float64"),
        })
        return cls(title, frame, unit, baseline)


@dataclass(frozen=True)
class Stacks:
    """Bars made of parts: `helpers.plots.stacked_bars` draws them.

    Attributes:
        title: short enough to stand above it.
        frame: columns name (str), one for each of `parts`, least and most (float64).
        parts: in their order in time; in one row they add up to its bar.
        unit: of the values.
        goal: what the bars are held against; None: nothing.
    """

    title: str
    frame: pd.DataFrame
    parts: tuple[str, ...]
    unit: str
    goal: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one benchmark found.

    Attributes:
        name: as it is asked for on the command line.
        title: one line that says what was measured.
        figures: with goals and ratios.
        bars: what to plot.
        columns, rows: more numbers behind the figures, as a table; may be empty.
        notes: what a reader must know to judge them.
    """

    name: Literal["ready", "inner-loop", "logs", "workbook", "filter", "sandbox", "cluster"]
    title: str
    figures: tuple[Figure, ...]
    bars: Bars | Stacks
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "figures": [figure.document() for figure in self.figures],
            "detail": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }
