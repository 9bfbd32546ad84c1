"""What the command line accepts, and with which status it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.cli.test import pytest_arguments
from helpers.cli.where import from_options
from helpers.setup.arguments import SUITES, parse


@pytest.mark.parametrize("command", ["lab", "run", "test", "bench", "doctor", "setup", "clean",
                                     "reset", "scenarios", "cluster"])
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
        ["run", "--namespace", "anna"],
        ["run", "--mesh", "local", "--yes"],
        ["run", "--mesh", "cluster", "--namespace", "Anna"],
        ["run", "--mesh", "cluster", "--kubeconfig", "/nowhere/config"],
        ["run", "--mesh", "cluster", "--images", "not a prefix"],
        ["lab", "--context", "kind"],
        ["clean", "--yes"],
        ["clean", "--mesh", "cluster", "--all"],
        ["cluster"],
        ["cluster", "sideways"],
        ["cluster", "up", "--provider", "cloud"],
        ["cluster", "up", "--provider", "bare", "--images", "ours"],
        ["cluster", "status", "--cache"],
        ["test", "--keep-cluster"],
        ["test", "--unit", "--keep-cluster"],
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


def test_a_cluster_is_named_once_for_all_commands_that_know_one(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.touch()
    words = ["--mesh", "cluster", "--kubeconfig", str(file), "--context", "shared",
             "--namespace", "anna", "--images", "registry.example/bookinfo/", "--yes"]
    for command in ("run", "lab", "clean"):
        assert from_options(vars(parse([command, *words]))).environment() == {
            "WORKBOOK_MESH": "cluster", "WORKBOOK_KUBECONFIG": str(file),
            "WORKBOOK_CONTEXT": "shared", "WORKBOOK_NAMESPACE": "anna",
            "WORKBOOK_IMAGES": "registry.example/bookinfo", "WORKBOOK_YES": "1",
        }


def test_what_is_not_said_about_a_cluster_is_left_to_the_environment() -> None:
    where = from_options(vars(parse(["run", "--mesh", "cluster"])))
    assert where.environment() == {"WORKBOOK_MESH": "cluster"}


def test_this_computer_is_the_default_everywhere() -> None:
    assert {parse([command]).mesh for command in ("run", "lab", "clean")} == {"local"}


def test_a_kubeconfig_is_kept_as_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").touch()
    monkeypatch.chdir(tmp_path)
    assert parse(["run", "--mesh", "cluster", "--kubeconfig", "config"]).kubeconfig == (
        tmp_path / "config"
    ), "a kernel runs in another folder"


def test_the_clusters_tests_have_to_be_asked_for() -> None:
    assert "cluster" not in " ".join(pytest_arguments(None, []))
    assert [Path(each).name for each in pytest_arguments(["cluster"], ["-x"])] == ["cluster", "-x"]
