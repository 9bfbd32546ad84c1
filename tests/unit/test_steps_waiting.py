"""The steps that wait for a condition instead of a time, and the end of a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from helpers import steps
from helpers.errors import NotReady
from helpers.evidence import achieved, verify
from helpers.mesh.base import CurlResult, Event, EventList, Mesh


@dataclass
class _Mesh:
    """Answers from lists; the last entry again and again."""

    statuses: list[int] = field(default_factory=list)
    events_now: list[list[Event]] = field(default_factory=list)

    def curl(self, url: str, **more: Any) -> CurlResult:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return CurlResult(status=status)

    def events(self) -> EventList:
        now = self.events_now.pop(0) if len(self.events_now) > 1 else self.events_now[0]
        return EventList(
            columns=("REASON", "MESSAGE"),
            rows=tuple((event.reason, event.message) for event in now),
            events=tuple(now),
        )


def _as_mesh(fake: _Mesh) -> Mesh:
    return cast("Mesh", fake)


def _event(reason: str, time: float) -> Event:
    return Event(time, "Warning", reason, "pod/a", "kubelet", "configmap not found")


def test_a_request_is_repeated_until_it_has_the_status() -> None:
    assert steps.curl_until(_as_mesh(_Mesh(statuses=[200, 200, 500])), 500).status == 500


def test_another_status_at_the_deadline_is_an_answer_and_no_error() -> None:
    assert steps.curl_until(_as_mesh(_Mesh(statuses=[503])), 200, timeout=0).status == 503


def test_an_event_is_waited_for() -> None:
    mesh = _Mesh(events_now=[[], [_event("Scheduled", 6), _event("FailedMount", 7)]])
    found = steps.wait_for_event(_as_mesh(mesh), "FailedMount", since=5)
    assert [event.reason for event in found.events] == ["FailedMount"]
    assert "configmap not found" in found.text


def test_an_event_of_an_earlier_run_does_not_count() -> None:
    mesh = _as_mesh(_Mesh(events_now=[[_event("FailedMount", 4)]]))
    with pytest.raises(NotReady, match="FailedMount"):
        steps.wait_for_event(mesh, "FailedMount", since=5, timeout=0)


def test_an_event_with_other_words_is_not_the_one_that_is_waited_for() -> None:
    trying = Event(6, "Warning", "FailedMount", "pod/a", "kubelet",
                   "failed to sync configmap cache: timed out waiting for the condition")
    mesh = _Mesh(events_now=[[trying], [trying, _event("FailedMount", 7)]])
    found = steps.wait_for_event(_as_mesh(mesh), "FailedMount", text="not found")
    assert [event.message for event in found.events] == ["configmap not found"]


def test_the_end_of_a_notebook_tells_the_latest_outcome_of_each_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path))
    verify("mended", expected=200, seen=503)
    verify("mended", expected=200, seen=200)
    verify("broken", expected=200, seen=500)
    assert achieved("mended", "broken", "later").rows == (
        ("mended", "verified", "200"),
        ("broken", "NOT verified", "500"),
        ("later", "not run yet", ""),
    )
