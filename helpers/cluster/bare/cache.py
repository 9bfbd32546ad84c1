"""What takes long to make and is the same for every clone: built programs and images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from helpers import files
from helpers.errors import NotReady


def folder() -> Path:
    """The folder, outside of the clone, so that a new clone need not build for 20 minutes.

    WORKBOOK_CACHE, else istio-wasm-workbook in XDG_CACHE_HOME, else in ~/.cache
    (specifications.freedesktop.org/basedir-spec, which has a relative XDG_CACHE_HOME ignored).
    It is absolute: go takes no other for its own folders.
    """
    named = os.environ.get("WORKBOOK_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "istio-wasm-workbook"


def remove() -> bool:
    """Remove it all; whether there was anything.

    Raises:
        DiskProblem: something cannot be removed.
    """
    home = folder()
    if not home.exists():
        return False
    with files.writing(home):
        shutil.rmtree(home)
    return True


def require_space(gigabytes: float, *, why: str) -> None:
    """Refuse early what would fill the disk.

    Raises:
        NotReady: less is free where the cache lies.
    """
    home = folder()
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    if free < gigabytes:
        raise NotReady(
            f"{free:.1f} GB are free in {there}, {gigabytes:.0f} GB are needed",
            cause=why,
            fix="make room, or name another place: WORKBOOK_CACHE=/path ./workbook cluster up",
        )
