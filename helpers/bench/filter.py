"""What a filter costs in Envoy: requests a second, and µs of Envoy's CPU a request."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from helpers import steps
from helpers.bench import filter_envoy, load
from helpers.bench.figures import Bars, Figure, Measured, Spread, number, ratio
from helpers.bench.load import Load
from helpers.bench.place import scratch

#: Listener name to the plugin that it runs. `noop-again` is the same module as `noop`: what
#: their figures differ by is noise, and no smaller difference means anything.
VARIANTS: dict[str, str | None] = {
    "no-filter": None, "noop": "noop", "noop-again": "noop", "header-logger": "header-logger",
    "naive": "naive",
}
LEVELS = ("warning", "info")
#: header-logger at wasm:warning may cost this much of what noop costs.
GOAL = 1.10

Rounds = Mapping[tuple[str, str], Sequence[Load]]


def bench(
    *,
    rounds: int = 40,
    seconds: float = 0.25,
    wrk_rounds: int = 15,
    say: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
) -> Measured:
    """Load every filter at every level in turn, `rounds` times over.

    Args:
        rounds: cycles; in each, every combination is loaded once, in another order. Many
            short loads find a filter and what it is compared with on an equally busy machine;
            few long ones do not.
        seconds: of each load.
        wrk_rounds: cycles of one second by wrk, where it is installed, for requests/s: our own
            generator takes a good part of a core itself.
        say: told how far it is.
        folder: another place for the state, for tests.
    """
    modules = {
        name: None if plugin is None else steps.build_plugin(plugin)
        for name, plugin in VARIANTS.items()
    }
    using = load.generator()
    with scratch(folder) as state:
        server = filter_envoy.start(state, modules)
        found = measure(server, rounds=rounds, seconds=seconds, using="own", say=say)
        fast = found
        if using != "own":
            say("requests/s, by wrk")
            fast = measure(server, rounds=wrk_rounds, seconds=1.0, using=using, say=say)
    return summary(found, fast, using=using)


def measure(
    server: filter_envoy.BenchEnvoy, *, rounds: int, seconds: float, using: str,
    say: Callable[[str], None],
) -> Rounds:
    """The loads by level and variant, in the order of the cycles."""
    found: dict[tuple[str, str], list[Load]] = {
        (level, name): [] for level in LEVELS for name in VARIANTS
    }
    order = list(found)
    for level, name in order:  # V8 compiles what runs often anew: let it, before it is measured
        server.admin.set_log_level(f"wasm:{level}")
        load.round_of_load(server.process, server.ports[name], seconds=seconds, using=using)
    for number_ in range(rounds):
        if number_ % 10 == 0:
            say(f"cycle {number_ + 1} of {rounds}")
        # Another order each time: nothing always follows the same neighbour.
        for level, name in random.Random(number_).sample(order, len(order)):
            server.admin.set_log_level(f"wasm:{level}")
            found[level, name].append(load.round_of_load(
                server.process, server.ports[name], seconds=seconds, using=using))
    return found


def summary(found: Rounds, fast: Rounds, *, using: str) -> Measured:
    """Figures and table from the loads.

    Args:
        found: what µs of CPU are taken from.
        fast: what requests/s are taken from.
        using: the generator of `fast`.
    """
    micros = {key: Spread.of([one.micros for one in loads]) for key, loads in found.items()}
    speed = {key: Spread.of([one.per_second for one in loads]) for key, loads in fast.items()}
    rows = []
    for (level, name), cost in micros.items():
        base, noop = (level, "no-filter"), (level, "noop")
        rows.append((
            f"wasm:{level}", name, str(speed[level, name]), str(cost),
            f"{ratio(cost, micros[base]):.2f}×", f"{ratio(cost, micros[noop]):.2f}×",
            f"{ratio(speed[level, name], speed[base]):.2f}×",
            f"{ratio(speed[level, name], speed[noop]):.2f}×",
        ))
    return Measured(
        name="filter",
        title="The filter's cost in Envoy (one worker, direct response, "
        f"{load.CONNECTIONS} connections)",
        figures=(*_against_noop(micros, speed), *_cost(micros, speed)),
        bars=Bars.of("The filter's cost in Envoy", {f"{name}, wasm:{level}": cost.median
                      for (level, name), cost in micros.items()},
                     unit="µs of Envoy's CPU a request", baseline="no-filter, wasm:warning"),
        columns=("level", "filter", "requests/s", "µs CPU a request", "µs: to no filter",
                 "µs: to noop", "req/s: to no filter", "req/s: to noop"),
        rows=tuple(rows),
        notes=_notes(fast, micros, using),
    )


def _against_noop(
    micros: Mapping[tuple[str, str], Spread], speed: Mapping[tuple[str, str], Spread]
) -> tuple[Figure, ...]:
    def over(values: Mapping[tuple[str, str], Spread], name: str) -> Spread:
        """Its ratio to noop, cycle by cycle."""
        pairs = zip(values["warning", name].samples, values["warning", "noop"].samples,
                    strict=True)
        return Spread.of([above / below for above, below in pairs])

    return (
        Figure(name="header-logger at wasm:warning, CPU to noop", unit="×",
               ours=over(micros, "header-logger"), naive=over(micros, "naive"),
               naive_way="the naive filter", goal=GOAL),
        Figure(name="header-logger at wasm:warning, req/s to noop", unit="×",
               ours=over(speed, "header-logger"), naive=over(speed, "naive"),
               naive_way="the naive filter", goal=2 - GOAL, more_is_better=True),
    )


def _cost(
    micros: Mapping[tuple[str, str], Spread], speed: Mapping[tuple[str, str], Spread]
) -> list[Figure]:
    figures: list[Figure] = []
    for level in LEVELS:
        ours, naive = (level, "header-logger"), (level, "naive")
        figures += [
            Figure(name=f"header-logger at wasm:{level}, CPU a request", unit="µs",
                   ours=micros[ours], naive=micros[naive], naive_way="the naive filter"),
            Figure(name=f"header-logger at wasm:{level}, requests", unit="/s", ours=speed[ours],
                   naive=speed[naive], naive_way="the naive filter", more_is_better=True),
        ]
    return figures


def _notes(
    fast: Rounds, micros: Mapping[tuple[str, str], Spread], using: str
) -> tuple[str, ...]:
    noise = [abs(ratio(micros[level, "noop-again"], micros[level, "noop"]) - 1) * 100
             for level in LEVELS]
    busy = statistics.median(one.busy for loads in fast.values() for one in loads)
    who = "our own generator (wrk is not installed)" if using == "own" else "wrk"
    notes = [
        f"requests/s by {who}, µs of CPU by short loads of our own; the request is the article's: "
        + ", ".join(name for name, _ in load.HEADERS),
        f"noise: noop against itself differs by {number(max(noise))} % of CPU a request",
    ]
    if busy < 0.9:
        notes.append(
            f"Envoy's worker was busy {busy:.0%} of the time: the generator, or others on this "
            "machine, held it back, so requests/s understate it; µs of CPU are Envoy's own"
        )
    return tuple(notes)
