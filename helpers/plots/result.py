"""A plot with its numbers beside it and a text that says what it shows."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart in the common forms of colour blindness.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")

_STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.35,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": "black",
    "hatch.linewidth": 0.8,
}
_DPI = 110
_ROWS = 40  # the table beside the plot; the whole one is in `.table`


@dataclass(frozen=True)
class PlotResult:
    """A plot.

    Attributes:
        figure: the matplotlib figure; it belongs to no pyplot state, so nothing is left open.
        table: the numbers that are drawn.
        alt: what the plot shows, for those who do not see it.
        title: the plot's heading.
        wide: the picture needs the page's width, and its table stands below.
    """

    figure: Figure
    table: pd.DataFrame
    alt: str
    title: str
    wide: bool = False

    def png(self) -> bytes:
        """The figure as a PNG file."""
        sink = io.BytesIO()
        with rc_context(_STYLE):
            self.figure.savefig(sink, format="png", dpi=_DPI, metadata={"Description": self.alt})
        return sink.getvalue()

    def __str__(self) -> str:
        return f"{self.alt}\n{self.table.to_string(index=False)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        image = base64.b64encode(self.png()).decode("ascii")
        shown = self.table.head(_ROWS)
        more = len(self.table) - len(shown)
        table = shown.to_html(index=False, border=0, float_format=lambda v: f"{v:,.2f}", na_rep="–")
        note = f"<p><small>and {more} more rows in <code>.table</code></small></p>" if more else ""
        # Flex items wrap below one another where the screen is narrow. The white card keeps
        # the figure readable on a dark theme; the table takes the theme's own colours.
        return (
            "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
            f"<figure style='margin:0;flex:1 1 {'46em' if self.wide else '24em'};max-width:46em'>"
            f"<img alt='{html.escape(self.alt, quote=True)}' src='data:image/png;base64,{image}' "
            "style='width:100%;height:auto;background:#fff;border-radius:.4em'></figure>"
            "<div style='flex:0 1 auto;max-width:100%;max-height:28em;overflow:auto' tabindex='0' "
            f"role='region' aria-label='{html.escape(self.title, quote=True)}: the numbers'>"
            f"{table}{note}</div></div>"
        )


def draw(
    title: str,
    table: pd.DataFrame,
    alt: str,
    paint: Callable[[Axes], None],
    *,
    size: tuple[float, float] = (8.0, 4.2),
    wide: bool = False,
) -> PlotResult:
    """A figure titled `title` that `paint` draws on; with an empty table it says "no data"."""
    with rc_context(_STYLE):
        figure = Figure(figsize=size)
        figure.set_layout_engine("constrained", w_pad=0.14, h_pad=0.12)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", pad=12)
        if table.empty:
            axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes)
            axes.set_xticks([])
            axes.set_yticks([])
            alt = f"{title}: no data."
        else:
            paint(axes)
    return PlotResult(figure, table, alt, title, wide)


def legend_below(axes: Axes, columns: int = 3) -> None:
    """A legend under the axes, where it covers no data."""
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns, frameon=False,
        handlelength=3,
    )
