"""Plots of module sizes and of measured ratios."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.errors import BadInput
from helpers.plots import result
from helpers.plots.result import PlotResult

#: The most bytes of data that the API server takes in one ConfigMap.
CONFIGMAP_LIMIT = 1_048_576


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Raise BadInput where `frame` lacks one of `columns`."""
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise BadInput(
            f"the frame has no column {', '.join(map(repr, lacking))}",
            cause=f"its columns are {', '.join(map(str, frame.columns)) or 'none'}",
            fix=f"pass a frame with {', '.join(columns)}",
        )


def _bars(axes: Axes, names: list[str], values: np.ndarray, labels: list[str]) -> None:
    y = np.arange(len(names))[::-1]
    for number, (at, value, label) in enumerate(zip(y, values, labels, strict=True)):
        axes.barh(
            at, value, height=0.6, color=result.COLOURS[number % 6],
            hatch=result.HATCHES[number % 7], edgecolor="black", linewidth=0.6,
        )
        axes.annotate(
            label, (value, at), xytext=(6, 0), textcoords="offset points", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )
    axes.set_yticks(y, [n if len(n) <= 32 else f"{n[:31]}…" for n in names], parse_math=False)
    axes.grid(visible=False, axis="y")


def module_sizes(sizes: pd.DataFrame) -> PlotResult:
    """Module sizes against what a ConfigMap holds.

    Args:
        sizes: profile (str), bytes (int), headroom_bytes (int), fits_configmap (bool).

    Raises:
        BadInput: a column is missing.
    """
    need(sizes, "profile", "bytes", "headroom_bytes", "fits_configmap")
    table = sizes[["profile", "bytes", "headroom_bytes", "fits_configmap"]].reset_index(drop=True)
    names = [str(name) for name in table["profile"]]
    size = table["bytes"].to_numpy(dtype=float)
    words = ["fits" if fits else "too big" for fits in table["fits_configmap"]]
    alt = f"Bar chart of module sizes; a ConfigMap holds {CONFIGMAP_LIMIT:,} bytes. " + "; ".join(
        f"{name}: {int(value):,} bytes, {word}"
        for name, value, word in zip(names, size, words, strict=True)
    )

    def paint(axes: Axes) -> None:
        labels = [f"{int(v):,} B, {w}" for v, w in zip(size, words, strict=True)]
        _bars(axes, names, size, labels)
        axes.axvline(
            CONFIGMAP_LIMIT, color=result.BLACK, linestyle="--", linewidth=2,
            label=f"ConfigMap limit: {CONFIGMAP_LIMIT:,} bytes",
        )
        top = max(size.max(), CONFIGMAP_LIMIT)
        if top / max(size.min(), 1) > 50:
            axes.set_xscale("log")
            axes.set_xlim(max(size.min(), 1) / 3, top * 12)
            axes.set_xlabel("size (bytes, logarithmic)")
        else:
            axes.set_xlim(0, top * 1.4)
            axes.set_xlabel("size (bytes)")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.locator_params(axis="x", nbins=6)
        result.legend_below(axes, 1)

    height = 2.4 + 0.5 * len(table)
    return result.draw("Size of the module", table, alt, paint, size=(8.0, height))


def short(value: float) -> str:
    """A number with about three digits that count, never in powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def bench_bars(
    frame: pd.DataFrame, *, label: str = "name", value: str = "value", unit: str = "",
    title: str = "Measured", baseline: str | None = None,
) -> PlotResult:
    """Bars with each value's ratio to one of them.

    Args:
        frame: one row a bar.
        label, value: its columns with the name and the number.
        unit: the number's unit, for the axis.
        baseline: the name that is 1.0×; the first row where None.

    Returns:
        A plot whose table has `label`, `value` and ratio (float64).

    Raises:
        BadInput: a column is missing, or no row is called `baseline`.
    """
    need(frame, label, value)
    names = [str(name) for name in frame[label]]
    values = frame[value].to_numpy(dtype=float)
    if baseline is not None and baseline not in names:
        raise BadInput(
            f"baseline={baseline!r} is no row",
            cause=f"the rows are {', '.join(names) or 'none'}",
            fix="name one of them",
        )
    base = values[names.index(baseline) if baseline else 0] if names else np.nan
    ratios = values / base if base else np.full(len(values), np.nan)
    table = pd.DataFrame({label: names, value: values, "ratio": ratios})
    unit_text = f" {unit}" if unit else ""
    texts = [f"{short(v)}{unit_text} ({r:.2f}×)" for v, r in zip(values, ratios, strict=True)]
    alt = f"Bar chart, {title}: " + "; ".join(
        f"{name}: {text}" for name, text in zip(names, texts, strict=True)
    )

    def paint(axes: Axes) -> None:
        _bars(axes, names, values, texts)
        axes.set_xlim(0, (np.nanmax(values) or 1.0) * 1.5)
        axes.set_xlabel(f"{value} ({unit})" if unit else value)

    return result.draw(title, table, alt, paint, size=(8.0, 1.9 + 0.5 * len(table)))
