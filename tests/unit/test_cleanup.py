"""What runs, where things lie, and the learner's work."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from helpers import cleanup, paths
from helpers.processes import Registry

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path / "work"))


def made(name: str, text: str = "x") -> Path:
    path = paths.workspace() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_runs_where_nothing_was_started() -> None:
    found = cleanup.running()
    assert found.rows == ()
    assert found.text == "nothing runs"


def test_what_runs_is_listed_until_it_ends(tmp_path: Path) -> None:
    registry = Registry(paths.state())
    record = registry.start("productpage-v1-a-b.istio-proxy", SLEEPER, log=tmp_path / "log")
    try:
        [(name, pid, size, listens, what)] = cleanup.running().rows
        assert (name, pid, what) == (record.name, record.pid, "Envoy, the sidecar")
        assert size > 0
        assert listens == ""
    finally:
        registry.stop(record.name)
    assert cleanup.running().rows == ()


def test_where_a_process_listens_is_told(tmp_path: Path) -> None:
    server = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); " \
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    registry, log = Registry(paths.state()), tmp_path / "log"
    registry.start("details-v1-a-b.details", [sys.executable, "-c", server], log=log)
    try:
        deadline = time.monotonic() + 20
        while not log.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        found = cleanup.running()
        assert found.rows[0][3] == f"127.0.0.1:{log.read_text().strip()}"
        assert found.extra["addresses"] == ["127.0.0.1"]
    finally:
        registry.stop("details-v1-a-b.details")


def test_a_process_that_no_record_knows_is_listed(tmp_path: Path) -> None:
    registry = Registry(paths.state())
    inside = str(paths.state().resolve() / "somewhere")
    record = registry.start("lost", [*SLEEPER, inside], log=tmp_path / "log", orphan=True)
    registry.forget("lost")
    process = record.process()
    assert process is not None
    try:
        # Only programs of the workbook's own environment are taken for its own.
        expected = sys.executable.startswith(str(paths.HOME / "venv") + os.sep)
        assert [row[1] for row in cleanup.running().rows] == ([record.pid] if expected else [])
    finally:
        process.kill()
        process.wait()


def test_work_is_what_a_learner_wrote_and_not_what_cargo_built() -> None:
    made("istio-wasm-demo/src/lib.rs")
    made("istio-wasm-demo/target/release/it.wasm")
    made("kept/old.zip")
    assert list(cleanup.work().files) == ["istio-wasm-demo/src/lib.rs"]


def test_the_summary_changes_with_a_name_and_with_a_byte() -> None:
    path = made("a/b.rs", "one")
    first = cleanup.work().summary
    path.write_text("two")
    second = cleanup.work().summary
    path.rename(path.with_name("c.rs"))
    assert len({first, second, cleanup.work().summary}) == 3


def test_an_archive_holds_the_work_and_leaves_it_in_place() -> None:
    made("a/src/lib.rs", "fn 工() {}")
    made("a/target/a.wasm")
    before = cleanup.work().summary
    kept = cleanup.keep()
    with zipfile.ZipFile(kept.path) as archive:
        assert archive.testzip() is None
        assert archive.read("workspace/a/src/lib.rs").decode() == "fn 工() {}"
        assert "workspace/a/target/a.wasm" not in archive.namelist()
        assert tuple(archive.namelist()) == kept.names
    assert cleanup.work().summary == before


def test_places_tells_folders_that_are_there_with_their_size() -> None:
    made("a/b", "x" * 2_000_000)
    rows = {row[0]: row for row in cleanup.places().rows}
    assert rows[paths.shown(paths.workspace())][1] == "2.0"
    assert rows[paths.shown(paths.workspace())][3] == "you alone"
    assert paths.shown(paths.state()) not in rows


def test_jupyterlab_is_not_taken_for_an_app_of_bookinfo(tmp_path: Path) -> None:
    registry = Registry(paths.state())
    registry.start("jupyterlab", SLEEPER, log=tmp_path / "log")
    try:
        assert cleanup.running().rows[0][4] == "JupyterLab, which serves the notebooks"
    finally:
        registry.stop("jupyterlab")
