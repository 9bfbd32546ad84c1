"""A small process beside the mesh that nobody has to remember.

It ends the mesh when its owner (`workbook lab` or `workbook run`) is gone, even when that was
killed and could not clean up, and it rotates the sidecars' logs. It leaves when there is
nothing left to look after.

    python -m helpers.mesh.local.caretaker STATE [OWNER]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil

from helpers.processes import Registry

NAME = "caretaker"
#: Set by `workbook lab` and `workbook run`: "PID:CREATE_TIME" of the owner.
OWNER_VARIABLE = "WORKBOOK_OWNER"
_PERIOD_SECONDS = 1.0


def owner_token(process: psutil.Process | None = None) -> str:
    """What to put into WORKBOOK_OWNER so that the mesh ends with `process` (default: this one)."""
    mine = process or psutil.Process()
    return f"{mine.pid}:{mine.create_time():.3f}"


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
    pid, _, created = token.partition(":")
    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(created)) > 0.02
    except psutil.NoSuchProcess:
        return True


def main(state: Path, owner: str) -> None:
    """Look after `state` until its processes are gone."""
    from helpers.mesh.local.envoy import Files, rotate

    registry = Registry(state)
    while True:
        time.sleep(_PERIOD_SECONDS)
        others = [record for record in registry.all() if record.name != NAME]
        if not state.exists() or not any(record.alive() for record in others):
            break
        if gone(owner):
            for record in others:
                registry.stop(record.name)
            break
        for folder in (state / "pods").glob("*/istio-proxy"):
            rotate(Files(folder))
    mine = registry.get(NAME)
    if mine is not None and mine.pid == os.getpid():
        registry.forget(NAME)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
