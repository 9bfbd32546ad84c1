"""The toolchain's part of set-up; runs inside the environment as `python -m helpers.setup.wasm`.

It finds a toolchain or installs Debian's, builds the Wasm std where none came with it, and
fetches the crates of plugins/, so that nothing later needs a network.

Exit status: 0 a toolchain works, 3 none does and the prebuilt modules are used instead.
"""

from __future__ import annotations

import json
import os
import sys

from helpers import files, paths, shell, toolchain
from helpers.errors import CommandFailed, WorkbookError
from helpers.rustc_probe import TARGET
from helpers.setup import places, system
from helpers.setup.console import Console
from helpers.setup.system import SetupFailed

_NO_TOOLCHAIN = 3


def main(argv: list[str]) -> int:
    """Bring the toolchain in place.

    Args:
        argv: the subcommand that set-up is for. Only "setup" tries apt again after it failed.
    """
    console = Console()
    found = toolchain.find()
    if found.rustc is None and (argv[:1] == ["setup"] or not places.TOOLCHAIN.exists()):
        found = _install(console) or found
    if found.rustc is None:
        _warn(console)
        _write({"works": False, "files": []})
        return _NO_TOOLCHAIN
    console.say(f"toolchain: rustc {found.version} ({found.kind}): {found.why}")
    if not found.ready:
        console.say("building the Wasm std once, because this toolchain came without "
                    "(about 2 min; shared by all crates)")
    found.prepare(sink=console.progress)
    _fetch(console, found)
    used = [str(path) for path in (found.rustc, found.cargo, found.sysroot) if path is not None]
    _write({"works": True, "files": used})
    return 0


def _install(console: Console) -> toolchain.Toolchain | None:
    plan = toolchain.install_plan()
    if not plan.automatic:
        return None
    try:
        system.apt_install(
            plan.packages, why="rustc, cargo and a Wasm linker build the plugins",
            about="1 min, 0.6 GB", console=console, log=places.LOG,
        )
    except SetupFailed as error:
        console.say(str(error))
        return None
    toolchain.find.cache_clear()
    return toolchain.find()


def _fetch(console: Console, found: toolchain.Toolchain) -> None:
    """Crates into cargo's cache, for a classroom without a network."""
    if not (paths.plugins() / "Cargo.lock").exists():
        return
    console.say("fetching the crates that plugins/Cargo.lock names (about 5 s)")
    try:
        shell.run(
            [str(found.cargo), "fetch", "--locked", "--target", TARGET],
            cwd=paths.plugins(), env=found.env(), sink=console.progress, timeout=600,
        )
    except CommandFailed as error:
        raise SetupFailed(
            "cargo could not fetch the crates of plugins/",
            cause="no network, or a proxy whose certificate cargo does not trust",
            fix="connect, then run the same command again",
            detail=error.detail,
        ) from error


def _warn(console: Console) -> None:
    plan = toolchain.install_plan()
    console.say(
        "NO WASM TOOLCHAIN. Nothing can be compiled here: the prebuilt modules are used, and "
        "each result that comes from one says so.\n"
        f"  Cause: no rustc on this machine can build for {TARGET}\n"
        f"  Fix:   {plan.text}\n"
        "         then: ./workbook setup"
    )


def _write(document: dict[str, object]) -> None:
    # Read by the bootstrap with the json module alone, so without the version wrapper.
    files.write_atomic(places.TOOLCHAIN, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    os.chdir(paths.ROOT)
    try:
        sys.exit(main(sys.argv[1:]))
    except WorkbookError as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
