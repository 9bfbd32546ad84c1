"""Programs that run to their end, or are ended with all that they started."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from helpers import shell
from helpers.errors import Cancelled, CommandFailed, ToolchainMissing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are sh's")

#: A program with a child of its own, as cargo has rustc: both write their pid.
FAMILY = ["/bin/sh", "-c", 'sleep 60 & echo $! > "$1/child"; echo $$ > "$1/parent"; echo up; wait',
          "sh"]


def _pids(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in ("parent", "child")]


def _gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_lines_come_one_by_one_while_the_program_runs(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []
    gate = tmp_path / "gate"

    def sink(line: str) -> None:
        seen.append((line, gate.exists()))
        gate.touch()

    program = 'echo one; while [ ! -e "$1" ]; do sleep 0.01; done; echo two >&2'
    done = shell.run(["/bin/sh", "-c", program, "sh", gate], sink=sink)
    assert seen == [("one", False), ("two", True)]
    assert (done.status, done.output) == (0, "one\ntwo")


def test_bytes_that_are_no_utf8_do_not_end_the_run() -> None:
    done = shell.run(["/bin/sh", "-c", r"printf 'a\377b\n\nlast'"])
    assert done.output == "a\N{REPLACEMENT CHARACTER}b\n\nlast"


def test_a_failure_carries_the_programs_own_words() -> None:
    with pytest.raises(CommandFailed, match="ended with status 3") as caught:
        shell.run(["/bin/sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.detail == "why"


def test_a_program_or_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing, match="no-such-program was not found"):
        shell.run(["no-such-program"])
    with pytest.raises(ToolchainMissing, match="nowhere was not found"):
        shell.run(["/bin/sh", "-c", "true"], cwd=tmp_path / "nowhere")


def test_a_timeout_ends_the_program_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="did not finish within"):
        shell.run([*FAMILY, str(tmp_path)], timeout=1.0)
    assert all(_gone(pid) for pid in _pids(tmp_path))


def test_an_interrupt_ends_the_program_with_its_children_and_says_so(tmp_path: Path) -> None:
    def interrupt(_: str) -> None:
        threading.Thread(target=_thread.interrupt_main).start()

    with pytest.raises(Cancelled, match="stopped: /bin/sh"):
        shell.run([*FAMILY, str(tmp_path)], sink=interrupt)
    assert all(_gone(pid) for pid in _pids(tmp_path))


def test_an_error_in_the_sink_ends_the_program_too(tmp_path: Path) -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="up"):
        shell.run([*FAMILY, str(tmp_path)], sink=fail)
    assert all(_gone(pid) for pid in _pids(tmp_path))


def test_a_killed_caller_takes_the_program_and_its_children_along(tmp_path: Path) -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", "import sys; from helpers import shell; shell.run(sys.argv[1:])",
         *FAMILY, str(tmp_path)],
        start_new_session=True,
    )
    assert _until((tmp_path / "parent").exists)
    assert _until(lambda: bool((tmp_path / "parent").read_text()))
    family = _pids(tmp_path)
    # What a kernel restart does. The run's guard stands in no group of the caller's.
    os.killpg(caller.pid, signal.SIGKILL)
    caller.wait()
    assert _until(lambda: all(_gone(pid) for pid in family))


def test_nothing_of_a_finished_run_is_left() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    shell.run(["/bin/sh", "-c", "true"])
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_what_is_no_program_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program", encoding="utf-8")
    with pytest.raises(CommandFailed, match="cannot be run"):
        shell.run([tmp_path / "text"])
