"""The base layer of our images: a small Debian, made by debootstrap."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from helpers.cluster.bare import archive, cache
from helpers.errors import CommandFailed
from helpers.setup.console import run

SUITE = "bookworm"

#: For istio-init iptables, for the article's request curl, for our Bookinfo python3.
PACKAGES = ("ca-certificates", "curl", "iptables", "iproute2", "python3")

#: Nobody reads these in a container.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man",
             "usr/share/locale", "usr/share/info", "proc", "sys", "dev", "tmp", "run")

#: Raised when what is done below changes, so that a kept layer is made anew.
_RECIPE = 1


def ensure(say: Callable[[str], None], log: Path) -> Path:
    """The base layer, as a tar in the cache.

    Raises:
        CommandFailed: debootstrap failed; `detail` has its last lines.
        NotReady: too little disk.
    """
    what = hashlib.sha256(repr((SUITE, PACKAGES, _LEFT_OUT, _RECIPE)).encode()).hexdigest()[:16]
    home = cache.folder() / "images"
    layer = home / f"base-{what}.tar"
    if layer.exists():
        return layer
    cache.require_space(2, why="a small Debian and the images made from it")
    home.mkdir(parents=True, exist_ok=True)
    root = home / "base.partial"
    _remove(root)
    say("        the images' base: Debian with curl, iptables and python3 (about a minute)")
    try:
        status, words = run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root,
             *mirror()],
            log=log, env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        )
        if status != 0:
            raise CommandFailed(f"debootstrap ended with status {status}",
                                cause="no network, or its mirror lacks a package; its last words "
                                "are below", fix="mend that, then ./workbook cluster up again",
                                detail=words)
        _users(root)
        return archive.write_tree(layer, root, leave_out=_LEFT_OUT)
    finally:
        _remove(root)


def mirror() -> list[str]:
    """Where this computer's own apt gets the suite from, for debootstrap; empty: its default."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)",
         "Created-By: Packages"], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        words = line.split()
        if words[1:] == [SUITE, "main"]:
            return [words[0]]
    return []


def _users(root: Path) -> None:
    """Istio's proxy runs as user 1337; istio-init lets that user's traffic pass."""
    for name, line in (("passwd", "istio-proxy:x:1337:1337::/var/lib/istio:/bin/bash\n"),
                       ("group", "istio-proxy:x:1337:\n")):
        with (root / "etc" / name).open("a", encoding="utf-8") as handle:
            handle.write(line)


def _remove(root: Path) -> None:
    """Remove a root file system, and what an interrupted debootstrap left mounted in it."""
    home = str(root.resolve()) + "/"
    points = [line.split()[1] for line in
              Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for point in reversed(points):
        if point.startswith(home):
            subprocess.run(["umount", point], check=True, capture_output=True)
    if root.exists():
        shutil.rmtree(root)
