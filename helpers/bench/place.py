"""Where a bench keeps its state: below `.workbook`, so that `workbook clean` finds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from helpers import paths, processes
from helpers.cli.alone import Alone
from helpers.cli.clean import clear


@contextlib.contextmanager
def scratch(folder: Path | None = None) -> Iterator[Path]:
    """An empty folder for state and workspace, WORKBOOK_STATE and WORKBOOK_WORKSPACE set to it.

    At the end every process recorded there is ended, the folder removed, the variables set
    back; also when the bench was cancelled.

    Args:
        folder: another place, for tests.

    Raises:
        Busy: another bench is at work in this clone.
    """
    state = folder or paths.HOME / "bench"
    lock = Alone("bench", holding="a bench", folder=None if folder is None else folder.parent)
    with lock:
        clear(state)
        state.mkdir(parents=True)
        before = {name: os.environ.get(name) for name in ("WORKBOOK_STATE", "WORKBOOK_WORKSPACE")}
        os.environ["WORKBOOK_STATE"] = str(state)
        os.environ["WORKBOOK_WORKSPACE"] = str(state / "workspace")
        try:
            yield state
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            try:
                processes.Registry(state).stop_all()
            finally:
                clear(state)
