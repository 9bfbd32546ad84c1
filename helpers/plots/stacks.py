"""Bars made of parts: where the time of several ways to do the same goes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from helpers.errors import BadInput
from helpers.plots import result
from helpers.plots.bars import need, short
from helpers.plots.result import PlotResult

#: A bar this many times as long as the next one would leave no room for the others: it is cut.
_TOO_LONG = 2.5
#: A part narrower than this share of the axis has its number in the table only.
_NARROW = 0.055
#: The axis is so many times as long as the longest bar: its number stands beside it.
_ROOM = 1.5


def stacked_bars(
    frame: pd.DataFrame, parts: Sequence[str], *, unit: str = "s", title: str = "Measured",
    goal: float | None = None,
) -> PlotResult:
    """One bar for each way, made of its parts, with the range of its whole.

    Args:
        frame: one row a bar: name (str), each of `parts` (numbers that add up to the bar),
            least and most (numbers: the range of the whole).
        parts: the columns to stack, in their order in time.
        unit: of the numbers, for the axis.
        goal: a line to hold the bars against.

    Returns:
        A plot whose table has name, the parts, all (their sum), least and most. A bar that
        is far longer than the others is cut, and says so; the table has its whole length.

    Raises:
        BadInput: a column is missing, or there are no parts.
    """
    if not parts:
        raise BadInput("a bar has no parts", cause="parts is empty",
                       fix="name the columns to stack")
    need(frame, "name", "least", "most", *parts)
    table = frame[["name", *parts]].reset_index(drop=True)
    table["all"] = table[list(parts)].sum(axis=1)
    table[["least", "most"]] = frame[["least", "most"]].to_numpy(dtype=float)
    names = [str(name) for name in table["name"]]
    stacks = table[list(parts)].to_numpy(dtype=float)
    ends = table[["all", "least", "most"]].to_numpy(dtype=float)
    texts = [_words(whole, least, most, unit) for whole, least, most in ends]
    alt = f"Stacked bar chart, {title}: " + "; ".join(
        f"{name}: {text}, of it "
        + ", ".join(f"{part} {short(value)} {unit}"
                    for part, value in zip(parts, row, strict=True))
        for name, text, row in zip(names, texts, stacks, strict=True))
    if goal is not None:
        alt += f". A line marks the goal, {short(goal)} {unit}"

    def paint(axes: Axes) -> None:
        end = _end(ends[:, 2], goal)
        for at, (row, text) in enumerate(zip(stacks, texts, strict=True)):
            y = len(names) - 1 - at
            beside = _stack(axes, y, row, parts if at == 0 else (), end)
            _whole(axes, y, ends[at], end, beside, text)
        axes.set_yticks(np.arange(len(names))[::-1], names, parse_math=False)
        axes.set_xlim(0, end * _ROOM)
        what = f"time ({unit})" if unit == "s" else unit
        axes.set_xlabel(f"{what}: bar: the median turn; line below it: least to most")
        axes.grid(visible=False, axis="y")
        if goal is not None:
            axes.axvline(goal, color=result.BLACK, linestyle="--", linewidth=2,
                         label=f"goal: {short(goal)} {unit}", zorder=1)
        result.legend_below(axes, 2)

    return result.draw(title, table, alt, paint, size=(9.0, 2.9 + 0.62 * len(table)))


def _words(whole: float, least: float, most: float, unit: str) -> str:
    if least == most:
        return f"{short(whole)} {unit}"
    return f"{short(whole)} {unit} ({short(least)} to {short(most)})"


def _end(most: np.ndarray, goal: float | None) -> float:
    """Where the axis ends: at the longest bar, or where a bar that is far longer is cut."""
    ordered = sorted(most)
    longest, fit = ordered[-1], [goal or 0.0, ordered[-1]]
    for shorter, longer in itertools.pairwise(ordered):
        if longer > _TOO_LONG * max(shorter, goal or 0.0):
            fit = [goal or 0.0, shorter * 1.15]
            break
    return float(max(fit) or longest or 1.0)


def _stack(axes: Axes, y: int, row: np.ndarray, labels: Sequence[str], end: float) -> float:
    """The parts of one bar, up to `end`; where it ends.

    Args:
        labels: the legend's, for the first bar; empty for the others.
    """
    left = 0.0
    for number, value in enumerate(row):
        shown = min(float(value), max(0.0, end - left))
        axes.barh(y, shown, left=left, height=0.56, color=result.COLOURS[number % 6],
                  hatch=result.HATCHES[number % 7], edgecolor="black", linewidth=0.6,
                  label=labels[number] if labels else None, zorder=2)
        if shown > _NARROW * end * _ROOM:
            axes.text(left + shown / 2, y, short(float(value)), ha="center", va="center",
                      zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2,
                                      "alpha": 0.9})
        left += shown
    return left


def _whole(axes: Axes, y: int, whole: np.ndarray, end: float, beside: float, text: str) -> None:
    """The range of one bar, or the strokes that say that it goes on, and its number."""
    total, least, most = (float(value) for value in whole)
    if total > end:
        for at in (end * 0.955, end * 0.975):
            axes.plot([at - end * 0.008, at + end * 0.008], [y - 0.4, y + 0.4], color="white",
                      linewidth=4, zorder=3)
        text = f"cut: {text}"
    elif least < most:
        # On the bar's lower edge, where it strikes through no number.
        axes.errorbar([total], [y - 0.36], xerr=[[max(0.0, total - least)],
                                                 [max(0.0, min(most, end) - total)]],
                      color="black", capsize=4, linewidth=1.5, zorder=5)
    axes.annotate(text, (beside, y), xytext=(8, 0), textcoords="offset points", va="center",
                  zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5,
                                  "alpha": 0.85})
