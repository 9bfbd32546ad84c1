"""Every scenario of every plugin on a real Envoy."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from helpers import paths, scenarios
from helpers.scenarios import Scenario

EVERY = [each for name in scenarios.known() for each in scenarios.load(paths.plugins() / name)]


@cache
def built(plugin: str, module: str) -> Path:
    """The module of a plugin, built once."""
    return scenarios.module_of(next(
        each for each in EVERY if (each.plugin, each.module_name) == (plugin, module)))


@pytest.mark.parametrize("scenario", EVERY, ids=lambda each: f"{each.plugin}: {each.name}")
def test_the_plugin_does_on_envoy_what_its_scenario_says(scenario: Scenario) -> None:
    module = built(scenario.plugin, scenario.module_name)
    outcome = scenarios.run(scenario, on="local", module=module)
    assert outcome.passed, str(outcome)


def test_every_plugin_has_scenarios() -> None:
    crates = {manifest.parent.name for manifest in paths.plugins().glob("*/Cargo.toml")}
    assert set(scenarios.known()) == crates


def test_a_plugin_that_does_something_else_fails(wasm: dict[str, Path]) -> None:
    greets = next(each for each in EVERY if each.plugin == "gate" and each.steps)
    outcome = scenarios.run(greets, on="local", module=wasm["noop"])
    assert not outcome.passed
    assert "steps[0].status" in [check.name for check in outcome.failed]


def test_a_file_that_is_no_module_is_refused_with_envoys_words(tmp_path: Path) -> None:
    junk = tmp_path / "junk.wasm"
    junk.write_bytes(b"junk")
    outcome = scenarios.run(EVERY[0], on="local", module=junk)
    assert [check.name for check in outcome.failed] == ["start"]
    assert "[critical] wasm: Plugin default." in str(outcome)
