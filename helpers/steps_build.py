"""The article's building commands as steps, and the story of a module's size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from helpers import cargo, shell
from helpers import crate as crates
from helpers.cargo import BuildResult, CrateMade
from helpers.crate import ARTICLE, Crate, FileWritten
from helpers.errors import BadInput
from helpers.module import ModuleInfo, inspect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONFIGMAP_LIMIT", "BuildResult", "Crate", "CrateMade", "FileWritten", "ModuleInfo",
           "cargo_build", "cargo_new", "inspect", "size_story", "write_file", "write_plugin"]

#: What a ConfigMap may hold, in bytes, all its keys together.
CONFIGMAP_LIMIT = 1_048_576


def cargo_new(name: str = ARTICLE, *, reset: bool = False) -> CrateMade:
    """`cargo new NAME --lib` in the workspace; see `helpers.cargo.new`."""
    return cargo.new(name, reset=reset)


def write_file(crate: CrateMade | Crate | str, name: str, text: str | None = None) -> FileWritten:
    """Write a file of a crate and show the difference to what was there.

    Args:
        crate: the crate, what `cargo_new` gave back, or a name.
        name: the file, from the crate's top ("Cargo.toml", "src/lib.rs").
        text: what to write; None writes what the article has there.

    Raises:
        BadInput: the name leads out of the crate, or the article has no such file.
        NotFound: no such crate.
    """
    it = _crate(crate)
    if text is None:
        printed = crates.article_sources(it.name)
        if name not in printed:
            raise BadInput(f"the article has no file {name!r}",
                           cause=f"it has {' and '.join(printed)}",
                           fix="name one of these, or give the text")
        text = printed[name]
    return crates.write_file(it, name, text)


def write_plugin(crate: CrateMade | Crate | str, plugin: str) -> list[FileWritten]:
    """Write the sources of one of the workbook's plugins into a crate, showing each difference.

    Raises:
        NotFound: no such crate or plugin.
    """
    it = _crate(crate)
    return [crates.write_file(it, name, text)
            for name, text in crates.plugin_sources(plugin, it.name).items()]


def cargo_build(
    crate: CrateMade | Crate | str | Path = ARTICLE,
    *,
    profile: str = "release",
    incremental: bool = False,
    sink: shell.Sink | None = shell.print_line,
) -> BuildResult:
    """`cargo build --release --target wasm32-unknown-unknown`; see `helpers.cargo.build`."""
    return cargo.build(_crate(crate), profile=profile, incremental=incremental, sink=sink)


def size_story(
    crate: CrateMade | Crate | str | Path = ARTICLE, *, sink: shell.Sink | None = None
) -> pd.DataFrame:
    """Build a crate in each profile and set the sizes against a ConfigMap's limit.

    Returns:
        One row a profile, in the order debug, release, tuned. Columns: profile (str), bytes
        (int64), headroom_bytes (int64, what is left of 1,048,576; negative when it does not
        fit), fits_configmap (bool).
    """
    import pandas as pd  # slow to import, and most callers only build

    it = _crate(crate)
    sizes = [cargo.build(it, profile=profile, sink=sink).size for profile in cargo.PROFILES]
    frame = pd.DataFrame({
        "profile": pd.Series(list(cargo.PROFILES), dtype="str"),
        "bytes": pd.Series(sizes, dtype="int64"),
    })
    frame["headroom_bytes"] = CONFIGMAP_LIMIT - frame["bytes"]
    frame["fits_configmap"] = frame["headroom_bytes"] >= 0
    return frame


def _crate(crate: CrateMade | Crate | str | Path) -> Crate:
    return crate.crate if isinstance(crate, CrateMade) else crates.get(crate)
