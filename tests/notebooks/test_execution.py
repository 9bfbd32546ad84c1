"""Every notebook runs from top to bottom and verifies what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.cli.outcome import Outcome
from helpers.setup.pristine import all_notebooks


def test_there_are_notebooks() -> None:
    assert all_notebooks(), "no notebook was found: an empty run would verify nothing"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)
def test_the_notebook_runs_and_keeps_its_promises(
    path: Path, outcomes: dict[str, Outcome]
) -> None:
    one = outcomes[path.stem]
    assert one.problems == ()
    assert one.cells == one.total > 0
