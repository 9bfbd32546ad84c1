"""A run fails when a promise was not kept, and says which."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from helpers import evidence
from helpers.cli import alone, main, outcome, report, run
from helpers.cli import test as suites
from helpers.cli.outcome import Outcome
from helpers.errors import BadInput, Busy, WorkbookError
from helpers.evidence import Check


def check(name: str, passed: bool = True) -> Check:
    return Check(id=name, passed=passed, expected="503", seen="503" if passed else "200")


def test_a_notebook_passes_when_all_that_it_promised_was_verified() -> None:
    assert outcome.problems(["a", "b"], [check("b"), check("a"), check("more")], None) == ()


def test_a_promise_that_was_never_checked_is_named() -> None:
    assert outcome.problems(["a", "b"], [check("a")], None) == ("promised but never checked: b",)


def test_a_failed_check_counts_even_when_it_was_not_promised() -> None:
    (problem,) = outcome.problems([], [check("a", passed=False)], None)
    assert problem == "not verified: a: expected 503, seen 200"


def test_a_check_that_failed_once_is_not_healed_by_a_later_one() -> None:
    assert outcome.problems(["a"], [check("a", passed=False), check("a")], None)


def test_an_error_in_a_cell_is_a_problem() -> None:
    assert "boom" in outcome.problems([], [], WorkbookError("boom"))[0]


def test_promises_are_read_from_the_notebooks_metadata() -> None:
    notebook = nbformat.v4.new_notebook(metadata={"workbook": {"verifies": ["a"]}})
    assert outcome.promised(notebook) == ["a"]
    assert outcome.promised(nbformat.v4.new_notebook()) == []


def test_the_index_escapes_what_a_check_saw(tmp_path: Path) -> None:
    seen = Check(id="x", passed=False, expected="<b>", seen="<script>alert(1)</script>")
    one = Outcome("05_deploy", 3, 4, 1.0, (seen,), ("<i>",), reported=True)
    text = report.write_index(tmp_path, [one], ["a line"]).read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "FAILED" in text
    assert "NOT verified" in text
    assert "05_deploy.html" in text


def test_a_report_page_loads_nothing_from_the_network(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# $x$ title")])
    text = report.write_notebook(tmp_path, "00_start", notebook).read_text(encoding="utf-8")
    assert "title" in text
    assert 'src="http' not in text
    assert "import('http" not in text


def test_a_number_without_a_notebook_is_refused_with_the_numbers_that_exist(
    tmp_path: Path,
) -> None:
    (tmp_path / "00_start.ipynb").touch()
    assert [path.name for path in run.chosen(["0"], tmp_path)] == ["00_start.ipynb"]
    for wrong in ("7", "x", "²"):
        with pytest.raises(BadInput) as caught:
            run.chosen([wrong], tmp_path)
        assert "00" in caught.value.fix


def test_a_clone_without_notebooks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        run.chosen(None, tmp_path)


def test_a_second_run_learns_the_pid_of_the_first(tmp_path: Path) -> None:
    with (
        alone.Alone("run", holding="a run", folder=tmp_path),
        pytest.raises(Busy, match=r"pid \d+"),
        alone.Alone("run", holding="a run", folder=tmp_path),
    ):
        pass
    with alone.Alone("run", holding="a run", folder=tmp_path):
        pass  # it is free again


def test_an_expected_failure_is_printed_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["reset", "99"]) == 1
    said = capsys.readouterr().err
    assert "there is no notebook 99" in said
    assert "Traceback" not in said


def test_the_kinds_of_tests_run_in_their_order() -> None:
    given = suites.pytest_arguments(["mesh", "unit"], ["-x"])
    assert [Path(word).name for word in given] == ["unit", "mesh", "-x"]


def test_evidence_of_other_notebooks_is_not_counted(tmp_path: Path) -> None:
    record = tmp_path / "evidence.jsonl"
    rows = [{"id": "a", "passed": True, "expected": "", "seen": "", "notebook": number}
            for number in ("05", "06")]
    record.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"id": "cut')
    assert [one.notebook for one in evidence.read(record)] == ["05", "06"]
