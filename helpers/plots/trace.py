"""A picture of the trace: who ran when, callbacks on one lane and host calls on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from helpers.plots import result
from helpers.plots.result import PlotResult
from helpers.sandbox import view

if TYPE_CHECKING:
    from helpers.sandbox.records import Call

#: Idle time beyond this many microseconds is cut out, and the cut marked.
_LONGEST_PAUSE = 2_000.0
_WIDTH = 7.0
_FONT = 10
# What a character of that size and the shortest label need, in parts of the picture's width.
_CHARACTER = 0.0145
_NUMBER = 0.036
_NAMED = 12
_LANES = {"guest": "callbacks\n(host to VM)", "host": "host calls\n(VM to host)"}


def timeline(trace: Sequence[Call], *, title: str = "Between host and VM") -> PlotResult:
    """When each callback ran, and which calls it made of the host.

    Args:
        trace: what `Exchange.trace` has.
        title: the picture's heading.

    Returns:
        A plot whose table has number (int64, as in the picture), call (str), by ("host" or
        "VM", who called), begun_us, took_us (float64, microseconds), result (str).
        A pause of more than 2 ms in which nothing ran is cut out of the picture and marked.
    """
    table = pd.DataFrame({
        "number": np.arange(1, len(trace) + 1, dtype=np.int64),
        "call": pd.Series([call.name for call in trace], dtype="str"),
        "by": pd.Series(["host" if call.direction == "guest" else "VM" for call in trace],
                        dtype="str"),
        "begun_us": pd.Series([round(call.begun_us, 1) for call in trace], dtype="float64"),
        "took_us": pd.Series([round(call.took_us, 1) for call in trace], dtype="float64"),
        "result": pd.Series([view.result(call) for call in trace], dtype="str"),
    })
    height = 2.1 + 0.8 * 2 * len(_plugins(trace))
    return result.draw(title, table, _alt(trace), lambda axes: _paint(axes, trace),
                       size=(_WIDTH, height), wide=True)


def _plugins(trace: Sequence[Call]) -> list[str]:
    return list(dict.fromkeys(call.plugin for call in trace))


def _alt(trace: Sequence[Call]) -> str:
    callbacks = [call for call in trace if call.direction == "guest"]
    if not callbacks:
        return "Timeline of calls between host and VM."
    end = max(call.begun_us + call.took_us for call in trace)
    parts = [f"{call.name} at {call.begun_us:,.0f} for {call.took_us:,.0f}"
             + (" (trap)" if call.result == "trap" else "") for call in callbacks[:_NAMED]]
    more = len(callbacks) - len(parts)
    return (f"Timeline over {end:,.0f} microseconds with {len(callbacks)} callbacks and "
            f"{len(trace) - len(callbacks)} host calls. Callbacks, in microseconds: "
            + "; ".join(parts) + (f"; and {more} more" if more else "") + ".")


def _cuts(trace: Sequence[Call]) -> list[tuple[float, float]]:
    """(moment, length) of what is cut out: the waiting between the parts of a request."""
    found: list[tuple[float, float]] = []
    busy_until = trace[0].begun_us
    for call in trace:
        if call.begun_us - busy_until > _LONGEST_PAUSE:
            found.append((busy_until, call.begun_us - busy_until - _LONGEST_PAUSE / 4))
        busy_until = max(busy_until, call.begun_us + call.took_us)
    return found


def _paint(axes: Axes, trace: Sequence[Call]) -> None:
    cuts = _cuts(trace)

    def shown(moment: float) -> float:
        return moment - sum(length for at, length in cuts if at < moment)

    plugins = _plugins(trace)
    end = max(shown(call.begun_us) + call.took_us for call in trace)
    begin = min(0.0, trace[0].begun_us)
    wide = max(end - begin, 1.0)
    lanes = {(plugin, kind): -(2 * number + (kind == "host"))
             for number, plugin in enumerate(plugins) for kind in _LANES}
    last_label: dict[int, float] = {}
    for number, call in enumerate(trace, 1):
        lane = lanes[call.plugin, call.direction]
        left = shown(call.begun_us)
        # A callback inside a callback is drawn inside it, smaller.
        size = 0.5 if call.depth < 2 else 0.28
        guest = call.direction == "guest"
        axes.barh(lane, call.took_us, left=left, height=size,
                  color=result.SKY if guest else result.ORANGE, hatch="" if guest else "//",
                  edgecolor="black", linewidth=0.7)
        _label(axes, call, number, left, lane, wide, last_label)
        if call.result == "trap":
            axes.plot([left + call.took_us], [lane], marker="X", color=result.RED, markersize=11,
                      markeredgecolor="black", linestyle="none")
            axes.annotate("trap", (left + call.took_us, lane), xytext=(9, 0), va="center",
                          textcoords="offset points", fontsize=_FONT, fontweight="bold")
    for at, length in cuts:
        place = shown(at) + _LONGEST_PAUSE / 8
        axes.axvline(place, color=result.BLACK, linestyle=":", linewidth=1.2)
        axes.annotate(
            f"{length / 1000:,.0f} ms cut", (place, 1), xycoords=("data", "axes fraction"),
            xytext=(0, -2), textcoords="offset points", ha="center", va="top",
            fontsize=_FONT - 1, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    names = [f"{plugin}\n{word}" if len(plugins) > 1 else word
             for plugin in plugins for word in _LANES.values()]
    axes.set_yticks(list(lanes.values()), names, fontsize=_FONT, parse_math=False)
    axes.set_ylim(min(lanes.values()) - 0.6, 0.75)
    axes.set_xlim(begin - wide * 0.01, end + wide * 0.09)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    cut = ", pauses cut out" if cuts else ""
    axes.set_xlabel(f"microseconds since the exchange began{cut}")
    axes.grid(visible=False, axis="y")


def _label(axes: Axes, call: Call, number: int, left: float, lane: int, wide: float,
           last: dict[int, float]) -> None:
    """The name inside the bar where it fits; else its number in the table, where that fits."""
    name = call.name.removeprefix("proxy_")
    if len(name) * _CHARACTER < call.took_us / wide and call.depth < 2:
        axes.annotate(f"{number} {name}" if (len(name) + 3) * _CHARACTER < call.took_us / wide
                      else name, (left + call.took_us / 2, lane), ha="center", va="center",
                      fontsize=_FONT,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.9})
        return
    middle = left + call.took_us / 2
    if (middle - last.get(lane, -wide)) / wide >= _NUMBER:
        last[lane] = middle
        axes.annotate(str(number), (middle, lane + 0.27), xytext=(0, 2), ha="center", va="bottom",
                      textcoords="offset points", fontsize=_FONT)
