"""Plots that never rely on colour alone, with their numbers as a table and a text beside."""

from helpers.plots.bars import CONFIGMAP_LIMIT, bench_bars, module_sizes
from helpers.plots.requests import (
    counts_by_user_agent,
    latency,
    requests_and_log_lines,
    statuses,
)
from helpers.plots.result import PlotResult
from helpers.plots.stacks import stacked_bars

__all__ = [
    "CONFIGMAP_LIMIT",
    "PlotResult",
    "bench_bars",
    "counts_by_user_agent",
    "latency",
    "module_sizes",
    "requests_and_log_lines",
    "stacked_bars",
    "statuses",
]
