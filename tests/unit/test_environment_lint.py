"""Lint and types hold for the whole repository, notebooks included."""

from __future__ import annotations

import subprocess
import sys

from helpers import paths


def held(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=paths.ROOT, capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    held("ruff", "check", ".")


def test_mypy_strict_finds_nothing() -> None:
    held("mypy")
