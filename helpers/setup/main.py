"""`./workbook`: read the arguments, set up what is missing, hand over to helpers.cli."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from helpers.errors import WorkbookError
from helpers.setup import environment, places, system
from helpers.setup.arguments import parse
from helpers.setup.console import Console, run
from helpers.setup.holding import Lock
from helpers.setup.pristine import keep_pristine, reset
from helpers.setup.system import SetupFailed

#: Commands that build or run modules; the others do without a toolchain.
_NEED_TOOLCHAIN = {"lab", "run", "test", "bench", "setup"}


def main(argv: Sequence[str]) -> int:
    """Do what `argv` asks; the exit status."""
    options = parse(argv)
    console = Console()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        if options.command == "clean" and options.mesh == "local":
            return _clean(console, everything=options.all)
        if options.command == "reset" and not environment.ready():
            # Needs no packages; a learner may want it before the first set-up.
            print(reset(options.notebook))
            return 0
        set_up(console, options.command)
        if options.command == "setup":
            console.say("all is set up; next: ./workbook lab")
            return 0
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return environment.hand_over(list(argv))
    except WorkbookError as error:
        print(f"workbook: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        failed = SetupFailed(
            f"{error.strerror or error}: {error.filename or places.HOME}",
            cause="this user may not write there, the disk is full, or a file is in use",
            fix=f"mend that (the workbook writes only below {places.ROOT}), then run it again",
        )
        print(f"workbook: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        console.say("stopped. Run the same command again: it goes on where it stopped.")
        return 130


def set_up(console: Console, command: str) -> None:
    """Bring the environment, the pristine notebooks and the toolchain in place."""
    needs_wasm = command in _NEED_TOOLCHAIN and not _toolchain_known(command)
    needs_test_programs = command in {"test", "setup"} and bool(system.missing_for_tests())
    if environment.ready() and not needs_wasm and not needs_test_programs:
        keep_pristine()
        return
    with Lock(places.LOCK, console) as lock:
        held = (lock.descriptor,)
        if not environment.ready():  # another set-up may have made it while we waited
            environment.make(console, keep_open=held)
        keep_pristine()
        if needs_wasm and not _toolchain_known(command):
            _toolchain(console, command, held)
        if needs_test_programs and (lacking := system.missing_for_tests()):
            try:
                system.apt_install(
                    lacking, why="tests evaluate flake.nix and clone with git", about="20 s",
                    console=console, log=places.LOG, keep_open=held,
                )
            except SetupFailed as error:
                # The tests that need it fail with the same words; all others still count.
                console.say(f"{error}\n  The tests that need {' and '.join(lacking)} will fail.")


def _toolchain_known(command: str) -> bool:
    try:
        known = json.loads(places.TOOLCHAIN.read_text(encoding="utf-8"))
        return bool(known["works"]) and all(os.path.exists(path) for path in known["files"])  # noqa: PTH110
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _toolchain(console: Console, command: str, held: tuple[int, ...]) -> None:
    """Look for a toolchain inside the environment, where helpers.toolchain can be imported."""
    status, words = run(
        [places.venv_python(), "-P", "-m", "helpers.setup.wasm", command],
        log=places.LOG, line=lambda text: print(text, file=sys.stderr, flush=True),
        env=environment.clean_env(), keep_open=held,
    )
    if status not in (0, 3):
        raise SetupFailed(
            "looking for a wasm toolchain failed", cause="its own words are below",
            fix=f"read {places.LOG}, then run the same command again", detail=words,
        )


def _clean(console: Console, *, everything: bool) -> int:
    if not places.HOME.exists():
        console.say("nothing to clean")
        return 0
    if everything and places.CLUSTER.exists():
        # Below it are mounts and a program that holds them: no rmtree may walk into that.
        raise SetupFailed(
            f"{places.CLUSTER.relative_to(places.ROOT)} is there: nothing was removed",
            cause="a cluster of `./workbook cluster up` runs, or ran and was not ended",
            fix="run ./workbook cluster down, then this again",
        )
    if environment.ready():
        # A child, not a hand-over: on Windows a running python.exe cannot be removed.
        status = subprocess.call(
            [str(places.venv_python()), "-P", "-m", "helpers.cli", "clean"],
            env=environment.clean_env(),
        )
        if status != 0:
            return status
    else:
        _refuse_if_processes_are_recorded()
        for folder in places.states():
            console.say(f"removing {folder.relative_to(places.ROOT)}")
            shutil.rmtree(folder)
    if everything:
        with Lock(places.LOCK, console):
            places.STAMP.unlink(missing_ok=True)
            for path in sorted(places.HOME.iterdir()):
                # The pristine notebooks must outlive this: the next set-up could only copy
                # notebooks that the learner has changed by then.
                if path in (places.PRISTINE, places.LOCK):
                    continue
                console.say(f"removing {path.relative_to(places.ROOT)}")
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        console.say("kept: workspace/, notebooks/ and the pristine copies of the notebooks")
    return 0


def _refuse_if_processes_are_recorded() -> None:
    records = sorted(places.HOME.glob("*/processes/*.json"))
    if records:
        raise SetupFailed(
            f"{len(records)} processes are recorded, such as {records[0].stem}, and cannot be "
            "ended safely",
            cause="the environment with the library that tells them from other programs is missing",
            fix="run ./workbook setup, then ./workbook clean",
        )


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
