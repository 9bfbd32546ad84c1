"""`workbook clean`: end what the workbook started, remove its state; never a learner's work."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from helpers import paths, processes
from helpers.cli.agree import agree
from helpers.cli.alone import Alone
from helpers.cli.where import Where
from helpers.ending import end_strays
from helpers.errors import BadInput, BadState
from helpers.setup import places

#: What a state folder holds, one or the other of it: no other folder is ever removed.
_MARKS = ("objects", "processes", "pods", "mesh.lock", "objects.lock", "evidence.jsonl", "traffic")


def clean() -> int:
    """Stop and remove all state folders of this clone, and say what was done; 0.

    Raises:
        Busy: a `run` is going on in this clone.
        BadInput: WORKBOOK_STATE names a folder that the workbook did not make.
    """
    with Alone("run", holding="a run of the notebooks"):
        folders = places.all_states()
        for folder in folders:
            _refuse_a_strangers(folder)
        for folder in folders:
            for line in clear(folder):
                print(line)
        if not folders:
            print("no state to remove")
    return 0


def clean_cluster(where: Where) -> int:
    """Remove what the workbook made in a cluster, restore what it changed, say what it left; 0.

    This computer is not touched; `clean` does that.

    Raises:
        Cancelled: the learner does not agree.
        WorkbookError: the cluster cannot be reached, or refuses.
    """
    mesh = agree(where)
    try:
        print(mesh.clean())
    finally:
        mesh.close()
    return 0


def _refuse_a_strangers(folder: Path) -> None:
    """Keep a WORKBOOK_STATE that was set wrongly from removing somebody's files."""
    inside = paths.HOME.resolve() in folder.resolve().parents
    if inside or not any(folder.iterdir()) or any((folder / mark).exists() for mark in _MARKS):
        return
    raise BadInput(
        f"{folder} is no state folder of the workbook: nothing was removed",
        cause=f"WORKBOOK_STATE names it, and it holds none of {', '.join(_MARKS)}",
        fix="set WORKBOOK_STATE to the right folder, or unset it",
    )


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
        shutil.rmtree(aside / "processes")
    else:
        shutil.rmtree(state)
        said.append(f"removed {paths.shown(state)}")
    return said
