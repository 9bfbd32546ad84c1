"""What one rustc can do, learned by asking it and by letting it link something."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TARGET = "wasm32-unknown-unknown"

#: Edition 2024 and `#[unsafe(no_mangle)]` as the article writes it came with 1.85.
MINIMUM = (1, 85)

_ASK_SECONDS = 30.0
_TRIAL = '#[unsafe(no_mangle)]\npub extern "C" fn trial(n: u32) -> String { n.to_string() }\n'


@dataclass(frozen=True)
class Rustc:
    """What a rustc says about itself.

    Attributes:
        path: how it is called.
        release: its version as it prints it ("1.96.0").
        commit: the commit it was built from, or "unknown".
        host: the target triple of this machine.
        sysroot: where its libraries are.
        wasm_libdir: where its wasm32 std would be.
    """

    path: Path
    release: str
    commit: str
    host: str
    sysroot: Path
    wasm_libdir: Path

    @property
    def recent_enough(self) -> bool:
        """Whether it knows what the article's listing needs."""
        return version_of(self.release) >= MINIMUM

    @property
    def has_wasm_std(self) -> bool:
        """Whether a wasm32 standard library lies where it looks for one."""
        return any(self.wasm_libdir.glob("libcore-*.rlib"))

    @property
    def library_sources(self) -> Path | None:
        """The sources of std, or None when they are not installed."""
        folder = self.sysroot / "lib" / "rustlib" / "src" / "rust" / "library"
        return folder if (folder / "Cargo.lock").is_file() else None


def version_of(release: str) -> tuple[int, int]:
    """Major and minor number of a version as rustc prints it; (0, 0) for what is none."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def ask(path: Path) -> Rustc | str:
    """What the rustc at `path` says, or why it cannot be asked (its own words)."""
    about = _output([str(path), "-vV"])
    if isinstance(about, Failure):
        return about.text
    fields = dict(line.split(": ", 1) for line in about.splitlines() if ": " in line)
    places = _output([str(path), "--print", "sysroot", "--print", "target-libdir",
                      "--target", TARGET])
    if isinstance(places, Failure):
        return places.text
    lines = places.splitlines()
    if "release" not in fields or len(lines) < 2:
        return f"it does not answer like a rustc: {about.splitlines()[:1]}"
    return Rustc(
        path, fields["release"], fields.get("commit-hash", "unknown"), fields.get("host", ""),
        Path(lines[0]), Path(lines[1]),
    )


def trial_link(rustc: Path, *, linker: str = "", sysroot: Path | None = None) -> str:
    """Compile and link a small Wasm library; "" when that works, else rustc's words."""
    with tempfile.TemporaryDirectory(prefix="workbook-trial-") as folder:
        source = Path(folder) / "trial.rs"
        source.write_text(_TRIAL, encoding="utf-8")
        argv = [str(rustc), "--edition", "2024", "--crate-type", "cdylib", "--target", TARGET,
                "-A", "improper_ctypes_definitions",
                "-o", str(Path(folder) / "trial.wasm"), str(source)]
        if linker:
            argv += ["-C", f"linker={linker}"]
        if sysroot is not None:
            argv += ["--sysroot", str(sysroot)]
        said = _output(argv)
        return said.text if isinstance(said, Failure) else ""


def wasm_linkers(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The Wasm linkers in PATH, the plain names first, then the newest of Debian's wasm-ld-NN."""
    names = ["rust-lld", "wasm-ld", "lld"]
    numbered: dict[str, int] = {}
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        # An entry of PATH that is no folder, or that we may not list, is no place to look.
        try:
            entries = [entry.name for entry in Path(folder).iterdir()] if folder else []
        except OSError:
            continue
        for entry in entries:
            if found := re.fullmatch(r"wasm-ld-(\d+)", entry):
                numbered[entry] = int(found[1])
    names += sorted(numbered, key=numbered.__getitem__, reverse=True)
    return [name for name in names if shutil.which(name, path=environ.get("PATH"))]


@dataclass(frozen=True)
class Failure:
    """Why a question had no answer."""

    text: str


def _output(argv: list[str]) -> str | Failure:
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=_ASK_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        return Failure(f"{argv[0]} is not there")
    except OSError as error:
        return Failure(f"{argv[0]} cannot be run: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Failure(f"{argv[0]} did not answer within {_ASK_SECONDS:.0f} s")
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        return Failure(said or f"{argv[0]} ended with status {done.returncode}")
    return done.stdout.decode("utf-8", "replace").strip()
