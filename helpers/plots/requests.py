"""Plots of traffic and log lines over time, by client, by latency and by status."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from helpers import logs, reconcile
from helpers.plots import result
from helpers.plots.result import PlotResult

#: Bin widths in seconds: the first that gives at most `_BINS` bins is taken.
_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86400.0)
_BINS = 60


def _bins(*times: pd.Series) -> tuple[pd.Timestamp | None, float, int]:
    """The first moment, the bin width in seconds and the number of bins."""
    joined = [series.dropna() for series in times if len(series.dropna())]
    if not joined:
        return None, 1.0, 0
    start = min(series.min() for series in joined)
    span = (max(series.max() for series in joined) - start).total_seconds()
    width = next((w for w in _WIDTHS if span / w < _BINS), max(span / _BINS, _WIDTHS[-1]))
    return start, width, int(span / width) + 1


def _histogram(times: pd.Series, start: pd.Timestamp, width: float, count: int) -> np.ndarray:
    offsets = (times.dropna() - start).dt.total_seconds().to_numpy()
    return np.bincount((offsets / width).astype(int).clip(0, count - 1), minlength=count)


def _over_time(axes: Axes, table: pd.DataFrame, width: float, ylabel: str) -> None:
    seconds = table["second"].to_numpy()
    for number, name in enumerate(table.columns[1:]):
        axes.plot(
            seconds, table[name], label=name,
            color=result.COLOURS[number % 7], marker=result.MARKERS[number % 7],
            linestyle=result.LINES[number % 7], markersize=5, markevery=max(1, len(table) // 30),
        )
    axes.set_xlabel("time since the first request (s)")
    axes.set_ylabel(f"{ylabel} per {width:g} s")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    result.legend_below(axes)


def requests_and_log_lines(sent: pd.DataFrame, log: pd.DataFrame) -> PlotResult:
    """Requests sent and plugin lines logged for them, over time.

    Args:
        sent: what `traffic.send` returned.
        log: what `logs.parse` returned; only plugin lines that carry a tag count.

    Returns:
        A plot whose table has second (float64), requests sent, answered, plugin lines (int64);
        where the log is of several pods, plugin lines of each pod in place of them all.
        Bins are 0.1 s for a short burst and grow with the span.
    """
    lines = logs.plugin_lines(log)
    tagged = lines["text"].str.contains(reconcile.TAG.pattern.replace("(", "(?:"), na=False)
    times = lines.loc[tagged, "time"]
    answered = sent.loc[sent["status"].notna(), "time"]
    start, width, count = _bins(sent["time"], times)
    columns: dict[str, np.ndarray] = {"second": np.round(np.arange(count) * width, 3)}
    series_of = [("requests sent", sent["time"]), ("answered", answered)]
    if "pod" in log.columns:
        whose = lines.loc[tagged, "pod"].astype("object")
        series_of += [(f"plugin lines of {pod}", times[whose == pod])
                      for pod in sorted(log["pod"].astype("object").unique())]
    else:
        series_of.append(("plugin lines", times))
    for name, series in series_of:
        columns[name] = (
            np.zeros(0, int) if start is None else _histogram(series, start, width, count)
        )
    table = pd.DataFrame(columns)
    alt = (
        f"Line chart over {count * width:g} seconds: {len(sent)} requests sent, "
        f"{len(answered)} answered, {int(tagged.sum())} plugin log lines"
        + (f" of {log['pod'].nunique()} pods." if "pod" in log.columns else ".")
    )
    return result.draw(
        "Requests and the plugin's log lines", table, alt,
        lambda axes: _over_time(axes, table, width, "requests or lines"),
    )


def statuses(sent: pd.DataFrame) -> PlotResult:
    """HTTP statuses over time; requests without an answer are a series of their own.

    Returns:
        A plot whose table has second (float64) and one int64 column a status.
    """
    start, width, count = _bins(sent["time"])
    table = pd.DataFrame({"second": np.round(np.arange(count) * width, 3)})
    names = sent["status"].astype("object").map(
        lambda status: "no answer" if pd.isna(status) else f"HTTP {status}"
    )
    totals = names.value_counts()
    if start is not None:
        for name in sorted(totals.index):
            table[name] = _histogram(sent.loc[names == name, "time"], start, width, count)
    parts = ", ".join(f"{totals[name]} {name}" for name in sorted(totals.index))
    return result.draw(
        "Answers over time", table, f"Line chart of answers by status: {parts}.",
        lambda axes: _over_time(axes, table, width, "answers"),
    )


def counts_by_user_agent(sent: pd.DataFrame, log: pd.DataFrame) -> PlotResult:
    """Requests and plugin lines of each client, side by side.

    Returns:
        A plot whose table has user_agent (str), requests, plugin lines (int64), most first.
    """
    found = logs.plugin_lines(log)["text"].str.extract(reconcile.TAG, expand=False).dropna()
    agent_of = sent.set_index("id")["agent"]
    logged = found.map(agent_of).dropna().value_counts()
    counts = sent["agent"].value_counts()
    table = pd.DataFrame(
        {
            "user_agent": counts.index.to_numpy(dtype=object),
            "requests": counts.to_numpy(dtype=np.int64),
            "plugin lines": [int(logged.get(name, 0)) for name in counts.index],
        }
    )
    alt = "Bar chart by User-Agent: " + "; ".join(
        f"{row[0]}: {row[1]} requests, {row[2]} plugin lines"
        for row in table.head(10).itertuples(index=False, name=None)
    )

    def paint(axes: Axes) -> None:
        top = table.head(15).iloc[::-1]
        y = np.arange(len(top))
        for shift, name, colour, hatch in (
            (0.2, "requests", result.BLUE, ""), (-0.2, "plugin lines", result.ORANGE, "//"),
        ):
            bars = axes.barh(
                y + shift, top[name], height=0.38, color=colour, hatch=hatch,
                edgecolor="black", linewidth=0.6, label=name,
            )
            axes.bar_label(bars, fmt="{:,.0f}", padding=4)
        labels = [a if len(a) <= 32 else f"{a[:31]}…" for a in top["user_agent"]]
        # A name is data: a dollar sign in it must not start a formula.
        axes.set_yticks(y, labels, parse_math=False)
        axes.set_xlabel("count")
        axes.margins(x=0.18)
        axes.grid(visible=False, axis="y")
        result.legend_below(axes, 2)

    height = 2.6 + 0.55 * min(len(table), 15)
    return result.draw("Requests and log lines by client", table, alt, paint, size=(8.0, height))


def latency(sent: pd.DataFrame) -> PlotResult:
    """How long the answers took, with percentiles.

    Returns:
        A plot whose table has statistic (str) and milliseconds (float64): min, p50, p90, p99,
        max, of answered requests only.
    """
    values = sent.loc[sent["status"].notna(), "latency_ms"].dropna().to_numpy(dtype=float)
    marks = {"min": 0, "p50": 50, "p90": 90, "p99": 99, "max": 100}
    table = pd.DataFrame(
        {
            "statistic": list(marks) if len(values) else [],
            "milliseconds": [float(np.percentile(values, q)) for q in marks.values()]
            if len(values)
            else [],
        }
    )
    parts = ", ".join(
        f"{name} {value:.1f} ms" for name, value in table.itertuples(index=False, name=None)
    )

    def paint(axes: Axes) -> None:
        low, high = max(values.min(), 1e-3), max(values.max(), 1e-3)
        wide = high / low > 30
        edges = np.geomspace(low * 0.99, high * 1.01, 40).tolist() if wide else 40
        axes.hist(values, bins=edges, color=result.SKY, edgecolor="black", linewidth=0.5)
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
        for name, colour, style in (
            ("p50", result.BLUE, "-"), ("p90", result.PURPLE, "--"), ("p99", result.RED, ":"),
        ):
            value = np.percentile(values, marks[name])
            axes.axvline(
                value, color=colour, linestyle=style, linewidth=2.2, label=f"{name} {value:.1f} ms"
            )
        axes.set_xlabel("latency (ms, logarithmic)" if wide else "latency (ms)")
        axes.set_ylabel("requests")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        result.legend_below(axes)

    return result.draw(
        "Latency of answered requests", table,
        f"Histogram of the latency of {len(values)} answered requests: {parts}.", paint,
    )
