"""The modules that were built beforehand, for a computer with no Rust: always labelled.

`python -m helpers.prebuilt` builds them afresh and writes their provenance.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import files, paths, shell, toolchain
from helpers.crate import Crate
from helpers.errors import BadState, WorkbookError
from helpers.rustc_probe import TARGET

#: The plugins of which a module is kept.
PLUGINS = ("as-printed", "header-logger")
_SCHEMA = 1


@dataclass(frozen=True)
class Prebuilt:
    """A module built beforehand.

    Attributes:
        plugin: the plugin that it was built from.
        path: the file.
        sha256: of the file, as its provenance has it.
        commit: the commit of its sources.
        source_sha256: of its sources and the lock, see `source_digest`.
        rustc: the compiler's version.
        profile: cargo's profile.
    """

    plugin: str
    path: Path
    sha256: str
    commit: str
    source_sha256: str
    rustc: str
    profile: str

    @property
    def label(self) -> str:
        """What to say wherever it is used."""
        return (f"PREBUILT module of plugins/{self.plugin}, source commit {self.commit[:12]}, "
                f"rustc {self.rustc}, profile {self.profile}, sha256 {self.sha256}")


def folder() -> Path:
    """Where they lie."""
    return paths.plugins() / "prebuilt"


def load() -> list[Prebuilt]:
    """All of them, each held to its sha256.

    Raises:
        BadState: the provenance is damaged, or a file is not the one that it describes.
    """
    found = []
    for entry in files.read_json(folder() / "provenance.json", version=_SCHEMA):
        one = Prebuilt(entry["plugin"], folder() / entry["file"], entry["sha256"],
                       entry["commit"], entry["source_sha256"], entry["rustc"], entry["profile"])
        actual = hashlib.sha256(one.path.read_bytes()).hexdigest()
        if actual != one.sha256:
            raise BadState(f"{one.path} is not the module that its provenance describes",
                           cause=f"its sha256 is {actual}, not {one.sha256}",
                           fix="restore plugins/prebuilt from the repository")
        found.append(one)
    return found


def module_of(crate: Crate, profile: str) -> Prebuilt | None:
    """The prebuilt module to stand in for `crate`, or None.

    A plugin's own; for a learner's crate, which begins as the article's filter, that one,
    unless its source says that it has been repaired.
    """
    if profile != "release":
        return None
    wanted = crate.name
    if crate.path.parent != paths.plugins():
        source = crate.path / "src" / "lib.rs"
        text = source.read_text("utf-8", errors="replace") if source.is_file() else ""
        repaired = "create_http_context" in text or (crate.path / "src" / "filter.rs").is_file()
        wanted = "header-logger" if repaired else "as-printed"
    return next((one for one in load() if one.plugin == wanted), None)


def source_digest(plugin: str) -> str:
    """sha256 over names and bytes of all that goes into a plugin's module."""
    top = paths.plugins()
    parts = [top / "Cargo.toml", top / "Cargo.lock", top / plugin / "Cargo.toml",
             *sorted((top / plugin / "src").rglob("*.rs"))]
    digest = hashlib.sha256()
    for part in parts:
        # Line ends differ between checkouts on Windows and elsewhere; the sources do not.
        data = part.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{part.relative_to(top).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def regenerate(*, sink: shell.Sink | None = shell.print_line) -> list[Prebuilt]:
    """Build them with the toolchain of this machine and write files and provenance.

    Raises:
        BadState: the sources have changes that are not committed.
    """
    found = toolchain.require()
    found.prepare(sink=sink)
    sources = ["plugins/Cargo.toml", "plugins/Cargo.lock", *(f"plugins/{p}" for p in PLUGINS)]
    dirty = shell.run(["git", "status", "--porcelain", "--", *sources], cwd=paths.ROOT).output
    if dirty.strip():
        raise BadState("the plugins' sources have changes that are not committed",
                       cause=dirty, fix="commit them first: a module names its source commit")
    commit = shell.run(["git", "log", "-1", "--format=%H", "--", *sources], cwd=paths.ROOT).output
    cargo_home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    env = found.env()
    flags = [flag for flag in env.get("CARGO_ENCODED_RUSTFLAGS", "").split("\x1f") if flag]
    env["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join([
        *flags, f"--remap-path-prefix={cargo_home}=/cargo",
        f"--remap-path-prefix={paths.ROOT}=/workbook"])
    target = paths.HOME / "prebuilt-target"
    entries: list[dict[str, Any]] = []
    for plugin in PLUGINS:
        assert found.cargo is not None
        shell.run([found.cargo, "build", "--release", "--locked", "--target", TARGET,
                   "-p", plugin, "--target-dir", target], cwd=paths.plugins(), env=env, sink=sink)
        name = f"{plugin.replace('-', '_')}.wasm"
        data = (target / TARGET / "release" / name).read_bytes()
        files.write_atomic(folder() / name, data)
        entries.append({
            "plugin": plugin, "file": name, "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(), "commit": commit.strip(),
            "source_sha256": source_digest(plugin), "rustc": found.version,
            "toolchain": found.kind, "target": TARGET, "profile": "release",
        })
    files.write_json(folder() / "provenance.json", entries, version=_SCHEMA)
    return load()


if __name__ == "__main__":
    try:
        print(json.dumps([one.label for one in regenerate()], indent=1))
    except WorkbookError as error:
        sys.exit(str(error))
