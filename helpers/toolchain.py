"""Find a Rust toolchain that can build for wasm32-unknown-unknown, by what it can do.

Tried in this order: a nix shell, rustup or any other rustc in PATH that has the target, conda,
a rustc with the sources of std (Debian's rustc-web), and at last the prebuilt modules. A name
proves nothing: a rustup that stands first in PATH may have no wasm32 std and no way to fetch
one. Each candidate is asked where its std is and has to link a small library.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from helpers import files, paths, rust_std, shell
from helpers.errors import ToolchainMissing
from helpers.rustc_probe import TARGET, Rustc, ask, trial_link, wasm_linkers
from helpers.show import Result, table_text
from helpers.toolchain_install import InstallPlan, install_plan

__all__ = ["InstallPlan", "Kind", "PassedOver", "Toolchain", "configure", "find", "install_plan",
           "require"]

Kind = Literal["nix", "rustup", "path", "conda", "build-std", "prebuilt"]

_MARK = "# Written by the workbook for this machine's toolchain; it is rewritten when that changes."


@dataclass(frozen=True)
class PassedOver:
    """A toolchain that would have been preferred, and why it was not taken."""

    kind: Kind
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Toolchain(Result):
    """A way to build Wasm modules.

    Attributes:
        kind: how it was come by; "prebuilt" means that nothing can be built here.
        rustc: the compiler, or None when prebuilt.
        cargo: the cargo to run, or None when prebuilt.
        version: rustc's version, "" when prebuilt.
        linker: the Wasm linker to name, "" where rustc finds its own.
        std: how its wasm32 std is built here, or None where it came with one.
        why: why this one was taken.
        passed_over: the better ones that were not.
    """

    kind: Kind
    rustc: Path | None = None
    cargo: Path | None = None
    version: str = ""
    linker: str = ""
    std: rust_std.StdBuild | None = None
    why: str = ""
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def sysroot(self) -> Path | None:
        """The folder handed to rustc as --sysroot, or None where its own will do."""
        return None if self.std is None else self.std.sysroot

    @property
    def ready(self) -> bool:
        """Whether the first build can start at once (a std may still have to be built)."""
        return self.std is None or self.std.ready

    def prepare(self, *, sink: shell.Sink | None = None) -> float:
        """Build what is missing; seconds spent (0.0 when nothing was)."""
        return 0.0 if self.std is None else rust_std.ensure(self.std, sink=sink)

    def env(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Variables for cargo. They win over any configuration file.

        RUSTFLAGS of the learner are kept: cargo takes either source, never both.
        """
        if self.rustc is None:
            return {}
        variables = {"RUSTC": str(self.rustc)}
        if self.linker:
            variables[f"CARGO_TARGET_{TARGET.replace('-', '_').upper()}_LINKER"] = self.linker
        if self.sysroot is not None:
            encoded = environ.get("CARGO_ENCODED_RUSTFLAGS", "")
            own = encoded.split("\x1f") if encoded else environ.get("RUSTFLAGS", "").split()
            variables["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join(
                [*own, "--sysroot", str(self.sysroot)]
            )
        return variables

    def config_toml(self, *, target_dir: Path | None = None) -> str:
        """The same settings as a .cargo/config.toml, for a cargo typed by hand."""
        lines = [_MARK]
        build = []
        if self.rustc is not None and (self.linker or self.sysroot is not None):
            build.append(f"rustc = {_toml(str(self.rustc))}")
        if target_dir is not None:
            build.append(f"target-dir = {_toml(str(target_dir))}")
        if build:
            lines += ["", "[build]", *build]
        target = []
        if self.linker:
            target.append(f"linker = {_toml(self.linker)}")
        if self.sysroot is not None:
            target.append(f'rustflags = ["--sysroot", {_toml(str(self.sysroot))}]')
        if target:
            lines += ["", f"[target.{TARGET}]", *target]
        return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    # A JSON string without surrogate escapes is a TOML basic string, save for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@functools.cache
def find() -> Toolchain:
    """The toolchain to use here, asked for once in a process (`find.cache_clear()` asks again)."""
    return search(os.environ)


def require() -> Toolchain:
    """Like `find`, for those who have to compile.

    Raises:
        ToolchainMissing: only the prebuilt modules are left; the fix is the command to type.
    """
    found = find()
    if found.rustc is None:
        plan = install_plan()
        raise ToolchainMissing(
            f"no toolchain on this machine can build for {TARGET}",
            cause="; ".join(f"{p.kind} ({p.path}): {p.reason}" for p in found.passed_over)
            or "there is no rustc",
            fix=plan.text,
        )
    return found


def search(environ: Mapping[str, str]) -> Toolchain:
    """Look through the toolchains that `environ` leads to."""
    passed: list[PassedOver] = []
    known = sorted(
        ((_kind(path, environ), path) for path in _rustcs(environ)),
        key=lambda pair: ("nix", "rustup", "path", "conda").index(pair[0]),
    )
    buildable: list[Rustc] = []
    for kind, path in known:
        rustc = ask(path)
        if isinstance(rustc, str):
            passed.append(PassedOver(kind, str(path), _first_line(rustc)))
            continue
        if not rustc.recent_enough:
            passed.append(PassedOver(kind, str(path),
                                     f"rustc {rustc.release} is older than 1.85 (edition 2024)"))
            continue
        cargo = _cargo_beside(path, environ)
        if cargo is None:
            passed.append(PassedOver(kind, str(path), "it has no cargo"))
            continue
        if not rustc.has_wasm_std:
            if rustc.library_sources is not None:
                buildable.append(rustc)
            passed.append(PassedOver(kind, str(path), f"it has no std for {TARGET}"))
            continue
        linker, refusal = _working_linker(path, environ)
        if refusal:
            passed.append(PassedOver(kind, str(path), f"it cannot link: {_first_line(refusal)}"))
            continue
        return _shown(Toolchain(
            kind=kind, rustc=path, cargo=cargo, version=rustc.release, linker=linker,
            why=f"it comes with a std for {TARGET} and links", passed_over=tuple(passed)))
    for rustc in buildable:
        linkers = [name for name in wasm_linkers(environ) if name != "lld"]
        cargo = _cargo_beside(rustc.path, environ)
        sources = rustc.library_sources
        if not linkers:
            passed.append(PassedOver("build-std", str(rustc.path), "there is no Wasm linker"))
        elif cargo is not None and sources is not None:
            std = rust_std.plan(cargo, rustc, sources, linkers[0])
            own = PassedOver("path", str(rustc.path), f"it has no std for {TARGET}")
            return _shown(Toolchain(
                kind="build-std", rustc=rustc.path, cargo=cargo, version=rustc.release,
                linker=linkers[0], std=std, passed_over=tuple(p for p in passed if p != own),
                why="it has the sources of std, so that one can be built here, and "
                f"{linkers[0]} to link with"))
    return _shown(Toolchain(
        kind="prebuilt", why="nothing here can build, so the modules built beforehand are used",
        passed_over=tuple(passed)))


def configure(folder: Path, found: Toolchain, *, target_dir: Path | None = None) -> bool:
    """Write `.cargo/config.toml` into `folder`, so that cargo typed there by hand works.

    A configuration that a learner wrote is left alone.

    Returns:
        Whether the folder now has these settings.
    """
    path = folder / ".cargo" / "config.toml"
    text = found.config_toml(target_dir=target_dir)
    if path.is_file():
        there = path.read_text(encoding="utf-8", errors="replace")
        if there == text:
            return True
        if not there.startswith(_MARK):
            return False
    files.write_atomic(path, text)
    return True


def _rustcs(environ: Mapping[str, str]) -> list[Path]:
    """Each rustc that PATH, RUSTC or the usual places lead to, once, in order."""
    program = "rustc.exe" if sys.platform == "win32" else "rustc"
    folders = [Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry]
    if home := environ.get("HOME") or environ.get("USERPROFILE"):
        folders.append(Path(environ.get("CARGO_HOME") or Path(home) / ".cargo") / "bin")
    candidates = [folder / program for folder in folders]
    if chosen := environ.get("RUSTC"):
        named = shutil.which(chosen, path=environ.get("PATH"))
        candidates.insert(0, Path(named or chosen))
    seen: set[tuple[int, int]] = set()
    found = []
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            # /bin may be a link to /usr/bin; a rustup proxy is told apart by its own name.
            same = path.stat()
            if (same.st_dev, same.st_ino) not in seen:
                seen.add((same.st_dev, same.st_ino))
                found.append(path)
    return found


def _kind(path: Path, environ: Mapping[str, str]) -> Kind:
    real = path.resolve()
    if str(real).startswith("/nix/store/"):
        return "nix"
    conda = environ.get("CONDA_PREFIX")
    if conda and Path(conda) in path.parents:
        return "conda"
    if real.stem.startswith("rustup") or (path.parent / "rustup").exists() \
            or (path.parent / "rustup.exe").exists() or ".rustup" in real.parts:
        return "rustup"
    return "path"


def _cargo_beside(rustc: Path, environ: Mapping[str, str]) -> Path | None:
    beside = rustc.with_name(rustc.name.replace("rustc", "cargo", 1))
    if beside.is_file():
        return beside
    found = shutil.which("cargo", path=environ.get("PATH"))
    return Path(found) if found else None


def _working_linker(rustc: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """The linker to name ("" for rustc's own) and "", or "" and why none works."""
    refusal = trial_link(rustc)
    if not refusal:
        return "", ""
    for name in wasm_linkers(environ):
        if not trial_link(rustc, linker=name):
            return name, ""
    return "", refusal


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _shown(found: Toolchain) -> Toolchain:
    rows: list[tuple[str, str]] = [("taken", found.kind)]
    if found.rustc is not None:
        rows += [("rustc", f"{found.version}  {found.rustc}"), ("cargo", str(found.cargo)),
                 ("linker", found.linker or "rustc's own")]
    if found.std is not None:
        state = "built" if found.std.ready else "to be built at the first build, in 1 to 3 minutes"
        rows.append(("std", f"{paths.shown(found.std.sysroot)} ({state})"))
    rows.append(("why", found.why))
    rows += [("passed over", f"{p.kind} {p.path}: {p.reason}") for p in found.passed_over]
    notes = () if found.rustc else (f"to build for yourself: {install_plan().text}",)
    return replace(found, text=table_text(("what", "found"), rows), notes=notes)
