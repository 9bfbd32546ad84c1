"""The wasm32 standard library, built once from its sources where no prebuilt one can be had.

Debian 12 ships rustc with the sources of std and their vendored crates, but no std for wasm32.
We let cargo build it, with no network, and lay it out as a sysroot: a folder that
rustc takes with `--sysroot`. From then on the article's own `cargo build` works unchanged in
every crate and profile. Handing `-Zbuild-std` to each build instead would compile std
again, over a minute of it, for every profile and target folder.

The settings are those of the std that rustup delivers: optimised, line tables kept, bitcode
embedded so that `lto = true` works, paths of the building machine replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from helpers import files, paths, shell
from helpers.errors import BuildFailed, CommandFailed
from helpers.rustc_probe import TARGET, Rustc, trial_link

_RECIPE = 1  # part of the key: raise it when the settings below change
_MANIFEST = '[package]\nname = "wasm-std"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n'


@dataclass(frozen=True)
class StdBuild:
    """Where a std belongs, and what it is made from.

    Attributes:
        sysroot: its folder; it is there only when it is whole and was tried.
        cargo: the cargo that builds it.
        rustc: the compiler it is for; another compiler cannot read it.
        sources: rustc's library folder.
        linker: the Wasm linker to try it with.
    """

    sysroot: Path
    cargo: Path
    rustc: Rustc
    sources: Path
    linker: str

    @property
    def ready(self) -> bool:
        """Whether it has been built."""
        return self.sysroot.is_dir()


def plan(cargo: Path, rustc: Rustc, sources: Path, linker: str) -> StdBuild:
    """Where the std for `rustc` belongs: the folder's name changes with the compiler."""
    lock = (sources / "Cargo.lock").read_bytes()
    same = json.dumps([_RECIPE, str(rustc.path.resolve()), rustc.release, rustc.commit,
                       rustc.path.stat().st_mtime_ns, hashlib.sha256(lock).hexdigest()])
    key = hashlib.sha256(same.encode()).hexdigest()[:12]
    folder = paths.HOME / "rust-std" / f"{rustc.release}-{key}"
    return StdBuild(folder, cargo, rustc, sources, linker)


def command(build: StdBuild) -> str:
    """What a person would type to do the same."""
    return (f"RUSTC={build.rustc.path} RUSTC_BOOTSTRAP=1 {build.cargo} build --release "
            f"--target {TARGET} -Zbuild-std=std,panic_abort")


def ensure(build: StdBuild, *, sink: shell.Sink | None = None) -> float:
    """Build the std unless it is there; seconds spent.

    A second process that wants the same std waits for the first. An interrupted build is
    taken up where it stopped.

    Raises:
        BuildFailed: cargo could not build it, or what it built does not link.
        Cancelled: the learner interrupted it.
    """
    if build.ready:
        return 0.0
    begun = time.monotonic()
    home = build.sysroot.parent
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{build.sysroot.name}.lock"):
        if not build.ready:
            if sink is not None:
                sink("# Building the wasm32 standard library, once: one to three minutes.")
                sink(f"$ {command(build)}")
            _build(build, home / f"{build.sysroot.name}.build", sink)
    return time.monotonic() - begun


def _build(build: StdBuild, work: Path, sink: shell.Sink | None) -> None:
    files.write_atomic(work / "crate" / "Cargo.toml", _MANIFEST)
    files.write_atomic(work / "crate" / "src" / "lib.rs", "#![no_std]\n")
    target = work / "target"
    argv: list[str | Path] = [
        build.cargo, "build", "--release", "--target", TARGET, "--color", "never",
        "-Zbuild-std=std,panic_abort", "--target-dir", target,
    ]
    vendored = build.sources / "vendor"
    if vendored.is_dir():
        argv += ["--offline",
                 "--config", 'source.crates-io.replace-with="vendored"',
                 "--config", f"source.vendored.directory={json.dumps(str(vendored))}"]
    flags = [
        "-Cembed-bitcode=yes",
        f"--remap-path-prefix={build.sources.parent}=/rustc/{build.rustc.release}",
    ]
    env = {
        "RUSTC": str(build.rustc.path),
        "RUSTC_BOOTSTRAP": "1",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        "CARGO_PROFILE_RELEASE_DEBUG": "line-tables-only",
    }
    try:
        shell.run(argv, cwd=work / "crate", env=env, sink=sink)
    except CommandFailed as error:
        raise BuildFailed(
            f"the wasm32 standard library could not be built with rustc {build.rustc.release}",
            cause="the sources of std and the compiler may be of different versions, "
            "or the disk is full",
            fix="install the compiler and its sources in one version "
            "(`./workbook doctor` prints the command), then run the cell again",
            detail=error.detail,
        ) from error
    unchecked = work / "sysroot"
    shutil.rmtree(unchecked, ignore_errors=True)
    libraries = unchecked / "lib" / "rustlib" / TARGET / "lib"
    libraries.mkdir(parents=True)
    for rlib in sorted((target / TARGET / "release" / "deps").glob("*.rlib")):
        if not rlib.name.startswith("libwasm_std-"):
            shutil.copy2(rlib, libraries)
    refused = trial_link(build.rustc.path, linker=build.linker, sysroot=unchecked)
    if refused:
        raise BuildFailed(
            "the wasm32 standard library was built, but nothing links against it",
            cause=f"rustc {build.rustc.release} or {build.linker} refused a small library",
            fix=f"remove the folder {work} and run the cell again; "
            "if it stays so, `./workbook doctor` has the report to send",
            detail=refused,
        )
    os.rename(unchecked, build.sysroot)  # noqa: PTH104 - whole or not at all
    shutil.rmtree(work, ignore_errors=True)
