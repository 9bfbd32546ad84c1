"""What tests of the sandbox share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.sandbox import engine


@pytest.fixture(params=["fast", "public"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the two ways to wasmtime; the fast one must be usable here."""
    if request.param == "fast":
        assert engine.chosen() == ("fast", "")
    with engine.taking(request.param):
        yield request.param
