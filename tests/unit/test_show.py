"""How results read where there is no HTML."""

from __future__ import annotations

from dataclasses import dataclass

from helpers import show
from helpers.show import Result, TableResult, table


@dataclass(frozen=True, kw_only=True)
class Special(Result):
    number: int = 0


def test_a_result_of_any_kind_reads_like_a_terminal() -> None:
    said = "$ ls\na\n# a note"
    assert repr(Result(command="ls", text="a", notes=("a note",))) == said
    assert repr(Special(command="ls", text="a", notes=("a note",), number=3)) == said
    assert repr(TableResult(command="ls", text="a", notes=("a note",))) == said


def test_a_kind_may_still_have_a_repr_of_its_own() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(Result):
        def __repr__(self) -> str:
            return "own"

    assert repr(Own()) == "own"


def test_a_table_without_rows_says_so() -> None:
    assert table(("A", "B"), [], empty="none").text == "none"
    assert table(("A", "B"), [("1", "22")]).text == "A   B\n1   22"


def test_a_wide_table_scrolls_in_place_of_breaking_its_columns() -> None:
    assert "white-space:pre;" in table(("A",), [("1",)])._repr_html_()
    assert "tabindex='0'" in table(("A",), [("1",)])._repr_html_()
    assert "white-space:pre-wrap;" in Result(text="a long line of a log")._repr_html_()


def test_a_duration_is_given_in_the_unit_that_says_something() -> None:
    assert [show.duration(s) for s in (0.0034, 0.42, 75.0)] == ["3 ms", "0.42 s", "75 s"]
