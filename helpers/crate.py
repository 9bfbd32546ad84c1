"""A learner's crate: making it, writing its files, and what the article would have in them."""

from __future__ import annotations

import difflib
import html
import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from helpers import files, paths
from helpers.errors import BadInput, NotFound
from helpers.show import Result, command_html

#: The crate of the article.
ARTICLE = "istio-wasm-demo"

#: Words that cargo refuses as a package name: Rust's keywords, and two it needs itself.
_KEYWORDS = """
    Self abstract as async await become box break const continue crate do dyn else enum extern
    false final fn for gen if impl in let loop macro match mod move mut override priv pub ref
    return self static struct super trait true try type typeof unsafe unsized use virtual where
    while yield test core std alloc proc-macro proc_macro
"""


@dataclass(frozen=True)
class Crate:
    """A crate on disk.

    Attributes:
        name: the package's name; its module is called the same with `_` for `-`.
        path: its folder.
    """

    name: str
    path: Path

    @property
    def module_name(self) -> str:
        """The file name of the module that it builds."""
        return f"{self.name.replace('-', '_')}.wasm"

    def module(self, profile: str = "release") -> Path:
        """Where the article has its module (whether or not it was built)."""
        folder = "debug" if profile in ("debug", "dev") else profile
        return self.path / "target" / "wasm32-unknown-unknown" / folder / self.module_name


@dataclass(frozen=True, kw_only=True)
class FileWritten(Result):
    """A file of a crate was written.

    Attributes:
        path: the file.
        diff: what changed, in unified form; empty when nothing did.
    """

    path: Path
    diff: str = ""

    def _repr_html_(self) -> str:
        lines = []
        for line in self.diff.splitlines():
            # The sign at the start carries the meaning; bold only helps the eye.
            mark = line[:1] in "+-" and not line.startswith(("+++", "---"))
            escaped = html.escape(line)
            lines.append(f"<b>{escaped}</b>" if mark else escaped)
        body = "\n".join(lines) or html.escape(self.text)
        shown = f"<pre style='font-family:monospace'>{body}</pre>"
        return f"<div>{command_html(self.command)}{shown}</div>"


def check_name(name: str) -> str:
    """`name` when cargo would take it.

    Raises:
        BadInput: it is empty, holds another character than ASCII letters, digits, `-` and `_`,
            begins with a digit or `-`, or is a word of the language.
    """
    fix = "use letters, digits, - and _, beginning with a letter: istio-wasm-demo"
    if not isinstance(name, str) or not name:
        raise BadInput(f"{name!r} is no name for a crate", cause="it is empty or no text", fix=fix)
    if wrong := re.search(r"[^A-Za-z0-9_-]", name):
        raise BadInput(f"{name!r} is no name for a crate",
                       cause=f"the character {wrong[0]!r} may not be in it", fix=fix)
    if not re.match(r"[A-Za-z_]", name):
        raise BadInput(f"{name!r} is no name for a crate",
                       cause=f"it begins with {name[0]!r}", fix=fix)
    if name in _KEYWORDS.split():
        raise BadInput(f"{name!r} is no name for a crate",
                       cause="Rust uses the word itself", fix=fix)
    if len(name) > 64:
        raise BadInput(f"{name[:20]!r}… is no name for a crate",
                       cause=f"it has {len(name)} characters, more than 64", fix=fix)
    return name


def get(crate: Crate | str | Path = ARTICLE) -> Crate:
    """The crate called `crate`: in the workspace, else among the plugins; or at that path.

    Raises:
        BadInput: no such name can be.
        NotFound: there is no such crate.
    """
    if isinstance(crate, Crate):
        return crate
    if isinstance(crate, Path):
        places = [crate]
    else:
        check_name(crate)
        places = [paths.workspace() / crate, paths.plugins() / crate]
    for place in places:
        if (place / "Cargo.toml").is_file():
            return Crate(_package_name(place), place)
    raise NotFound(
        f"there is no crate {crate}",
        cause=f"no Cargo.toml lies in {' or '.join(paths.shown(p) for p in places)}",
        fix=f"make it: steps.cargo_new({str(crate)!r})" if isinstance(crate, str)
        else "give the folder that holds Cargo.toml",
    )


def set_aside(crate: Crate) -> Path:
    """Move a crate away, its files untouched; where to."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = 0
    while True:
        suffix = f".kept-{stamp}" + (f"-{number}" if number else "")
        kept = crate.path.with_name(crate.path.name + suffix)
        if not kept.exists():
            crate.path.rename(kept)
            return kept
        number += 1


def write_file(crate: Crate, name: str, text: str) -> FileWritten:
    """Write a file of the crate and show what changed against what was there.

    Raises:
        BadInput: `name` leads out of the crate.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    if not name or inside.is_absolute() or ".." in inside.parts or ":" in name:
        raise BadInput(f"{name!r} is no file of the crate", cause="it leads out of its folder",
                       fix='name it from the crate\'s top: "src/lib.rs"')
    path = crate.path / inside
    text = text.strip("\n") + "\n"
    before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    diff = "".join(_with_end(line) for line in difflib.unified_diff(
        before.splitlines(True), text.splitlines(True),
        f"{inside} (before)", f"{inside} (now)"))
    if before != text:
        files.write_atomic(path, text)
    return FileWritten(command=f"vi {crate.name}/{inside}", path=path, diff=diff,
                       text=diff or f"{inside} is already as wanted")


def _with_end(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ no line end\n"


def article_sources(name: str = ARTICLE) -> dict[str, str]:
    """The two files as the article has them, by file name, for a crate called `name`."""
    ours = (paths.plugins() / "as-printed" / "src" / "lib.rs").read_text("utf-8")
    # Our remarks at its top say what is wrong with it: that is the learner's to find out.
    printed = [line for line in ours.splitlines(True) if not line.startswith("//!")]
    return {
        "Cargo.toml": _manifest(name, 'proxy-wasm = "0.2"\n'),
        "src/lib.rs": "".join(printed).lstrip("\n"),
    }


def plugin_sources(plugin: str, name: str = ARTICLE) -> dict[str, str]:
    """The files of one of the workbook's plugins, made to stand alone as a crate called `name`.

    Raises:
        NotFound: there is no such plugin.
    """
    folder = paths.plugins() / check_name(plugin)
    if not (folder / "Cargo.toml").is_file():
        raise NotFound(f"there is no plugin {plugin}", cause=f"plugins/ holds {plugin_names()}",
                       fix="name one of those")
    shared = (paths.plugins() / "Cargo.toml").read_text("utf-8")
    own = (folder / "Cargo.toml").read_text("utf-8")
    wanted = re.findall(r"^(\S+) = \{ workspace = true \}$", own, re.MULTILINE)
    lines = [found[0] for dependency in wanted
             if (found := re.search(rf"^{re.escape(dependency)} = .+$", shared, re.MULTILINE))]
    texts = {"Cargo.toml": _manifest(name, "\n".join(lines) + "\n")}
    for source in sorted((folder / "src").rglob("*.rs")):
        texts[source.relative_to(folder).as_posix()] = source.read_text("utf-8")
    return texts


def plugin_names() -> list[str]:
    """The workbook's own plugins."""
    return sorted(manifest.parent.name for manifest in paths.plugins().glob("*/Cargo.toml"))


def _manifest(name: str, dependencies: str) -> str:
    return (f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2024"\n\n'
            f'[lib]\ncrate-type = ["cdylib"]\n\n[dependencies]\n{dependencies}')


def _package_name(folder: Path) -> str:
    text = (folder / "Cargo.toml").read_text("utf-8", errors="replace")
    # Cargo reads the manifest for itself and explains what is wrong with it; a broken one must
    # not keep a learner from mending it here, so the folder's name stands in.
    found = re.search(r'^\s*\[package\][^\[]*?^\s*name\s*=\s*"([^"]+)"', text,
                      re.MULTILINE | re.DOTALL)
    return found[1] if found else folder.name
