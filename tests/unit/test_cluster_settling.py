"""A change of Istio's objects is awaited where it is due, and nowhere else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from helpers.errors import MeshDown
from helpers.mesh.cluster import settling

UPDATES = settling._UPDATES


@dataclass
class Sidecar:
    """Answers from lists, the last entry again and again; None is an Envoy that is down."""

    counts: list[int | None]
    content: list[str] = field(default_factory=lambda: [""])
    asked: int = 0
    closed: bool = False

    def stats(self, pattern: str) -> dict[str, int]:
        self.asked += 1
        count = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        if count is None:
            raise MeshDown("gone")
        return {UPDATES: count}

    def get(self, path: str) -> str:
        return self.content.pop(0) if len(self.content) > 1 else self.content[0]

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_PAUSE", 0.001)
    monkeypatch.setattr(settling, "_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(settling, "_PUSH_SECONDS", 0.05)
    monkeypatch.setattr(settling, "_CONTENT_SECONDS", 0.05)


def change(
    monkeypatch: pytest.MonkeyPatch, sidecar: Sidecar, *, concerns: bool = True,
    version: str | None = "7", made: bool = True,
) -> float:
    """Write once; the seconds that it took."""
    monkeypatch.setattr(settling, "_sidecars", lambda core: [cast("Any", sidecar)])
    begun = time.monotonic()
    with settling.settled(cast("Any", None), concerns=concerns) as seen:
        if made:
            seen.note(None if version is None else
                      {"kind": "WasmPlugin", "metadata": {"resourceVersion": version}})
    return time.monotonic() - begun


def test_it_waits_for_the_push_and_then_for_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = Sidecar([3, 3, 3, 4], content=['"6"', '"6"', '"7"'])
    change(monkeypatch, sidecar)
    assert sidecar.counts == [4]
    assert sidecar.content == ['"7"']
    assert sidecar.closed


def test_a_change_that_concerns_no_sidecar_ends_the_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert change(monkeypatch, Sidecar([3])) >= 0.05


def test_content_that_envoy_refuses_is_not_awaited_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert change(monkeypatch, Sidecar([3, 4], content=['"6"'])) >= 0.05


def test_what_is_removed_has_no_content_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = Sidecar([3, 4], content=["first", "second"])
    change(monkeypatch, sidecar, version=None)
    assert sidecar.content == ["first", "second"], "nobody asked for it"


def test_objects_of_others_than_istio_are_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = Sidecar([3])
    change(monkeypatch, sidecar, concerns=False)
    assert sidecar.asked == 0


def test_nothing_changed_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = Sidecar([3])
    change(monkeypatch, sidecar, made=False)
    assert sidecar.asked == 1


@pytest.mark.parametrize("counts", [[None], [3, None]])
def test_a_sidecar_that_cannot_be_asked_does_not_fail_the_write(
    counts: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = Sidecar(counts)
    change(monkeypatch, sidecar)
    assert sidecar.closed


def test_istios_groups_are_told_from_kubernetes() -> None:
    assert settling.is_istios("extensions.istio.io")
    assert settling.is_istios("security.istio.io")
    assert not settling.is_istios("apps")
    assert not settling.is_istios("")
