"""Where things are: the clone, the state of the mesh, the learner's workspace.

Two environment variables move what is written, so that `workbook run` and the tests never
touch what a learner has made: WORKBOOK_STATE (default `.workbook/lab`) and
WORKBOOK_WORKSPACE (default `workspace`).
"""

from __future__ import annotations

import os
from pathlib import Path

#: The top of the clone. helpers is installed editable, so the package's parent is the clone.
ROOT = Path(__file__).resolve().parent.parent

#: All that the workbook makes for itself and a learner never edits.
HOME = ROOT / ".workbook"


def state() -> Path:
    """The folder of the mesh's state: objects, pods, logs, process records."""
    return Path(os.environ.get("WORKBOOK_STATE") or HOME / "lab")


def workspace() -> Path:
    """The learner's own folder: crates, manifests, reports."""
    return Path(os.environ.get("WORKBOOK_WORKSPACE") or ROOT / "workspace")


def cargo_target() -> Path:
    """The target folder shared by all crates, so that the Wasm std is built once.

    It can be moved with CARGO_TARGET_DIR, cargo's own variable.
    """
    return Path(os.environ.get("CARGO_TARGET_DIR") or HOME / "target")


def plugins() -> Path:
    """The Cargo workspace of the workbook's own plugins."""
    return ROOT / "plugins"


def manifests() -> Path:
    """The manifests that the notebooks apply."""
    return ROOT / "manifests"


def shown(path: Path) -> str:
    """`path` as a learner should read it: relative to the clone where it lies inside it."""
    try:
        return path.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return str(path)
