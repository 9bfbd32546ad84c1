"""Container images without a container engine: a docker-archive, by the standard library.

The format is Docker's image specification v1.2 (moby/moby, image/spec/v1.2.md), "Combined
Image JSON + Filesystem Changeset Format": a tar with manifest.json, a configuration for each
image, and each layer as a tar of its own. containerd takes it with `ctr images import`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Machine names as Go spells them.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of a layer.

    Attributes:
        name: its path without a leading slash.
        source: the file whose bytes it has; None for a folder or for `data`.
        data: its bytes, when there is no source.
        mode: permission bits.
        owner: numeric user and group.
        folder: whether it is a folder.
    """

    name: str
    source: Path | None = None
    data: bytes = b""
    mode: int = 0o644
    owner: int = 0
    folder: bool = False


@dataclass(frozen=True)
class Image:
    """One image of an archive.

    Attributes:
        name: with its tag, such as "localhost/workbook/pause:1".
        layers: tar files, the lowest first.
        entrypoint: the command line that the container runs.
        user: numeric, as "1337:1337"; empty for root.
        env: variables.
        folder: the working directory.
    """

    name: str
    layers: Sequence[Path]
    entrypoint: Sequence[str]
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"


def write_layer(path: Path, entries: Iterable[Entry]) -> Path:
    """Write a layer; the same entries give the same bytes.

    Folders above an entry are made by whoever unpacks it, with mode 755, unless they are
    entries, too.
    """
    partial = path.with_name(path.name + ".partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(entries, key=lambda each: each.name):
            info = tarfile.TarInfo(entry.name)
            info.mode, info.uid, info.gid = entry.mode, entry.owner, entry.owner
            if entry.folder:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif entry.source is not None:
                info.size = entry.source.stat().st_size
                with entry.source.open("rb") as handle:
                    tar.addfile(info, handle)
            else:
                info.size = len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
    partial.replace(path)
    return path


def write_tree(path: Path, root: Path, *, leave_out: Iterable[str] = ()) -> Path:
    """Write a whole root file system as a layer; owners and modes are kept, times are not.

    Args:
        leave_out: folders, without leading slash, whose content is left out.
    """
    out = tuple(f"{name}/" for name in leave_out)
    partial = path.with_name(path.name + ".partial")
    seen: dict[tuple[int, int], str] = {}
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for top, folders, names in os.walk(root):
            folders.sort()
            for name in sorted([*folders, *names]):
                full = Path(top, name)
                inner = full.relative_to(root).as_posix()
                if inner.startswith(out):
                    continue
                info = tar.gettarinfo(str(full), arcname=inner)
                info.mtime, info.uname, info.gname = 0, "", ""
                if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                    continue  # a container gets its own /dev
                if info.type == tarfile.LNKTYPE:
                    # tarfile knows a hard link by what it wrote before, which may be left out.
                    info.type, info.linkname = tarfile.REGTYPE, ""
                    info.size = full.stat().st_size
                found = full.lstat()
                if info.isreg() and found.st_nlink > 1:
                    first = seen.setdefault((found.st_dev, found.st_ino), inner)
                    if first != inner:
                        info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
                if info.isreg():
                    with full.open("rb") as handle:
                        tar.addfile(info, handle)
                else:
                    tar.addfile(info)
    partial.replace(path)
    return path


def write_archive(path: Path, images: Sequence[Image]) -> Path:
    """Write images into one docker-archive; a layer that several share is in it once."""
    partial = path.with_name(path.name + ".partial")
    digests: dict[Path, str] = {}
    manifest: list[dict[str, Any]] = []
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for image in images:
            for layer in image.layers:
                if layer not in digests:
                    digests[layer] = sha256(layer)
                    _add_file(tar, f"{digests[layer]}.tar", layer)
            text = json.dumps(config(image, [digests[layer] for layer in image.layers]),
                              sort_keys=True).encode()
            name = f"{hashlib.sha256(text).hexdigest()}.json"
            _add(tar, name, text)
            manifest.append({"Config": name, "RepoTags": [image.name],
                             "Layers": [f"{digests[layer]}.tar" for layer in image.layers]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    partial.replace(path)
    return path


def config(image: Image, digests: Sequence[str]) -> dict[str, Any]:
    """An image's configuration JSON.

    Args:
        digests: sha256 of each layer's tar, in hex, the lowest first.
    """
    machine = platform.machine()
    variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                 **image.env}
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "User": image.user,
            "WorkingDir": image.folder,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in digests]},
        "history": [{"created_by": "istio-wasm-workbook"} for _ in digests],
    }


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = tarfile.TarInfo(name)
    info.size = path.stat().st_size
    with path.open("rb") as handle:
        tar.addfile(info, handle)
