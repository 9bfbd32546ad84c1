"""`workbook clean`: end what the workbook started, remove its state; never a learner's work."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import psutil

from helpers import paths, processes
from helpers.cli.alone import Alone
from helpers.errors import BadState
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


def end_strays(state: Path) -> list[str]:
    """End programs of our environment that work in `state` and are in no record."""
    prefixes = (str(places.VENV) + os.sep,)
    inside = str(state.resolve()) + os.sep
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid in own:
                continue
            argv = process.cmdline()
        except psutil.Error:  # it ended, or it belongs to somebody else: not ours
            continue
        if argv and argv[0].startswith(prefixes) and any(inside in word for word in argv[1:]):
            found.append(process)
    names: list[str] = []
    for process in found:
        try:
            names.append(f"{process.name()} (pid {process.pid})")
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(found, timeout=5)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)
    return names
