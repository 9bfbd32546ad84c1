"""Processes that outlive whoever started them, and are found again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from helpers.errors import MeshDown
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
