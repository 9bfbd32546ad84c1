"""docs/sandbox-safety.md and the tests that it names agree with one another."""

from __future__ import annotations

import re

from helpers import paths

TEXT = (paths.ROOT / "docs" / "sandbox-safety.md").read_text(encoding="utf-8")
FILES = sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", TEXT)))
HERE = "tests/unit/test_sandbox_safety.py"


def defined(name: str) -> set[str]:
    text = (paths.ROOT / name).read_text(encoding="utf-8")
    return set(re.findall(r"^def (test_\w+)", text, re.M))


def test_every_test_that_the_document_names_exists_where_it_says() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 120
    assert named - {test for name in FILES for test in defined(name)} == set()


def test_every_test_of_the_files_that_it_names_is_in_the_document() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    for name in FILES:
        if name != HERE:
            assert defined(name) - named == set(), name
    assert len(FILES) == 11


def test_a_million_calls_were_made() -> None:
    totals = re.findall(r"^([\d,]+) calls of \d+ host functions", TEXT, re.M)
    assert len(totals) == 1
    assert int(totals[0].replace(",", "")) >= 1_000_000
