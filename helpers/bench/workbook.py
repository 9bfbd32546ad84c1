"""The whole workbook headless: `workbook run` as a learner starts it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import psutil

from helpers import paths, processes
from helpers.bench.figures import Bars, Figure, Measured, Spread
from helpers.cli.memory import Peak
from helpers.cli.run import chosen, own_places
from helpers.errors import CommandFailed

GOAL_SECONDS = 300.0
GOAL_MB = 1200.0


def bench(*, say: Callable[[str], None] = lambda _: None) -> Measured:
    """Run all notebooks once together, then each alone with a mesh of its own.

    Raises:
        BadInput: there are no notebooks.
        CommandFailed: a run failed; a figure of half a run would mean nothing.
    """
    numbers = [path.name[:2] for path in chosen(None)]
    say(f"all {len(numbers)} notebooks in one run")
    seconds, peak = run([])
    alone: list[float] = []
    for number in numbers:
        say(f"notebook {number} alone")
        alone.append(run(["--notebook", number])[0])
    return summary(seconds, peak, dict(zip(numbers, alone, strict=True)))


def run(more: Sequence[str]) -> tuple[float, float]:
    """`workbook run` with `more` arguments: wall seconds, and the peak of its memory in MB.

    Raises:
        CommandFailed: its status was not 0.
    """
    argv = [sys.executable, "-P", "-m", "helpers.cli", "run", *more]
    log = paths.workspace() / "report" / "bench" / "workbook-run.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with log.open("wb") as sink:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink,
                                 stderr=subprocess.STDOUT, cwd=paths.ROOT)
    peak = Peak(own_places().state, root=psutil.Process(child.pid))
    try:
        while child.poll() is None:
            peak.look()
            time.sleep(0.1)
    except BaseException:
        _end(child)
        raise
    seconds = time.monotonic() - begun
    if child.returncode != 0:
        command = " ".join(["workbook run", *more])
        raise CommandFailed(
            f"{command} ended with status {child.returncode}",
            cause="a notebook failed, or something promised was not verified",
            fix=f"run it by itself: ./{command}",
            detail=processes.tail(log, 30),
        )
    return seconds, peak.bytes / 1e6


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask it to stop: it ends its kernel and its mesh itself."""
    child.terminate()
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def summary(seconds: float, peak: float, alone: dict[str, float]) -> Measured:
    """Figures from the runs.

    Args:
        seconds: of the run of all.
        peak: MB, of the run of all.
        alone: seconds of each notebook's own run, by number.
    """
    return Measured(
        name="workbook",
        title="The whole workbook, headless",
        figures=(
            Figure(name="all notebooks", unit="s", ours=Spread.of([seconds]),
                   naive=Spread.of([sum(alone.values())]),
                   naive_way="a run, and a mesh, for each notebook", goal=GOAL_SECONDS),
            Figure(name="memory, peak of all processes", unit="MB", ours=Spread.of([peak]),
                   goal=GOAL_MB),
        ),
        bars=Bars.of("The whole workbook, headless", {"all in one run": seconds}
                     | {f"notebook {number} alone": each for number, each in alone.items()},
                     unit="s", baseline="all in one run"),
        notes=("resident memory, pages that processes share counted once for each: an upper "
               "bound",
               "one run: its parts are many, but a busy machine lengthens it as a whole"),
    )
