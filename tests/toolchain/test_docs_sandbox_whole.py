"""docs/sandbox.md as a whole, with plugins that are really built."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import paths, steps

# What takes the page apart lies with the unit tests, which run the part without other plugins.
sys.path.append(str(paths.ROOT / "tests" / "unit"))

from sandbox_page import blocks, run


@pytest.mark.timeout(600)
def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in sorted({name for block in blocks() for name in block.modules}):
        built = steps.build_plugin(module.replace("_", "-"))
        shutil.copy(built, tmp_path / f"{module}.wasm")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks():
        run(block, tmp_path, names)
