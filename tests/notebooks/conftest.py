"""The notebooks, executed once for all tests of a session, through the code of `run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.cli.outcome import Outcome
from helpers.cli.run import Places, chosen, execute_all

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What became of each notebook, by name, with a mesh and a workspace of its own."""
    folder = tmp_path_factory.mktemp("run")
    places = Places(folder / "state", folder / "workspace", folder / "report")
    return {one.name: one for one in execute_all(chosen(None), places=places)}
