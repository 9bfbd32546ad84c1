"""Set-up in throw-away clones: repeatable, resumable, one at a time, without a terminal.

`reset` of an unknown notebook and `clean` are used as commands that need the environment but
no toolchain: `bootstrap` below makes the environment and nothing else.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from conftest import Workbook

#: Set-up of the environment alone, as the bootstrap does it.
MAKE = ("import sys; sys.path.insert(0, {clone!r}); from helpers.setup import main; "
        "from helpers.setup.console import Console; main.set_up(Console(), 'doctor')")


class Child:
    """A set-up at work; its words go to a file, so that it never waits for a reader."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            argv, env=environ, executable=shutil.which(argv[0], path=environ["PATH"]),
            stdin=subprocess.DEVNULL, stdout=self._words, stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str]:
        """The exit status and all it said."""
        status = self.process.wait()
        with self._words as words:
            words.seek(0)
            return status, words.read()


def start(clone: Path, environ: dict[str, str]) -> Child:
    return Child(["python3", "-c", MAKE.format(clone=str(clone))], environ)


def make(clone: Path, environ: dict[str, str]) -> str:
    """A set-up that has to succeed; what it said."""
    status, text = start(clone, environ).end()
    assert status == 0, text
    return text


def works(clone: Path) -> bool:
    done = subprocess.run(
        [str(clone / ".workbook" / "venv" / "bin" / "python"), "-c",
         "import psutil, filelock, hatchling, helpers; print(helpers.__file__)"],
        capture_output=True, text=True, check=False, cwd="/",
    )
    return done.returncode == 0 and done.stdout.startswith(str(clone))


def test_a_fresh_clone_sets_itself_up_and_says_what_it_installs(
    clone: Path, environ: dict[str, str]
) -> None:
    text = make(clone, environ)
    assert "requirements.lock" in text
    assert "about" in text
    assert works(clone)


def test_a_second_set_up_calls_no_installer(clone: Path, environ: dict[str, str]) -> None:
    make(clone, environ)
    log = (clone / ".workbook" / "setup.log").read_text()
    assert make(clone, environ) == ""
    assert (clone / ".workbook" / "setup.log").read_text() == log


def test_an_installer_killed_in_the_middle_is_mended(
    clone: Path, environ: dict[str, str]
) -> None:
    killed = start(clone, environ)
    child = killed.process
    site = clone / ".workbook" / "venv" / "lib"
    deadline = time.monotonic() + 120
    while not list(site.glob("*/site-packages/filelock*")) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    killed.end()
    make(clone, environ)
    assert works(clone)


def test_a_package_of_which_a_part_is_missing_is_installed_again(
    clone: Path, environ: dict[str, str]
) -> None:
    make(clone, environ)
    (clone / ".workbook" / "environment.json").unlink()
    (module,) = (clone / ".workbook" / "venv" / "lib").glob("*/site-packages/psutil/__init__.py")
    module.write_text("")
    text = make(clone, environ)
    assert "installed again: psutil" in text
    assert module.read_text() != ""


def test_a_half_made_environment_is_made_afresh(clone: Path, environ: dict[str, str]) -> None:
    (clone / ".workbook" / "venv" / "bin").mkdir(parents=True)
    (clone / ".workbook" / "venv" / "bin" / "python").symlink_to("/nowhere")
    make(clone, environ)
    assert works(clone)


def test_a_moved_clone_makes_its_environment_again(
    clone: Path, environ: dict[str, str]
) -> None:
    make(clone, environ)
    moved = clone.with_name("moved")
    clone.rename(moved)
    make(moved, environ)
    assert works(moved)


def test_of_two_set_ups_at_once_the_second_waits_and_says_so(
    clone: Path, environ: dict[str, str]
) -> None:
    first = start(clone, environ)
    while not (clone / ".workbook" / "venv").exists() and first.process.poll() is None:
        time.sleep(0.01)
    text = make(clone, environ)
    status, words = first.end()
    assert status == 0, words
    assert "another set-up of this clone is at work" in text
    assert "installing" not in text
    assert works(clone)


def test_ctrl_c_ends_the_installer_and_says_how_to_go_on(
    clone: Path, environ: dict[str, str]
) -> None:
    child = Child([str(clone / "workbook"), "doctor"], environ)
    while not (clone / ".workbook" / "venv").exists() and child.process.poll() is None:
        time.sleep(0.01)
    os.killpg(child.process.pid, signal.SIGINT)
    status, text = child.end()
    assert status == 130, text
    assert "Run the same command again" in text
    assert "Traceback" not in text


def test_without_a_network_the_failure_is_explained(
    workbook: Workbook, clone: Path
) -> None:
    done = workbook("doctor", PIP_FIND_LINKS="/nowhere")
    assert done.returncode == 1
    assert "Cause:" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_wheel_is_refused(workbook: Workbook, clone: Path) -> None:
    lock = clone / "requirements.lock"
    head, _, tail = lock.read_text().partition("--hash=sha256:")
    lock.write_text(f"{head}--hash=sha256:{'0' * 64}{tail[64:]}")
    done = workbook("doctor")
    assert done.returncode == 1
    assert "not the one that requirements.lock names" in done.stderr


def test_reset_works_before_any_set_up(workbook: Workbook, clone: Path) -> None:
    done = workbook("reset", "07")
    assert done.returncode == 1
    assert "there is no notebook 07" in done.stderr
    assert not (clone / ".workbook" / "venv").exists()


def test_clean_removes_state_and_all_the_environment_but_no_learners_work(
    workbook: Workbook, clone: Path, environ: dict[str, str]
) -> None:
    make(clone, environ)
    (clone / ".workbook" / "lab" / "processes").mkdir(parents=True)
    (clone / ".workbook" / "lab" / "processes" / "envoy.json").write_text('{"vers')
    (clone / "workspace").mkdir()
    (clone / "workspace" / "mine.rs").write_text("fn main() {}")
    first = workbook("clean")
    assert first.returncode == 0, first.stderr
    assert "damaged state" in first.stdout
    assert not (clone / ".workbook" / "lab").exists()
    second = workbook("clean", "--all")
    assert second.returncode == 0, second.stderr
    assert not (clone / ".workbook" / "venv").exists()
    assert (clone / ".workbook" / "pristine" / "00_start.ipynb").exists()
    assert (clone / "workspace" / "mine.rs").exists()


def running(pid: int) -> bool:
    """Whether a process still works; one that ended and waits for init to collect it does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_clean_ends_a_recorded_process_and_one_whose_record_is_damaged(
    workbook: Workbook, clone: Path, environ: dict[str, str]
) -> None:
    make(clone, environ)
    state = clone / ".workbook" / "lab"
    python = str(clone / ".workbook" / "venv" / "bin" / "python")
    code = ("import sys; from pathlib import Path; from helpers.processes import Registry\n"
            "state = Path(sys.argv[1])\n"
            "for name in ('one', 'two'):\n"
            "    print(Registry(state).start(name, [sys.executable, '-c', "
            "'import time; time.sleep(600)', str(state / name)], log=state / 'log').pid)")
    pids = [int(line) for line in subprocess.run(
        [python, "-c", code, str(state)], capture_output=True, text=True, check=True,
        env=environ).stdout.split()]
    (state / "processes" / "two.json").write_text("{")
    assert workbook("clean").returncode == 0
    assert [pid for pid in pids if running(pid)] == []
