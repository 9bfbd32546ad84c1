"""Packages of the operating system: installed on Debian as root, named everywhere else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.errors import WorkbookError
from helpers.setup.console import Console, run

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class SetupFailed(WorkbookError):
    """Set-up could not go on; running the same command again continues where it stopped."""


def debian() -> bool:
    """Whether this is Debian or one of its children, with apt-get."""
    return Path("/etc/debian_version").is_file() and shutil.which("apt-get") is not None


def root() -> bool:
    """Whether packages can be installed without asking anybody."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def apt_command(packages: Sequence[str]) -> str:
    """The one command that a person types to install `packages`."""
    sudo = "" if root() else "sudo "
    return (
        f"{sudo}apt-get update && {sudo}apt-get install --yes --no-install-recommends "
        + " ".join(packages)
    )


def apt_install(
    packages: Sequence[str],
    *,
    why: str,
    about: str,
    console: Console,
    log: Path,
    keep_open: Sequence[int] = (),
) -> None:
    """Install `packages` with apt-get, after saying what, why and about how long.

    Raises:
        SetupFailed: we are not root on Debian, or apt-get failed.
    """
    command = apt_command(packages)
    if not (debian() and root()):
        raise SetupFailed(
            f"missing: {', '.join(packages)}",
            cause=f"{why}; only root may install packages, and only Debian's names are known here",
            fix=command if debian() else f"install what your system calls {', '.join(packages)}",
        )
    console.say(f"installing {', '.join(packages)} with apt-get: {why} (about {about})")
    # Only what apt needs of our environment; a question would wait for ever without a terminal.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-q"]
    steps: list[list[str]] = [
        # Ends what an interrupted installation left half done; does nothing otherwise.
        ["dpkg", "--configure", "-a"],
        [*apt, "update"],
        [*apt, "install", "--yes", "--no-install-recommends", *packages],
    ]
    for step in steps:
        status, words = run(
            step, log=log, env=env, line=console.progress, keep_open=keep_open
        )
        if status != 0:
            raise SetupFailed(
                f"{' '.join(step)} ended with status {status}",
                cause="no network, or apt's sources do not have the package; its words are below",
                fix=f"mend that, then run the same command again, or by hand: {command}",
                detail=words,
            )


def missing_for_venv(*, with_uv: bool) -> list[str]:
    """Debian's packages without which no environment can be made here.

    Debian takes `ensurepip` out of python3 and puts it in python3-venv; a minimal image also
    lacks the certificates of https servers.
    """
    wanted: list[str] = []
    if not with_uv and (
        importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None
    ):
        wanted.append(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if debian() and not _CERTIFICATES.exists():
        wanted.append("ca-certificates")
    return wanted


def missing_for_tests() -> list[str]:
    """Debian's packages that only the tests need.

    nix evaluates the outputs of flake.nix; git makes the clones from which `reset` is tried.
    """
    wanted = {"nix-instantiate": "nix-bin", "git": "git"}
    return [package for program, package in wanted.items() if not shutil.which(program)]
