"""Run scenarios: where their module comes from, and on which host."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from helpers import cargo, paths
from helpers.errors import BadInput, NotFound
from helpers.scenarios import checks
from helpers.scenarios.checks import Check
from helpers.scenarios.format import Scenario
from helpers.scenarios.outcome import Outcome, outcome
from helpers.scenarios.reading import NAME
from helpers.scenarios.seen import Host, Line

On = Literal["sandbox", "local"]
ON: tuple[On, ...] = ("sandbox", "local")


def run(scenario: Scenario, *, on: On = "sandbox", module: Path | None = None) -> Outcome:
    """Run one scenario on a host of its own.

    Args:
        on: "sandbox", or "local" for a real Envoy on this computer.
        module: the .wasm; None builds the scenario's own.

    Raises:
        BadInput: another `on`.
        NotFound, BuildFailed, ToolchainMissing: there is no module and none can be built.
        WorkbookError: the host itself failed. What a plugin does wrong is in the outcome.
    """
    if on not in ON:
        raise BadInput(f"scenarios do not run on {on!r}", cause=f"there are {' and '.join(ON)}",
                       fix='on="sandbox"')
    wasm = module if module is not None else module_of(scenario)
    if not wasm.is_file():
        raise NotFound(f"there is no module {paths.shown(wasm)}", cause="nothing lies there",
                       fix="build it, or leave it out: then it is built")
    begun = time.monotonic()
    found: list[Check] = []
    logs: list[tuple[Line, ...]] = []
    notes: list[str] = []
    with _host(scenario, on, wasm) as host:
        logs.append(host.start_logs)
        found.append(_started(scenario, host))
        found.extend(checks.of_start(scenario.expect, host.start_logs))
        if found[0].passed:
            for number, step in enumerate(scenario.steps):
                if step.request is not None:
                    seen = host.request(step.request, step)
                else:
                    assert step.wait is not None
                    seen = host.wait(step.wait)
                found.extend(checks.of_step(number, step, seen))
                # The first step also has the lines of the start, which are told already.
                logs.append(seen.logs[len(host.start_logs) if not number else 0 :])
                notes.extend(seen.notes)
        else:
            notes.append(host.refused)
    return outcome(scenario, on, found, logs, notes, time.monotonic() - begun)


def module_of(scenario: Scenario) -> Path:
    """Build the module that a scenario names; fast when nothing has changed.

    Raises:
        NotFound: there is no crate for it.
        BuildFailed, ToolchainMissing: as for `cargo.build`.
    """
    name = scenario.module_name.replace("_", "-")
    beside = paths.ROOT / scenario.file
    places = [paths.plugins() / name, beside.parent]
    for place in places:
        if (place / "Cargo.toml").is_file():
            return cargo.build(place, sink=None).module
    raise NotFound(
        f"there is no module {scenario.module_name} for {scenario.file}",
        cause=f"no Cargo.toml lies in {' or '.join(paths.shown(p) for p in places)}",
        fix="name one of the plugins in the field module, or give a module: --module PATH",
    )


def known() -> list[str]:
    """The plugins that have scenarios."""
    return sorted(path.parent.name for path in paths.plugins().glob(f"*/{NAME}"))


def _host(scenario: Scenario, on: On, module: Path) -> AbstractContextManager[Host]:
    if on == "local":
        from helpers.scenarios import on_envoy

        return on_envoy.started(scenario, module)
    from helpers.scenarios import on_sandbox  # wasmtime is slow to import

    return on_sandbox.started(scenario, module)


def _started(scenario: Scenario, host: Host) -> Check:
    seen = "refused" if host.refused else "started"
    wanted = "refused" if scenario.refused else "started"
    return Check("start", wanted, seen, seen == wanted)
