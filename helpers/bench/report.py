"""What a bench prints and writes: the computer, tables, JSON, a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

from helpers import files, paths, toolchain
from helpers.bench.figures import COLUMNS, Measured, Stacks
from helpers.mesh.local import envoy
from helpers.plots import PlotResult, bench_bars, stacked_bars
from helpers.show import table_text


def folder() -> Path:
    """Where the results lie."""
    return paths.workspace() / "report" / "bench"


def computer() -> dict[str, str]:
    """What the figures depend on: processor, load by others, versions."""
    found = toolchain.find()
    load = " ".join(f"{value:.1f}" for value in psutil.getloadavg())
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "computer": f"{_cpus()} CPUs ({platform.machine()}), "
        f"{psutil.virtual_memory().total / 1e9:.1f} GB of memory, {platform.system()} "
        f"{platform.release()}",
        "load before": f"{load} (1, 5, 15 minutes): others at work make every figure worse",
        "versions": f"Python {platform.python_version()}, Envoy {envoy.version()}, "
        f"rustc {found.version or 'none'} ({found.kind})",
    }


def _cpus() -> int:
    # A container may be bound to fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def text(measured: Measured) -> str:
    """The tables and the notes."""
    parts = [measured.title, "", table_text(COLUMNS, [one.row() for one in measured.figures])]
    if measured.rows:
        parts += ["", table_text(measured.columns, measured.rows)]
    parts += ["", *(f"# {note}" for note in measured.notes)]
    return "\n".join(parts)


def plotted(measured: Measured) -> PlotResult:
    """The bench's plot."""
    bars = measured.bars
    if isinstance(bars, Stacks):
        return stacked_bars(bars.frame, bars.parts, unit=bars.unit, title=bars.title,
                            goal=bars.goal)
    return bench_bars(bars.frame, unit=bars.unit, title=bars.title, baseline=bars.baseline)


def write(measured: Measured, about: Mapping[str, str], *, seconds: float) -> str:
    """Write NAME.json and NAME.png into `folder()`; their paths as a learner reads them.

    Raises:
        DiskProblem: they could not be written.
    """
    plot = plotted(measured)
    document = {
        "computer": dict(about), **measured.document(), "seconds": seconds, "plot": plot.alt,
    }
    data, image = (folder() / f"{measured.name}.{kind}" for kind in ("json", "png"))
    files.write_atomic(data, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    files.write_atomic(image, plot.png())
    return f"{paths.shown(data)}, {paths.shown(image)}"
