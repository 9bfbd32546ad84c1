"""The sandbox's bench on real modules, as short as it can be."""

from __future__ import annotations

import pytest

from helpers.bench import sandbox


def test_the_bench_measures_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_SLICE", 0.02)
    found = sandbox.bench(rounds=1, requests=200)
    assert len(found.figures) == 9
    for figure in found.figures:
        assert figure.ours.samples
        if "memory" not in figure.name:
            assert figure.ours.median > 0, figure.name
