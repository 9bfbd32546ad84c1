"""A small process beside the mesh that nobody has to remember.

It ends the mesh when its owner (`workbook lab` or `workbook run`) is gone, even when that was
killed and could not clean up, and it rotates the sidecars' logs. It leaves when there is
nothing left to look after.

    python -m helpers.mesh.local.caretaker STATE [OWNER]
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import psutil

from helpers.errors import BadState, MeshDown
from helpers.processes import Recorded, Registry, born, is_same

NAME = "caretaker"
#: Set by `workbook lab` and `workbook run`: "PID:BIRTH" of the owner.
OWNER_VARIABLE = "WORKBOOK_OWNER"
_PERIOD_SECONDS = 1.0


def owner_token(process: psutil.Process | None = None) -> str:
    """What to put into WORKBOOK_OWNER so that the mesh ends with `process` (default: this one)."""
    mine = process or psutil.Process()
    return f"{mine.pid}:{born(mine):.3f}"


def ensure(state: Path, registry: Registry, owner: str | None = None) -> None:
    """Start the caretaker of a state folder, unless it runs already.

    Args:
        owner: the token of the process that it all ends with; None takes WORKBOOK_OWNER's.
    """
    record = registry.get(NAME)
    if record is not None and record.alive():
        return
    token = os.environ.get(OWNER_VARIABLE, "") if owner is None else owner
    registry.start(
        NAME,
        [sys.executable, "-m", "helpers.mesh.local.caretaker", str(state), token],
        log=state / "caretaker.log",
    )


def gone(token: str) -> bool:
    """Whether the process of an owner token has ended. An empty token never ends."""
    if not token:
        return False
    pid, _, birth = token.partition(":")
    try:
        return not is_same(psutil.Process(int(pid)), float(birth))
    except psutil.NoSuchProcess:
        return True


def main(state: Path, owner: str) -> None:
    """Look after `state` until its processes are gone."""
    from helpers.mesh.local.envoy import Files, rotate

    registry = Registry(state)
    while True:
        time.sleep(_PERIOD_SECONDS)
        others = _others(registry)
        if not state.exists() or not any(record.alive() for record in others):
            break
        if gone(owner):
            for record in others:
                registry.stop(record.name)
            continue  # a kernel that ended last may have started something meanwhile
        for folder in (state / "pods").glob("*/istio-proxy"):
            # An Envoy that has just ended answers nothing: the next one has a log to rotate.
            with contextlib.suppress(MeshDown):
                rotate(Files(folder))
    mine = registry.get(NAME)
    if mine is not None and mine.pid == os.getpid():
        registry.forget(NAME)


def _others(registry: Registry) -> list[Recorded]:
    found: list[Recorded] = []
    for name in registry.names():
        # Every call of the mesh reports a damaged record; it must not end the watch on others.
        with contextlib.suppress(BadState):
            record = registry.get(name)
            if record is not None and name != NAME:
                found.append(record)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
