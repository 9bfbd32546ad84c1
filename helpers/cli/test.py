"""`workbook test`: one pytest run, so that its last line tells the whole story."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from helpers import paths
from helpers.errors import BadInput
from helpers.setup.arguments import SUITES


def pytest_arguments(suites: Sequence[str] | None, more: Sequence[str]) -> list[str]:
    """What pytest is given: the folders of `suites` (None: all) in their order, then `more`.

    Lint and types are tests, too (tests/unit/test_environment_lint.py).

    Raises:
        BadInput: a suite has no folder in this clone.
    """
    chosen = [name for name in SUITES if not suites or name in suites]
    folders = [paths.ROOT / "tests" / name for name in chosen]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise BadInput(
            f"{paths.shown(missing[0])} is not there",
            cause="the clone is not complete",
            fix="get the whole repository again",
        )
    return [*(str(folder) for folder in folders), *more]


def test(suites: Sequence[str] | None, more: Sequence[str]) -> int:
    """Run the tests; pytest's exit status."""
    arguments = pytest_arguments(suites, more)
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *arguments], cwd=paths.ROOT, env=env
    )
    try:
        return child.wait()
    except BaseException:
        # On Ctrl-C pytest got the signal, too: let it end its fixtures before we leave.
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
