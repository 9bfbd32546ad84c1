"""Pristine notebooks: learners edit notebooks/ in place, and can have any of them back."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from helpers import files
from helpers.errors import BadInput, NotFound
from helpers.setup import places


def all_notebooks(folder: Path | None = None) -> list[Path]:
    """The numbered notebooks, in their order."""
    return sorted((folder or places.NOTEBOOKS).glob("[0-9][0-9]_*.ipynb"))


def keep_pristine() -> None:
    """Copy the notebooks that have no pristine copy yet; `reset` uses it where git is missing."""
    places.PRISTINE.mkdir(parents=True, exist_ok=True)
    for notebook in all_notebooks():
        if not (places.PRISTINE / notebook.name).exists():
            files.write_atomic(places.PRISTINE / notebook.name, notebook.read_bytes())


def reset(number: str) -> str:
    """Bring back notebook `number` ("5" or "05"); the old one goes to notebooks/aside/.

    The committed notebook is preferred to the copy made at set-up: it is as new as the clone.

    Returns:
        A sentence that says what was done.

    Raises:
        BadInput: `number` is no number of a notebook.
        NotFound: there is neither a committed notebook nor a pristine copy.
    """
    if not (number.isascii() and number.isdecimal()):
        raise BadInput(f"{number!r} is no notebook's number", fix="such as: ./workbook reset 05")
    names = sorted({path.name for folder in (places.NOTEBOOKS, places.PRISTINE)
                    for path in all_notebooks(folder)} | set(_committed_names()))
    wanted = [name for name in names if name.startswith(f"{int(number):02d}_")]
    if not wanted:
        raise BadInput(
            f"there is no notebook {number}",
            fix="one of: " + (", ".join(name[:2] for name in names) or "none is in this clone"),
        )
    name = wanted[0]
    data, source = _committed(name), "the commit that this clone is at"
    if data is None:
        copy = places.PRISTINE / name
        if not copy.exists():
            raise NotFound(
                f"no pristine copy of {name} is left",
                cause="git cannot show it, and set-up has made no copy",
                fix="get the notebook from where you got this clone",
            )
        data, source = copy.read_bytes(), "the copy made at set-up"
    target = places.NOTEBOOKS / name
    kept = ""
    if target.exists():
        if target.read_bytes() == data:
            return f"{name} is pristine already: nothing to do"
        kept = f"; yours is kept as {_set_aside(target).relative_to(places.ROOT).as_posix()}"
    files.write_atomic(target, data)
    return f"{name} is back from {source}{kept}"


def _set_aside(path: Path) -> Path:
    folder = path.parent / "aside"
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for again in range(1000):
        more = f"-{again}" if again else ""
        kept = folder / f"{path.stem}.{stamp}{more}.ipynb"
        try:
            with kept.open("xb") as handle:  # never over an earlier one of the same second
                handle.write(path.read_bytes())
        except FileExistsError:
            continue
        return kept
    raise FileExistsError(17, "a thousand copies of one second", str(folder))


def _git(*words: str) -> bytes | None:
    """What git prints, or None where it is not installed or this is no repository."""
    if shutil.which("git") is None or not (places.ROOT / ".git").exists():
        return None
    done = subprocess.run(
        ["git", "-C", str(places.ROOT), *words], stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )
    return done.stdout if done.returncode == 0 else None


def _committed(name: str) -> bytes | None:
    return _git("show", f"HEAD:./notebooks/{name}")


def _committed_names() -> list[str]:
    listed = _git("ls-tree", "--name-only", "-z", "HEAD", "notebooks/") or b""
    paths = [Path(item) for item in listed.decode("utf-8", "replace").split("\0") if item]
    return [path.name for path in paths if path.suffix == ".ipynb" and path.name[:2].isdecimal()]
