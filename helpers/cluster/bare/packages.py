"""Debian's programs that the bare cluster runs.

containerd, runc, the CNI plugins and etcd are unpacked, not installed: as packages they would
start services of their own, and containerd would push Docker's aside. Plain tools are
installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers import shell
from helpers.cluster.bare import cache
from helpers.errors import CommandFailed
from helpers.setup import system
from helpers.setup.console import Console, run

#: Packages that are unpacked into the cache.
UNPACKED = ("containerd", "runc", "containernetworking-plugins", "etcd-server")

#: Programs, and the packages that bring them, in no particular order.
TOOLS = {"iptables": "iptables", "conntrack": "conntrack", "ipset": "ipset", "ip": "iproute2",
         "mount": "mount", "nsenter": "util-linux", "openssl": "openssl",
         "debootstrap": "debootstrap"}

#: Libraries that the unpacked programs are linked with, by the name that the linker misses.
_LIBRARIES = {"libseccomp.so.2": "libseccomp2"}


@dataclass(frozen=True)
class Programs:
    """Where the unpacked programs are."""

    containerd: Path
    ctr: Path
    shim_folder: Path
    runc: Path
    cni: Path
    etcd: Path

    def missing(self) -> list[Path]:
        """Those that are not there."""
        return [path for path in (self.containerd, self.ctr, self.runc, self.etcd,
                                  self.cni / "ptp", self.cni / "host-local",
                                  self.shim_folder / "containerd-shim-runc-v2")
                if not path.exists()]


def ensure(say: Callable[[str], None], log: Path) -> Programs:
    """Unpack and install what is missing.

    Raises:
        SetupFailed: this is no Debian, or apt-get failed.
        CommandFailed: a program does not run.
    """
    tools = sorted({package for program, package in TOOLS.items()
                    if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
                    is None})
    home = cache.folder() / "debian"
    programs = _programs(home)
    if not tools and not programs.missing():
        return programs
    if not (system.debian() and system.root()):
        raise system.SetupFailed(
            f"missing: {', '.join([*tools, *(() if programs.missing() == [] else UNPACKED)])}",
            cause="the bare cluster's programs come from Debian, and only root may install them",
            fix="./workbook cluster up --provider kind, or a Debian machine as root",
        )
    if tools:
        system.apt_install(tools, why="the bare cluster routes, mounts and signs with them",
                           about="30 s", console=Console(), log=log)
    if programs.missing():
        _unpack(home, say, log)
    _libraries(programs, log)
    if missing := programs.missing():
        raise CommandFailed(f"{missing[0].name} is not in Debian's packages any more",
                            cause=f"looked for it in {', '.join(UNPACKED)}",
                            fix="report it, with your Debian's version")
    return programs


def _programs(home: Path) -> Programs:
    return Programs(home / "usr/bin/containerd", home / "usr/bin/ctr", home / "usr/bin",
                    home / "usr/sbin/runc", home / "usr/lib/cni", home / "usr/bin/etcd")


def _unpack(home: Path, say: Callable[[str], None], log: Path) -> None:
    say(f"        unpacking Debian's {', '.join(UNPACKED)}, without their services")
    new = home.with_name("debian.partial")
    debs = new / "debs"
    shutil.rmtree(new, ignore_errors=True)
    debs.mkdir(parents=True)
    steps = [["apt-get", "-q", "update"],
             ["apt-get", "-q", "download", "-o", "APT::Sandbox::User=root", *UNPACKED]]
    for step in steps:
        _apt(step, debs, log)
    for deb in sorted(debs.glob("*.deb")):
        _apt(["dpkg-deb", "--extract", str(deb), str(new)], debs, log)
    shutil.rmtree(debs)
    shutil.rmtree(home, ignore_errors=True)
    new.replace(home)


def _apt(argv: list[str], cwd: Path, log: Path) -> None:
    status, words = run(argv, log=log, cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if status != 0:
        raise system.SetupFailed(
            f"{' '.join(argv[:3])} ended with status {status}",
            cause="no network, or apt's sources lack the package; its words are below",
            fix="mend that, then ./workbook cluster up again", detail=words)


def _libraries(programs: Programs, log: Path) -> None:
    lacking = {package
               for path in (programs.containerd, programs.runc, programs.etcd)
               for line in shell.run(["ldd", path], check=False).output.splitlines()
               if "not found" in line
               for name, package in _LIBRARIES.items() if name in line}
    if lacking:
        system.apt_install(sorted(lacking), why="runc is linked with it", about="10 s",
                           console=Console(), log=log)
    for path in (programs.containerd, programs.runc, programs.etcd):
        shell.run([path, "--version"], timeout=30)
