"""What the command line accepts, and with which status it refuses."""

from __future__ import annotations

import pytest

from helpers.setup.arguments import SUITES, parse


@pytest.mark.parametrize("command", ["lab", "run", "test", "bench", "doctor", "setup", "clean",
                                     "reset", "scenarios"])
def test_every_subcommand_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([command, "--help"])
    assert ended.value.code == 0
    assert "exit status" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["run", "--mesh", "nowhere"],
        ["run", "--cell-timeout", "-1"],
        ["run", "--cell-timeout", "nan"],
        ["lab", "--port", "80"],
        ["lab", "--port", "ninety"],
        ["reset"],
        ["run", "--", "-x"],
        ["test", "-k", "name"],
        ["scenarios", "gate", "--on", "the moon"],
    ],
)
def test_wrong_usage_ends_with_status_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2


def test_notebooks_can_be_named_together_or_one_by_one() -> None:
    assert parse(["run", "--notebook", "05", "07"]).notebook == ["05", "07"]
    assert parse(["run", "--notebook", "05", "--notebook", "07"]).notebook == ["05", "07"]


def test_without_a_name_all_notebooks_are_meant() -> None:
    assert parse(["run"]).notebook is None


def test_all_after_two_dashes_belongs_to_pytest() -> None:
    options = parse(["test", "--unit", "--", "-k", "name", "--", "x"])
    assert options.suites == ["unit"]
    assert options.pytest == ["-k", "name", "--", "x"]


def test_each_kind_of_test_has_a_flag() -> None:
    assert parse(["test", *(f"--{name}" for name in SUITES)]).suites == list(SUITES)
