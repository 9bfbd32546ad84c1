"""The python blocks of docs/sandbox.md, taken out and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "sandbox.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: its line on the page, its text, the modules that it loads."""

    line: int
    source: str
    modules: frozenset[str]

    @property
    def is_test_file(self) -> bool:
        """Whether it is one for pytest."""
        return "\ndef test_" in self.source


def blocks() -> list[Block]:
    """All of them, in order."""
    text = PAGE.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, match.start()) + 2, match[1],
              frozenset(re.findall(r'"(\w+)\.wasm"', match[1])))
        for match in _BLOCK.finditer(text)]


def run(block: Block, folder: Path, names: dict[str, Any]) -> None:
    """Run a block in `folder`, with what earlier ones have imported.

    Raises:
        whatever the block raises; AssertionError when its tests fail.
    """
    if block.is_test_file:
        file = folder / "test_of_the_page.py"
        file.write_text(block.source, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder,
             file], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout
        return
    exec(compile("\n" * (block.line - 1) + block.source, str(PAGE), "exec"), names)
