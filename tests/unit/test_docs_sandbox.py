"""docs/sandbox.md: what it shows runs, as far as the prebuilt modules go.

`tests/toolchain/test_docs_sandbox_whole.py` builds the other plugins and runs all of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sandbox_page import PAGE, Block, blocks, run

from helpers import paths

PREBUILT = {"header_logger", "as_printed"}
HERE = [block for block in blocks() if block.modules <= PREBUILT]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("block", HERE, ids=lambda block: f"line-{block.line}")
def test_the_block_runs(
    block: Block, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in PREBUILT:
        shutil.copy(paths.plugins() / "prebuilt" / f"{module}.wasm", tmp_path)
    monkeypatch.chdir(tmp_path)
    run(block, tmp_path, names)


def test_most_of_the_page_is_run_here_and_no_block_is_forgotten() -> None:
    assert len(HERE) >= 9
    assert sum("```python" in line for line in PAGE.read_text("utf-8").splitlines()) == len(
        blocks())


def test_every_plugin_that_it_names_is_one_of_ours() -> None:
    for block in blocks():
        for module in block.modules:
            assert (paths.plugins() / module.replace("_", "-") / "Cargo.toml").is_file(), module
