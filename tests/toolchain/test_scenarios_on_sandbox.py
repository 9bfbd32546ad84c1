"""Every scenario of every plugin on the sandbox."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from helpers import paths, scenarios
from helpers.errors import NotModelled
from helpers.scenarios import Scenario
from helpers.scenarios.format import Step

EVERY = [each for name in scenarios.known() for each in scenarios.load(paths.plugins() / name)]


@cache
def built(plugin: str, module: str) -> Path:
    """The module of a plugin, built once."""
    return scenarios.module_of(next(
        each for each in EVERY if (each.plugin, each.module_name) == (plugin, module)))


def of(plugin: str) -> Scenario:
    return next(each for each in EVERY if each.plugin == plugin and not each.refused)


@pytest.mark.parametrize("scenario", EVERY, ids=lambda each: f"{each.plugin}: {each.name}")
def test_the_plugin_does_on_the_sandbox_what_its_scenario_says(scenario: Scenario) -> None:
    module = built(scenario.plugin, scenario.module_name)
    outcome = scenarios.run(scenario, on="sandbox", module=module)
    assert outcome.passed, str(outcome)


def test_a_plugin_that_does_something_else_fails() -> None:
    outcome = scenarios.run(of("gate"), module=built("noop", "noop"))
    assert not outcome.passed
    assert "steps[0].status" in [check.name for check in outcome.failed]


def test_a_file_that_is_no_module_is_refused_with_the_reason(tmp_path: Path) -> None:
    junk = tmp_path / "junk.wasm"
    junk.write_bytes(b"junk")
    outcome = scenarios.run(of("gate"), module=junk)
    assert [check.name for check in outcome.failed] == ["start"]
    assert "junk.wasm" in str(outcome)


def changed(scenario: Scenario, step: dict[str, object]) -> Scenario:
    made = scenario.model_copy(update={"steps": [Step.model_validate(step)]})
    return made.located(scenario.file, scenario.plugin)


def test_an_upstream_that_never_answers_leaves_the_request_paused() -> None:
    silent = changed(of("noop"), {
        "request": {"method": "POST", "body": ["a", "b"], "trailers": {"t": "v"}},
        "upstream": "timeout",
        "expect": {"status": "paused", "upstream": {"body": "ab", "trailers": {"t": "v"}}},
    })
    outcome = scenarios.run(silent, module=built("noop", "noop"))
    assert outcome.passed, str(outcome)


def test_what_the_sandbox_does_not_do_is_said() -> None:
    broken = changed(of("noop"), {"request": {}, "upstream": "reset"})
    with pytest.raises(NotModelled, match="does not break a stream off"):
        scenarios.run(broken, module=built("noop", "noop"))
