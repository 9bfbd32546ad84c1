"""A million lines of a sidecar's log: parsed, joined with the requests, counted."""

from __future__ import annotations

from collections.abc import Callable

from helpers import bench_logs
from helpers.bench.figures import Bars, Figure, Measured, Spread

GOAL_SECONDS = 3.0
GOAL_MB = 1000.0


def bench(
    *,
    lines: int = 1_000_000,
    naive_lines: int = 100_000,
    rounds: int = 3,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """See `helpers.bench_logs.bench`, which does the measuring.

    Args:
        lines: of the log.
        naive_lines: the part of it that the naive way reads.
        rounds: how often our way runs, each in a process of its own.
        say: told what is being done.
    """
    say(f"writing {lines:,} lines, then reading them {rounds} times")
    found = bench_logs.bench(lines, naive_lines=naive_lines, rounds=rounds)
    # The naive way runs on a part; the same seconds a line make it comparable.
    naive = found["naive_us_per_line"] * lines / 1e6
    return Measured(
        name="logs",
        title=f"{lines:,} log lines parsed, joined and counted",
        figures=(
            Figure(name="parse, join, count", unit="s", ours=Spread.of([found["seconds"]]),
                   naive=Spread.of([naive]), naive_way="a pattern a line, a dict a row",
                   goal=GOAL_SECONDS),
            Figure(name="  of it: parse", unit="s", ours=Spread.of([found["parse_seconds"]])),
            Figure(name="  of it: join and count", unit="s",
                   ours=Spread.of([found["join_seconds"]])),
            Figure(name="memory above an idle process, peak", unit="MB",
                   ours=Spread.of([found["peak_growth_mb"]]), goal=GOAL_MB),
        ),
        bars=Bars.of("A log line parsed, joined and counted",
                     {"ours": found["us_per_line"], "naive": found["naive_us_per_line"]},
                     unit="µs a line", baseline="ours"),
        notes=(
            f"medians of {rounds} runs; the naive way read {naive_lines:,} of the lines in "
            f"{found['naive_seconds']:.1f} s, scaled to {lines:,}",
        ),
    )
