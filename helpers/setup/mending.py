"""After an installer was killed: find packages of which only a part is there.

pip believes what a package's metadata says. When it was killed between the metadata and the
files, it would call a broken package satisfied for ever. So each file that a package lists
in its RECORD is compared with its hash, and a package that fails loses its metadata: the
installer then writes it again, and only it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import shutil
from pathlib import Path


def forget_half_installed(site: Path) -> list[str]:
    """Remove the metadata of damaged packages in `site`; their names, sorted."""
    damaged = [info for info in sorted(site.glob("*.dist-info")) if not whole(info)]
    for info in damaged:
        shutil.rmtree(info)
    # pip renames what it replaces to ~name and removes it at the end; a kill leaves it there.
    for rest in site.glob("~*"):
        if rest.is_dir():
            shutil.rmtree(rest)
        else:
            rest.unlink()
    return [info.name.split("-")[0] for info in damaged]


def whole(info: Path) -> bool:
    """Whether every file listed in the RECORD of the folder `info` is there, unchanged."""
    if not (info / "METADATA").is_file():
        return False
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as handle:
            rows = [row for row in csv.reader(handle) if row]
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return False
    if not rows:
        return False
    for name, digest, *_ in (row if len(row) > 1 else [row[0], ""] for row in rows):
        if not digest:  # RECORD itself and compiled files have none
            continue
        path = info.parent / name
        try:
            method, _, wanted = digest.partition("=")
            with path.open("rb") as data:
                found = hashlib.file_digest(data, method).digest()
        except (OSError, ValueError):
            return False
        if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != wanted:
            return False
    return True
