"""`workbook clean`: end what the workbook started, remove its state; never a learner's work."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from helpers import paths, processes
from helpers.cli.alone import Alone
from helpers.errors import BadState
from helpers.processes import end_strays as end_strays
from helpers.setup import places


def clean() -> int:
    """Stop and remove all state folders of this clone, and say what was done; 0.

    Raises:
        Busy: a `run` is going on in this clone.
    """
    with Alone("run", holding="a run of the notebooks"):
        folders = places.states()
        moved = Path(os.environ["WORKBOOK_STATE"]) if "WORKBOOK_STATE" in os.environ else None
        if moved is not None and moved.is_dir() and moved not in folders:
            folders.append(moved)
        for folder in folders:
            for line in clear(folder):
                print(line)
        if not folders:
            print("no state to remove")
    return 0


def clear(state: Path) -> list[str]:
    """End the processes of the folder `state` and remove it; what was done, in words.

    A damaged record cannot tell which process it stands for. Then the processes are found
    by what they run, and the damaged state is set aside beside the folder for a look at it.
    """
    if not state.exists():
        return []
    said: list[str] = []
    damage: BadState | None = None
    try:
        ended = processes.Registry(state).stop_all()
    except BadState as error:
        damage, ended = error, []
    ended += end_strays(state)
    if ended:
        said.append(f"ended: {', '.join(ended)}")
    if damage is not None:
        aside = state.with_name(f"{state.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        state.rename(aside)
        said.append(f"damaged state ({damage.what}) set aside as {paths.shown(aside)}; "
                    "the next clean removes it")
        # What made it unreadable must not trouble the next clean.
        shutil.rmtree(aside / "processes", ignore_errors=True)
    else:
        shutil.rmtree(state)
        said.append(f"removed {paths.shown(state)}")
    return said
