"""What tests of the sandbox share."""

from __future__ import annotations

import pytest

from helpers.sandbox import engine


@pytest.fixture(params=["fast", "public"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways to wasmtime; the fast one must be usable here."""
    if request.param == "fast":
        assert engine.chosen() == ("fast", "")
    monkeypatch.setattr(engine, "chosen", lambda: (request.param, ""))
    return request.param
