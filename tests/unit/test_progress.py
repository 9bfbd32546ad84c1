"""Progress: rare, silent where nobody looks, and in place where somebody does."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from helpers import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal, modules={}))
    return terminal


def test_a_terminal_sees_one_line_that_is_rewritten(clock: Clock, terminal: Terminal) -> None:
    line = progress.Progress(2000, "requests")
    clock.now += 3
    line.update(1000)
    line.finish("2000 sent")
    shown = terminal.getvalue().split("\r\x1b[2K")
    assert shown == ["", "1,000 of 2,000 requests, 3 s", "2000 sent, 3.0 s\n"]


def test_it_is_updated_five_times_a_second_at_most(clock: Clock, terminal: Terminal) -> None:
    line = progress.Progress(1000, "requests")
    for done in range(1000):
        clock.now += 1 / 1000
        line.update(done)
    assert 1 <= terminal.getvalue().count("\r") <= 6


@pytest.mark.parametrize("show", [True, False])
def test_it_is_silent_where_nobody_looks(
    show: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if show:
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    line = progress.Progress(1, "requests", show=show)
    line.update(1)
    line.finish("over")
    assert terminal.getvalue() == ""


def test_a_notebook_has_a_bar_that_names_what_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, what: Any) -> None:
            shown.append(what.data)

    monkeypatch.setattr(progress, "_notebook_handle", Handle)
    line = progress.Progress(10, "<requests>")
    line.update(4)
    line.finish("10 sent & answered")
    assert "value='4' max='10' aria-label='&lt;requests&gt;'" in shown[0]
    assert "4 of 10 &lt;requests&gt;" in shown[0]
    assert "value='10'" in shown[1]
    assert "10 sent &amp; answered" in shown[1]
