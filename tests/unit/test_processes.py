"""Processes that outlive whoever started them, and are found again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from helpers import ending, processes
from helpers.errors import BadState, MeshDown
from helpers.files import DiskProblem
from helpers.processes import Registry

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]

#: What Envoy does at its start: it wants SIGTERM when its parent dies.
WANTS_SIGTERM = [
    sys.executable,
    "-c",
    "import ctypes, time; ctypes.CDLL(None).prctl(1, 15); print('up', flush=True); time.sleep(60)",
]

STARTER = """
import sys, time
from pathlib import Path
from helpers.processes import Registry
log = Path(sys.argv[1]) / "log"
Registry(Path(sys.argv[1])).start("it", sys.argv[2:], log=log, orphan=True)
while "up" not in log.read_text(): time.sleep(0.01)
"""


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("orphan", [False, True])
def test_a_started_process_is_found_again_and_ended(tmp_path: Path, orphan: bool) -> None:
    started = Registry(tmp_path).start("it", SLEEPER, log=tmp_path / "log", orphan=orphan)
    found = Registry(tmp_path).get("it")
    assert found == started
    assert found.alive()
    assert _until(lambda: psutil.Process(found.pid).cmdline() == SLEEPER)
    assert Registry(tmp_path).stop("it")
    assert not started.alive()
    assert Registry(tmp_path).all() == []


@pytest.mark.parametrize("orphan", [False, True])
def test_its_output_goes_to_the_log(tmp_path: Path, orphan: bool) -> None:
    registry = Registry(tmp_path)
    log = tmp_path / "a folder 工" / "log"
    registry.start("it", SLEEPER, log=log, orphan=orphan)
    try:
        assert _until(lambda: log.read_text() == "up\n")
    finally:
        registry.stop("it")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_PDEATHSIG")
def test_an_orphan_that_asks_for_a_signal_at_its_parents_death_outlives_its_starter(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-c", STARTER, str(tmp_path), *WANTS_SIGTERM], check=True)
    record = Registry(tmp_path).get("it")
    assert record is not None
    try:
        assert record.alive()
        process = record.process()
        assert process is not None
        assert process.ppid() != os.getpid()
    finally:
        Registry(tmp_path).stop("it")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a program is started directly")
def test_an_orphan_that_cannot_be_started_leaves_its_reason_in_the_log(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with contextlib.suppress(MeshDown):  # whichever comes first: its end, or our look at it
        record = registry.start("it", [str(tmp_path / "missing")], log=tmp_path / "log",
                                orphan=True)
        assert _until(lambda: not record.alive())
    assert "missing" in (tmp_path / "log").read_text()


def test_a_pid_that_now_is_another_programs_is_not_taken_for_ours(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    record = registry.start("it", SLEEPER, log=tmp_path / "log")
    try:
        path = tmp_path / "processes" / "it.json"
        path.write_text(path.read_text().replace(repr(record.created), repr(record.created - 60)))
        stale = registry.get("it")
        assert stale is not None
        assert stale.pid == record.pid
        assert not stale.alive()
        assert not registry.stop("it")
        assert record.alive(), "nobody may end a program that only has the same pid"
        assert registry.get("it") is None
    finally:
        processes.stop(record)


def test_a_process_that_does_not_listen_is_ended_by_force_with_its_children(
    tmp_path: Path,
) -> None:
    deaf = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('up', flush=True); time.sleep(60)"
    )
    record = Registry(tmp_path).start("it", [sys.executable, "-c", deaf], log=tmp_path / "log")
    assert _until(lambda: "up" in record.log.read_text())
    process = record.process()
    assert process is not None
    family = [process, *process.children()]
    assert len(family) == 2
    assert processes.stop(record, seconds=0.3)
    # Init may take its time to collect the child, which is a zombie until then.
    assert not any(
        member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family
    )


@pytest.mark.parametrize(
    "content", ["", '{"version": 1, "data": {"na', '{"version": 9, "data": 1}']
)
def test_a_damaged_record_is_named_after_all_others_were_ended(
    tmp_path: Path, content: str
) -> None:
    registry = Registry(tmp_path)
    inside = str(tmp_path.resolve() / "somewhere")
    lost = registry.start("a", [*SLEEPER, inside], log=tmp_path / "log", orphan=True)
    other = registry.start("b", SLEEPER, log=tmp_path / "log")
    assert _until(lambda: inside in psutil.Process(lost.pid).cmdline())
    damaged = tmp_path / "processes" / "a.json"
    damaged.write_text(content)
    try:
        with pytest.raises(BadState) as caught:
            registry.stop_all()
        assert str(damaged) in caught.value.what
        assert damaged.read_text() == content
        assert not other.alive()
        assert lost.alive()
        # The record cannot tell which process it is; the process can tell whose it is.
        assert [f"(pid {lost.pid})" in name for name in ending.end_strays(tmp_path)] == [True]
        assert not lost.alive()
    finally:
        processes.stop(lost)


def test_programs_that_work_elsewhere_are_no_strays(tmp_path: Path) -> None:
    neighbour = str(tmp_path.resolve()) + "-2/somewhere"
    record = Registry(tmp_path).start("it", [*SLEEPER, neighbour], log=tmp_path / "log")
    try:
        assert _until(lambda: neighbour in psutil.Process(record.pid).cmdline())
        assert ending.end_strays(tmp_path) == []
        assert record.alive()
    finally:
        processes.stop(record)


def test_a_log_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for orphan in (False, True):
        with pytest.raises(DiskProblem):
            Registry(tmp_path).start(
                "it", SLEEPER, log=tmp_path / "file" / "log", orphan=orphan
            )
    assert Registry(tmp_path).all() == []


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert processes.tail(log) == ""
    log.write_bytes(b"x" * 100_000 + b"\nlast \xff\nline\n")
    assert processes.tail(log, 2) == "last \N{REPLACEMENT CHARACTER}\nline"


def test_a_corrected_system_clock_makes_nobody_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Registry(tmp_path).start("it", SLEEPER, log=tmp_path / "log")
    try:
        before = psutil.boot_time()
        # Where the system tells the boot by the clock, a clock set anew moves it.
        monkeypatch.setattr("psutil._psplatform.boot_time", lambda: before + 3600)
        assert record.alive()
    finally:
        monkeypatch.undo()
        processes.stop(record)


def test_the_one_named_last_is_ended_last(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for name in ("a", "b", "c"):
        registry.start(name, SLEEPER, log=tmp_path / "log")
    assert registry.stop_all(last="a") == ["b", "c", "a"]


@pytest.mark.parametrize("data", [1, [], {"name": "it"}, {"pid": "x"}])
def test_a_record_of_the_wrong_form_is_damaged(tmp_path: Path, data: object) -> None:
    path = tmp_path / "processes" / "it.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 2, "data": data}))
    with pytest.raises(BadState, match="damaged"):
        Registry(tmp_path).get("it")
