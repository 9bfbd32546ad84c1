"""docs/agreement.md names tests; they exist."""

from __future__ import annotations

import re

from helpers import paths

TEXT = (paths.ROOT / "docs" / "agreement.md").read_text(encoding="utf-8")


def test_every_test_that_the_document_names_exists() -> None:
    defined = set()
    for path in (paths.ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 30
    assert named - defined == set()


def test_every_file_that_the_document_names_exists() -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)`", TEXT):
        assert (paths.ROOT / name).is_file(), name
