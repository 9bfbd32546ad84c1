"""Plots: numbers beside them, a text for those who do not see them, and no data is no error."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from helpers import logs, plots
from helpers.errors import BadInput
from helpers.plots import PlotResult

SIZES = pd.DataFrame(
    {
        "profile": ["debug", "release"],
        "bytes": [2_000_000, 117_009],
        "headroom_bytes": [-951_424, 931_567],
        "fits_configmap": [False, True],
    }
)


def sent(count: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"3fa9c1d2-{n:06d}" for n in range(count)],
            "time": pd.date_range("2026-11-22", periods=count, freq="200ms", tz="UTC"),
            "status": pd.array([200, 503, None, 200, 200][:count] * (count // 5), dtype="Int16"),
            "latency_ms": [float(n + 1) for n in range(count)],
            "agent": ["A $x$ <b>" if n % 2 else "B" for n in range(count)],
        }
    )


def log(count: int = 10) -> pd.DataFrame:
    return logs.parse(
        "".join(
            f"2026-11-22T00:00:0{n // 5}.000000Z\tinfo\tenvoy wasm a:1\twasm log p: "
            f"User-Agent: x req/3fa9c1d2-{n:06d}\tthread=1\n"
            for n in range(count)
        )
    )


ALL: dict[str, Callable[[int], PlotResult]] = {
    "requests": lambda n: plots.requests_and_log_lines(sent(n), log(n)),
    "agents": lambda n: plots.counts_by_user_agent(sent(n), log(n)),
    "latency": lambda n: plots.latency(sent(n)),
    "statuses": lambda n: plots.statuses(sent(n)),
    "sizes": lambda n: plots.module_sizes(SIZES.head(n)),
    "bars": lambda n: plots.bench_bars(pd.DataFrame({"name": ["a"] * n, "value": [2.0] * n})),
}


@pytest.mark.parametrize("name", ALL)
def test_a_plot_has_an_image_a_text_and_its_table_and_leaves_no_figure_open(name: str) -> None:
    shown = ALL[name](10)
    assert shown.png().startswith(b"\x89PNG")
    assert "no data" not in shown.alt
    page = shown._repr_html_()
    assert "<img alt=" in page
    assert "<table" in page
    assert "<b>" not in page
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ALL)
def test_without_data_the_plot_says_so(name: str) -> None:
    shown = ALL[name](0)
    assert shown.alt.endswith("no data.")
    assert [text.get_text() for text in shown.figure.axes[0].texts] == ["no data"]
    assert shown.png().startswith(b"\x89PNG")


def test_axes_are_labelled_with_units_and_series_differ_without_colour() -> None:
    axes = ALL["requests"](10).figure.axes[0]
    assert "(s)" in axes.get_xlabel()
    assert len({line.get_marker() for line in axes.lines}) == 3
    assert len({line.get_linestyle() for line in axes.lines}) == 3


def test_the_table_counts_requests_and_lines() -> None:
    table = ALL["requests"](10).table
    assert table[["requests sent", "answered", "plugin lines"]].sum().tolist() == [10, 8, 10]
    assert ALL["statuses"](10).table.drop(columns="second").sum().to_dict() == {
        "HTTP 200": 6, "HTTP 503": 2, "no answer": 2
    }
    assert ALL["agents"](10).table["plugin lines"].tolist() == [5, 5]


def test_a_short_burst_gets_bins_of_a_tenth_of_a_second_and_an_hour_larger_ones() -> None:
    burst = sent(10)
    assert plots.statuses(burst).table["second"].iloc[1] == 0.1
    burst["time"] = pd.date_range("2026-11-22", periods=10, freq="6min", tz="UTC")
    assert len(plots.statuses(burst).table) <= 60


def test_percentiles_are_of_answered_requests_only() -> None:
    table = ALL["latency"](10).table.set_index("statistic")["milliseconds"]
    assert (table["min"], table["max"], table["p50"]) == (1.0, 10.0, 5.5)
    assert table["p90"] == pytest.approx(9.3)  # with the two unanswered ones it would be 9.1


def test_the_configmap_limit_is_drawn_and_named() -> None:
    shown = ALL["sizes"](2)
    assert "1,048,576" in shown.alt
    assert "debug: 2,000,000 bytes, too big" in shown.alt


def test_ratios_are_against_the_baseline() -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "value": [2.0, 1.0]})
    assert plots.bench_bars(frame, baseline="b").table["ratio"].tolist() == [2.0, 1.0]
    with pytest.raises(BadInput, match="'c'"):
        plots.bench_bars(frame, baseline="c")
    with pytest.raises(BadInput, match="'profile'"):
        plots.module_sizes(frame)
