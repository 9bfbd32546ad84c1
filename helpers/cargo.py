"""Running cargo: a new crate, a build, and what came of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import crate as crates
from helpers import files, paths, prebuilt, rustc_errors, shell, toolchain
from helpers.crate import Crate
from helpers.errors import BadInput, BuildFailed, CommandFailed
from helpers.rustc_probe import TARGET
from helpers.show import Result

#: The profiles of the size story, and what cargo wants to be told for each.
PROFILES: dict[str, tuple[str, ...]] = {
    "debug": (),
    "release": ("--release",),
    "tuned": ("--profile", "tuned"),
}

#: The settings of `tuned`, for crates whose Cargo.toml does not have them.
_TUNED = {"inherits": '"release"', "opt-level": '"s"', "lto": "true", "codegen-units": "1",
          "panic": '"abort"', "strip": "true"}


@dataclass(frozen=True, kw_only=True)
class CrateMade(Result):
    """What `cargo new` left.

    Attributes:
        crate: the crate.
        kept: where an older crate of that name was moved to, if one was.
    """

    crate: Crate
    kept: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BuildResult(Result):
    """A module that was built (or, with kind "prebuilt", taken from plugins/prebuilt).

    Attributes:
        module: the module, where the article has it.
        size: its length in bytes.
        profile: "debug", "release" or "tuned".
        warnings: how many warnings rustc gave.
        toolchain: what kind of toolchain made it.
        fresh: whether cargo found that nothing had to be done.
    """

    module: Path
    size: int
    profile: str = "release"
    warnings: int = 0
    toolchain: str = ""
    fresh: bool = False


def new(name: str = crates.ARTICLE, *, reset: bool = False) -> CrateMade:
    """`cargo new NAME --lib` in the workspace.

    A crate that is there already is kept; with `reset` it is moved aside first, never deleted.
    The workbook's Cargo.lock is laid into the new crate, so that everybody builds with the same
    versions, also with no network.

    Raises:
        BadInput: `name` is no name for a crate.
    """
    crates.check_name(name)
    command = f"cargo new {name} --lib"
    home = paths.workspace()
    path = home / name
    found = toolchain.find()
    kept: Path | None = None
    if path.exists():
        if not reset:
            return CrateMade(
                command=command, crate=Crate(name, path),
                text=f"{paths.shown(path)} is there already and was kept as it is",
                notes=("cargo_new(..., reset=True) moves it aside and makes a new one",))
        kept = crates.set_aside(Crate(name, path))
    home.mkdir(parents=True, exist_ok=True)
    toolchain.configure(home, found)
    begun = time.monotonic()
    if found.cargo is None:
        texts = crates.article_sources(name)
        files.write_atomic(path / "Cargo.toml", texts["Cargo.toml"])
        files.write_atomic(path / "src" / "lib.rs", "")
        text = "no cargo here: the folder was made without it"
    else:
        try:
            done = shell.run([found.cargo, "new", name, "--lib", "--vcs", "none",
                              "--color", "never"], cwd=home, env=found.env())
        except CommandFailed as error:
            raise BadInput(f"cargo would not make the crate {name}",
                           cause="cargo's own words are below", fix="choose another name",
                           detail=error.detail) from error
        text = done.output
    lock = paths.plugins() / "Cargo.lock"
    files.write_atomic(path / "Cargo.lock", lock.read_bytes())
    notes = () if kept is None else (f"the old crate is kept in {paths.shown(kept)}",)
    return CrateMade(command=command, text=text, crate=Crate(name, path), kept=kept,
                     seconds=time.monotonic() - begun, notes=notes)


def build(
    crate: Crate | str | Path = crates.ARTICLE,
    *,
    profile: str = "release",
    incremental: bool = False,
    sink: shell.Sink | None = shell.print_line,
) -> BuildResult:
    """`cargo build --release --target wasm32-unknown-unknown` in the crate.

    Args:
        crate: the crate, its folder, or its name in the workspace or among the plugins.
        profile: "debug", "release" or "tuned".
        incremental: keep what rustc worked out, and after an edit compile only what it touches:
            about half the time of a release build, for a slightly different module. cargo
            leaves it off for release builds unless CARGO_INCREMENTAL=1 asks for it.
        sink: called with each line that cargo and rustc print.

    Raises:
        BadInput: another profile.
        NotFound: no such crate.
        BuildFailed: cargo or rustc refused; `detail` has their own words.
        ToolchainMissing: nothing can build here, and there is no prebuilt module of the crate.
        Cancelled: the learner stopped it.
    """
    if profile not in PROFILES:
        raise BadInput(f"profile {profile!r} is unknown", cause=f"there are {', '.join(PROFILES)}",
                       fix='build(..., profile="release")')
    it = crates.get(crate)
    flags = PROFILES[profile]
    command = " ".join(["cargo", "build", *flags, "--target", TARGET])
    if incremental:
        command = f"CARGO_INCREMENTAL=1 {command}"
    found = toolchain.find()
    if found.cargo is None:
        ready = prebuilt.module_of(it, profile)
        if ready is None:
            toolchain.require()
        assert ready is not None
        target = it.module(profile)
        files.write_atomic(target, ready.path.read_bytes())
        return BuildResult(command=command, module=target, size=target.stat().st_size,
                           profile=profile, toolchain="prebuilt", text=ready.label,
                           notes=("nothing was compiled: your own changes are not in it",))
    found.prepare(sink=sink)
    configure(found)
    argv: list[str | Path] = [found.cargo, "build", *flags, "--target", TARGET,
                              "--message-format", "json", "--color", "never"]
    if profile == "tuned" and not _has_tuned(it):
        for key, value in _TUNED.items():
            argv += ["--config", f"profile.tuned.{key}={value}"]
    log = _CargoLog(it, sink)
    env = found.env() | ({"CARGO_INCREMENTAL": "1"} if incremental else {})
    done = shell.run(argv, cwd=it.path, env=env, sink=log, check=False)
    notes: list[str] = []
    if done.status != 0 and rustc_errors.needs_network(log.text()):
        # cargo asks the registry when the lock does not answer; what is already on this
        # computer may still do.
        again = _CargoLog(it, sink)
        retried = shell.run([*argv, "--offline"], cwd=it.path, env=env, sink=again, check=False)
        if retried.status == 0:
            done, log = retried, again
            notes.append("no network: built with the crates that are on this computer")
    if done.status != 0:
        raise rustc_errors.failure(command, log.text())
    if log.module is None:
        raise BuildFailed(
            f"cargo built {it.name}, but no .wasm came of it",
            cause='the crate is not of type "cdylib", so rustc made a library for other Rust code',
            fix='add to Cargo.toml:  [lib]  crate-type = ["cdylib"]',
            detail=log.text(),
        )
    module = _in_its_place(it, profile, log.module)
    if module != log.module and it.path.parent != paths.plugins():
        notes.append(f"cargo's own output is {paths.shown(log.module)} (CARGO_TARGET_DIR is set)")
    size = module.stat().st_size
    return BuildResult(
        command=command, seconds=done.seconds, module=module, size=size, profile=profile,
        warnings=log.warnings, toolchain=found.kind, fresh=log.fresh, notes=tuple(notes),
        text=f"{paths.shown(module)}  {size:,} bytes, {log.warnings} warnings")


def configure(found: toolchain.Toolchain) -> None:
    """Let cargo typed by hand work in the workspace and in plugins/, as far as we may write."""
    toolchain.configure(paths.workspace(), found)
    toolchain.configure(paths.plugins(), found, target_dir=paths.cargo_target())


def _has_tuned(crate: Crate) -> bool:
    manifests = [crate.path / "Cargo.toml", crate.path.parent / "Cargo.toml"]
    return any("[profile.tuned]" in manifest.read_text("utf-8", errors="replace")
               for manifest in manifests if manifest.is_file())


def _in_its_place(crate: Crate, profile: str, built: Path) -> Path:
    """The module where the article's next command looks for it."""
    wanted = crate.module(profile)
    if crate.path.parent == paths.plugins() or built.resolve() == wanted.resolve():
        return built
    files.write_atomic(wanted, built.read_bytes())
    return wanted


class _CargoLog:
    """Takes cargo's lines apart: JSON messages are read, all else is passed on."""

    def __init__(self, crate: Crate, sink: shell.Sink | None) -> None:
        self._manifest = (crate.path / "Cargo.toml").resolve()
        self._sink = sink
        self._lines: list[str] = []
        self.module: Path | None = None
        self.warnings = 0
        self.fresh = False

    def __call__(self, line: str) -> None:
        message = _message(line)
        if message is None:
            self._say(line)
        elif message["reason"] == "compiler-message":
            self._diagnostic(message["message"])
        elif message["reason"] == "compiler-artifact":
            self._artifact(message)

    def text(self) -> str:
        """What a person would have read."""
        return "\n".join(self._lines)

    def _diagnostic(self, message: dict[str, Any]) -> None:
        # "N warnings emitted" is a message of its own, without a code or a place.
        if message.get("level") == "warning" and message.get("spans"):
            self.warnings += 1
        for line in str(message.get("rendered") or "").rstrip("\n").splitlines():
            self._say(line)

    def _artifact(self, message: dict[str, Any]) -> None:
        if Path(message["manifest_path"]).resolve() != self._manifest:
            return
        for name in message["filenames"]:
            if name.endswith(".wasm"):
                self.module = Path(name)
                self.fresh = bool(message["fresh"])

    def _say(self, line: str) -> None:
        self._lines.append(line)
        if self._sink is not None:
            self._sink(line)


def _message(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"reason":'):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
