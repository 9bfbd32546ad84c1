"""The sandbox's bench says which goals are met, and compares what ran in the same round."""

from __future__ import annotations

from helpers.bench import report, sandbox
from helpers.bench.figures import Measured


def measured(**other: object) -> Measured:
    given: dict[str, object] = {
        "ours": [30_000.0, 20_000.0, 28_000.0], "naive": [2_000.0, 1_000.0, 2_000.0],
        "traced": [12_000.0, 10_000.0, 14_000.0], "logger": [20_000.0], "logger_naive": [1_500.0],
        "body": [9_000.0], "body_naive": [700.0], "chatty": [4_000.0], "chatty_naive": [300.0],
        "load": [4.0], "compiled_ms": [200.0], "late": [12.0], "growth_mb": 0.5,
        "requests": 1_000_000, "way": "fast",
    }
    return sandbox.summary(**{**given, **other})  # type: ignore[arg-type]


def test_a_ratio_is_that_of_one_round_not_of_two_medians() -> None:
    found = {figure.name.strip(): figure for figure in measured().figures}
    assert found["times the naive way, by round"].ours.samples == (15.0, 20.0, 14.0)
    assert found["times the naive way, by round"].met
    assert found["slower with the trace, by round"].ours.median == 2.0


def test_each_goal_can_be_missed() -> None:
    good = {figure.name: figure.met for figure in measured().figures if figure.goal is not None}
    assert set(good.values()) == {True}
    bad = measured(
        ours=[2_000.0] * 3, naive=[1_900.0] * 3, traced=[500.0] * 3, load=[40.0], late=[90.0],
        growth_mb=100.0)
    missed = {figure.name for figure in bad.figures if figure.met is False}
    assert missed == set(good)


def test_the_way_that_was_taken_is_said_and_the_plot_can_be_drawn() -> None:
    found = measured(way="public")
    assert any('"public"' in note for note in found.notes)
    drawn = report.plotted(found)
    assert "naive" in drawn.alt
    assert drawn.png().startswith(b"\x89PNG")
