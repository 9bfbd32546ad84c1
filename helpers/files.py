"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.errors import BadState, WorkbookError


class DiskProblem(WorkbookError):
    """The disk is full or does not let us write; what was there before is unchanged."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to make or write `path` into a `DiskProblem` that names it."""
    try:
        yield
    except TimeoutError:  # a lock that somebody else holds is no trouble with the disk
        raise
    except OSError as error:
        raise DiskProblem(
            f"could not write {path}: {error.strerror or error}",
            cause="the disk is full, read-only, or this user may not write there",
            fix="free space or mend the permission, then run the cell again: "
            "what was there before is unchanged",
        ) from error


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` beside `path` and rename it over `path`.

    A reader sees the old content or the new one, never a part. When the disk is full the
    old file stays as it was and the temporary file is removed.

    Raises:
        DiskProblem: no space, no permission, or a read-only file system.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary: str | None = None
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(descriptor, "wb") as handle:
                if hasattr(os, "fchmod"):  # mkstemp gives 0600; what we write is no secret
                    os.fchmod(handle.fileno(), 0o644)
                handle.write(raw)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - the atomic rename is the point
            temporary = None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108 - pairs with mkstemp


def write_json(path: Path, document: Any, *, version: int) -> None:
    """Write `document` atomically, wrapped with the schema `version` of its writer."""
    write_atomic(path, json.dumps({"version": version, "data": document}, indent=1) + "\n")


def write_json_plain(path: Path, document: Any) -> bool:
    """Write `document` atomically as bare JSON, unless the file holds just that already.

    Returns:
        Whether the file was replaced.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    write_atomic(path, text)
    return True


def damaged(path: Path, cause: str = "its content is not what the workbook writes") -> BadState:
    """The error for a state file that cannot be understood; the file is left as it is."""
    return BadState(
        f"{path} is damaged and cannot be read",
        cause=cause,
        fix="run `./workbook clean`: it sets the damaged state aside and starts afresh",
    )


def read_json(path: Path, *, version: int) -> Any:
    """Read what `write_json` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        BadState: the file is damaged or has another schema version; it is left untouched.
    """
    try:
        wrapped = json.loads(path.read_text(encoding="utf-8"))
        found = wrapped["version"]
        data = wrapped["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, "it was cut short (power, disk full) or edited by hand") from error
    if found != version:
        raise BadState(
            f"{path} was written by another version of the workbook "
            f"(its schema {found}, ours {version})",
            cause="the clone was updated while old state was kept",
            fix="run `./workbook clean`: the mesh starts afresh; your workspace is kept",
        )
    return data
