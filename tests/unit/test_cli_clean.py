"""`workbook clean` removes what the workbook made, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import paths
from helpers.cli.clean import clean
from helpers.errors import BadInput
from helpers.setup import places


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's .workbook folder of its own: the real one must not be cleaned by a test."""
    folder = tmp_path / ".workbook"
    folder.mkdir()
    monkeypatch.setattr(places, "HOME", folder)
    monkeypatch.setattr(paths, "HOME", folder)
    return folder


def test_a_state_folder_elsewhere_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "elsewhere"
    (state / "objects").mkdir(parents=True)
    monkeypatch.setenv("WORKBOOK_STATE", str(state))
    assert clean() == 0
    assert not state.exists()


def test_a_folder_that_the_workbook_did_not_make_stays(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years", encoding="utf-8")
    (home / "lab").mkdir()
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path / "mine"))
    with pytest.raises(BadInput, match="nothing was removed"):
        clean()
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert (home / "lab").exists()


def test_an_empty_variable_does_not_mean_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "objects").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WORKBOOK_STATE", "")
    assert clean() == 0
    assert (tmp_path / "here" / "objects").is_dir()
