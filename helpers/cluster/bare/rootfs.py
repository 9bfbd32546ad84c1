"""The base layer of our images: a small Debian, made by debootstrap."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from helpers import shell
from helpers.cluster.bare import archive, cache
from helpers.errors import CommandFailed, NotReady

SUITE = "bookworm"

#: For istio-init iptables, for the article's request curl, for our Bookinfo python3.
PACKAGES = ("ca-certificates", "curl", "iptables", "iproute2", "python3")

#: Nobody reads these in a container; the cache of ldconfig would differ from time to time, and
#: nothing else of two base layers does.
_LEFT_OUT = ("var/cache/apt", "var/cache/ldconfig", "var/lib/apt/lists", "var/log",
             "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "proc",
             "sys", "dev", "tmp", "run")

#: Raised when what is done below changes, so that a kept layer is made anew.
_RECIPE = 1


def ensure(say: Callable[[str], None], log: Path) -> Path:
    """The base layer, as a tar in the cache.

    Raises:
        CommandFailed: debootstrap failed; `detail` has its last lines.
        NotReady: too little disk, or something stays mounted in what an interruption left.
        Cancelled: interrupted; debootstrap has ended and nothing stays mounted.
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
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as sink:
            # Not the console's way of running: an interruption must end dpkg in the new root,
            # too, or what is mounted there stays busy.
            done = shell.run(
                ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE,
                 root, *mirror()],
                env={"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}, check=False,
                sink=lambda text: print(text, file=sink, flush=True),
            )
        if done.status != 0:
            raise CommandFailed(f"debootstrap ended with status {done.status}",
                                cause="no network, or its mirror lacks a package; its last words "
                                "are below", fix="mend that, then ./workbook cluster up again",
                                detail="\n".join(done.output.splitlines()[-15:]))
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


def mounted(root: Path, mounts: str) -> list[str]:
    """What is mounted below `root`, in the order of mounting.

    Args:
        mounts: the text of /proc/mounts, which writes blanks and the like as \\040 (proc(5)).
    """
    home = str(root.resolve()) + "/"
    points = (re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), line.split()[1])
              for line in mounts.splitlines())
    return [point for point in points if point.startswith(home)]


def _remove(root: Path) -> None:
    """Remove a root file system, and what an interrupted debootstrap left mounted in it."""
    for point in reversed(mounted(root, Path("/proc/mounts").read_text(encoding="utf-8"))):
        done = subprocess.run(["umount", point], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            # Removing what is below would remove from this computer's own /proc or /sys.
            raise NotReady(f"{point} cannot be unmounted",
                           cause="a program of an interrupted debootstrap still runs in it",
                           fix=f"end it, umount {point}, then ./workbook cluster up again",
                           detail=done.stderr)
    if root.exists():
        shutil.rmtree(root)
