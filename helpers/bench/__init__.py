"""`workbook bench`: the figures that this workbook claims, measured on this computer.

Each figure stands beside the naive way to do the same; what is compared is run in turn, in one
go, so that a busy machine slows both. No test depends on any of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.errors import BadInput, Cancelled, WorkbookError

if TYPE_CHECKING:
    from helpers.bench.figures import Measured

#: The benches in the order in which they run, and about how long each takes.
NAMES: dict[str, str] = {
    "ready": "half a minute",
    "inner-loop": "a minute",
    "logs": "half a minute",
    "filter": "three minutes",
    "sandbox": "two minutes",
    "cluster": "five minutes",
    "workbook": "the notebooks twice: up to ten minutes",
}


def main(argv: Sequence[str] = ()) -> int:
    """Measure what `argv` names, everything by default; print, and write the report.

    Without a cluster, its bench is left out unless it is named.

    A goal that is missed is a finding, not a failure.

    Returns:
        0 when everything was measured, else 1.

    Raises:
        BadInput: there is no such bench.
    """
    names = chosen(argv)
    from helpers.bench import report  # pandas and matplotlib: not for a wrong name

    computer = report.computer()
    print("\n".join(f"{key}: {value}" for key, value in computer.items()), flush=True)
    failed = 0
    for name in names:
        if name == "cluster" and name not in argv and (why := _no_cluster()):
            print(f"\n{name}: left out, {why} (./workbook cluster up)", flush=True)
            continue
        print(f"\n{name}: about {NAMES[name]}", flush=True)
        begun = time.monotonic()
        try:
            measured = _bench(name)(_say)
        except Cancelled:
            raise
        except WorkbookError as error:
            failed += 1
            print(f"workbook: {name} could not be measured\n{error}", file=sys.stderr, flush=True)
            continue
        print(report.text(measured), flush=True)
        written = report.write(measured, computer, seconds=time.monotonic() - begun)
        print(f"written: {written}", flush=True)
    return 1 if failed else 0


def chosen(argv: Sequence[str]) -> list[str]:
    """The benches that `argv` names, in our order, each once; all when it names none.

    Raises:
        BadInput: there is no such bench.
    """
    for name in argv:
        if name not in NAMES:
            raise BadInput(f"there is no bench {name!r}", cause=f"there are {', '.join(NAMES)}",
                           fix=f"./workbook bench {next(iter(NAMES))}")
    return [name for name in NAMES if not argv or name in argv]


def _bench(name: str) -> Callable[[Callable[[str], None]], Measured]:
    from helpers.bench import cluster, filter, inner_loop, logs, ready, sandbox, workbook

    known: Mapping[str, Callable[[Callable[[str], None]], Measured]] = {
        "ready": lambda say: ready.bench(say=say),
        "inner-loop": lambda say: inner_loop.bench(say=say),
        "logs": lambda say: logs.bench(say=say),
        "filter": lambda say: filter.bench(say=say),
        "sandbox": lambda say: sandbox.bench(say=say),
        "cluster": lambda say: cluster.bench(say=say),
        "workbook": lambda say: workbook.bench(say=say),
    }
    return known[name]


def _no_cluster() -> str:
    """Why there is no cluster to measure; empty where there is one."""
    from helpers.bench import cluster

    return cluster.missing()


def _say(text: str) -> None:
    print(f"  {text}", flush=True)
