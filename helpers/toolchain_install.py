"""How to get a toolchain on this machine: the commands, and who may run them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers.rustc_probe import TARGET

#: Debian 12: rustc with the sources of std (it has no std for wasm32), and a linker.
DEBIAN_12 = ("rustc-web", "cargo-web", "rust-web-src", "lld-19")
#: Debian 13 and later bring rustc 1.85 or newer and a std for wasm32.
DEBIAN_13 = ("rustc", "cargo", "libstd-rust-dev-wasm32", "lld")


@dataclass(frozen=True)
class InstallPlan:
    """Commands that bring a toolchain.

    Attributes:
        commands: one argv each, to be run in order.
        automatic: whether the workbook may run them without asking (Debian, as root).
        packages: what would be installed, where that is packages.
        why: why this way.
    """

    commands: tuple[tuple[str, ...], ...]
    automatic: bool
    packages: tuple[str, ...]
    why: str

    @property
    def text(self) -> str:
        """The one line to type."""
        return " && ".join(" ".join(argv) for argv in self.commands)


def install_plan(
    environ: Mapping[str, str] = os.environ,
    *,
    system: str = sys.platform,
    os_release: Path = Path("/etc/os-release"),
    root: bool | None = None,
) -> InstallPlan:
    """What to run here to get a toolchain for wasm32-unknown-unknown.

    Args:
        system: as sys.platform has it.
        os_release: where Linux names its distribution.
        root: whether we are root; found out when None.
    """
    as_root = (hasattr(os, "geteuid") and os.geteuid() == 0) if root is None else root
    debian = _debian_version(os_release) if system.startswith("linux") else None
    path = environ.get("PATH", "")
    if debian is not None and debian >= 12 and as_root:
        packages: tuple[str, ...] = DEBIAN_12 if debian == 12 else DEBIAN_13
        return InstallPlan(_apt(packages), True, packages,
                           "Debian's own archive has all that is needed")
    if environ.get("IN_NIX_SHELL") or shutil.which("nix", path=path):
        return InstallPlan((("nix", "develop", ".#wasm"),), False, (),
                           "nix is here, and the flake has a shell with the toolchain")
    if environ.get("CONDA_PREFIX"):
        packages = ("rust", f"rust-std-{TARGET}")
        return InstallPlan((("conda", "install", "-c", "conda-forge", *packages),), False,
                           packages, "a conda environment is active")
    add = ("rustup", "target", "add", TARGET)
    if shutil.which("rustup", path=path):
        return InstallPlan((add,), False, (), "rustup is here and lacks only the target")
    if debian is not None and debian >= 12:
        packages = DEBIAN_12 if debian == 12 else DEBIAN_13
        return InstallPlan(_apt(packages, sudo=True), False, packages,
                           "Debian's own archive has all that is needed")
    first: tuple[str, ...]
    if system == "darwin":
        first = ("brew", "install", "rustup")
    elif system == "win32":
        first = ("winget", "install", "Rustlang.Rustup")
    elif shutil.which("apt-get", path=path):
        first = ("sudo", "apt-get", "install", "rustup")
    elif shutil.which("dnf", path=path):
        first = ("sudo", "dnf", "install", "rustup")
    elif shutil.which("pacman", path=path):
        first = ("sudo", "pacman", "-S", "rustup")
    else:
        return InstallPlan((add,), False, (), "install rustup first, in the way its site says")
    return InstallPlan((first, ("rustup", "default", "stable"), add), False, ("rustup",),
                       "rustup brings rustc, cargo, the target and its linker")


def _apt(packages: tuple[str, ...], *, sudo: bool = False) -> tuple[tuple[str, ...], ...]:
    front = ("sudo",) if sudo else ()
    return ((*front, "apt-get", "update"),
            (*front, "apt-get", "install", "-y", "--no-install-recommends", *packages))


def _debian_version(os_release: Path) -> int | None:
    """Debian's major version, or None on anything else."""
    try:
        text = os_release.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    version = fields.get("VERSION_ID", "").strip('"')
    if fields.get("ID", "").strip('"') != "debian" or not version.isdigit():
        return None
    return int(version)
