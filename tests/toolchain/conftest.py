"""Real cargo, in a workspace of its own. Nothing here is skipped: no toolchain is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import cargo, steps_build, toolchain
from helpers.crate import Crate


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A space and a letter beyond ASCII: a clone may lie anywhere.
    return tmp_path_factory.mktemp("my workspace é")


@pytest.fixture(autouse=True)
def _workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.require()
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(home))
    monkeypatch.delenv("CARGO_TARGET_DIR", raising=False)


@pytest.fixture
def demo(_workspace: None) -> Crate:
    """The article's crate with the article's sources, built once and then only changed."""
    made = cargo.new()
    for name in ("Cargo.toml", "src/lib.rs"):
        steps_build.write_file(made, name)
    return made.crate
