"""`workbook scenarios`: which files are meant, and with which status it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers import scenarios
from helpers.cli import main
from helpers.cli.scenarios import find
from helpers.errors import MeshDown, NotFound
from helpers.scenarios import Check, Scenario
from helpers.scenarios.outcome import Outcome, outcome


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "scenarios.yaml").write_text(
        "scenarios: [{name: one, steps: [{request: {}}]}, {name: two, steps: [{request: {}}]}]")
    (tmp_path / "mine.wasm").write_bytes(b"")
    return folder


def test_a_plugin_is_found_by_its_name_and_a_file_by_its_path(mine: Path) -> None:
    assert find("gate").parent.name == "gate"
    assert find(str(mine)) == mine
    assert find(str(mine / "scenarios.yaml")) == mine / "scenarios.yaml"


def test_an_unknown_plugin_is_told_with_the_known_ones(
    capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotFound, match="there are no scenarios of gaet") as caught:
        find("gaet")
    assert "gate, header-logger" in caught.value.fix
    assert main(["scenarios", "gaet"]) == 1
    assert "gate, header-logger" in capsys.readouterr().err


def test_a_module_is_for_one_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "gate", "noop", "--module", "x.wasm"]) == 1
    assert "--module is for one plugin" in capsys.readouterr().err


def test_the_status_tells_whether_all_passed(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails: set[str] = set()

    def run(scenario: Scenario, *, on: Any, module: Path | None) -> Outcome:
        assert on == "local"
        if scenario.name == "broken":
            raise MeshDown("Envoy ended")
        seen = "404" if scenario.name in fails else "200"
        check = Check("steps[0].status", "200", seen, seen == "200")
        return outcome(scenario, on, [check], [(), ()], [], 0.01)

    monkeypatch.setattr(scenarios, "run", run)
    words = ["scenarios", str(mine), "--on", "local", "--module", str(mine.parent / "mine.wasm")]
    assert main(words) == 0
    assert "2 scenarios on a real Envoy in 20 ms: 2 passed, 0 failed" in capsys.readouterr().out
    fails.add("two")
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "ok    mine: one" in told
    assert "FAIL  mine: two" in told
    assert "FAIL   steps[0].status   200        404" in told
    (mine / "scenarios.yaml").write_text(
        "scenarios: [{name: broken, steps: [{wait: 1}]}, {name: one, steps: [{wait: 1}]}]")
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "Envoy ended" in told
    assert "1 passed, 1 failed" in told
