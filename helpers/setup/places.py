"""Where set-up keeps things, below the `.workbook` folder of the clone."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".workbook"
VENV = HOME / "venv"
STAMP = HOME / "environment.json"
TOOLCHAIN = HOME / "toolchain.json"
LOCK = HOME / "setup.lock"
LOG = HOME / "setup.log"
PRISTINE = HOME / "pristine"
NOTEBOOKS = ROOT / "notebooks"
#: What `workbook cluster up` keeps: its kubeconfig, its records; gone after `cluster down`.
CLUSTER = HOME / "cluster"


def venv_python() -> Path:
    """The environment's own Python."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages() -> Path:
    """Where the environment keeps its packages; a folder that may not be there yet."""
    if os.name == "nt":
        return VENV / "Lib" / "site-packages"
    found = sorted(VENV.glob("lib/python3*/site-packages"))
    return found[0] if found else VENV / "lib" / "site-packages"


#: Folders below HOME that are no state: `clean` without --all leaves them.
#: The cluster's has mounts and processes of its own: only `workbook cluster down` ends them.
_KEPT = {"venv", "target", "pristine", "cache", "jupyter", "rust-std", "cluster"}


def states() -> list[Path]:
    """The state folders below HOME: the lab's, the run's, and what tests or benches left."""
    if not HOME.is_dir():
        return []
    return sorted(path for path in HOME.iterdir() if path.is_dir() and path.name not in _KEPT)


def all_states() -> list[Path]:
    """`states`, and the folder that WORKBOOK_STATE names, if there is one.

    An empty WORKBOOK_STATE is none, as for `helpers.paths.state`.
    """
    found = states()
    named = os.environ.get("WORKBOOK_STATE", "")
    mine = Path(named)
    if named and mine.is_dir() and mine.resolve() not in {path.resolve() for path in found}:
        found.append(mine)
    return found
