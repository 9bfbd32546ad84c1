"""The sandbox and a real Envoy make the same of the same cases (docs/sandbox-agreement.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.agreement import behaviours, differences, running
from helpers.agreement.hosts import Outcome


@pytest.mark.parametrize("kind", behaviours.KINDS)
def test_generated_cases_come_out_the_same(kind: str) -> None:
    found = running.run(25, seed=7, kinds=[kind])
    assert found.tried[kind] == 25
    assert not found.differing, "\n".join(found.shown)


def test_a_difference_would_be_seen() -> None:
    same = Outcome("complete", 200, "via_upstream", None, None, (("info", "p", b"x"),), ())
    assert differences(same, same) == []
    for other in (replace(same, status=503), replace(same, logs=()), replace(same, state="reset"),
                  replace(same, details="x"), replace(same, logs=(("warn", "p", b"x"),))):
        assert differences(same, other)
