"""Checks of the computer itself: Python, disk, memory, ports, the clone's place."""

from __future__ import annotations

import platform
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path

import psutil

from helpers import paths
from helpers.doctor.finding import Finding
from helpers.setup import places

_GIB = 1024**3
#: Environment, Wasm std and build cache of a first set-up, with room to work.
DISK_WANTED = 3 * _GIB
#: What a set-up workbook still writes: builds, logs, reports.
DISK_LEAST = _GIB // 2
MEMORY_WANTED = 3 * _GIB // 2
MEMORY_LEAST = _GIB // 2
_PORTS = 6


def python(prefix: Path | None = None) -> list[Finding]:
    """Is this the workbook's own environment, and one that Envoy's and wasmtime's builds fit?

    Args:
        prefix: where this Python's packages lie; another one for tests.
    """
    bits = struct.calcsize("P") * 8
    where = prefix or Path(sys.prefix)
    found = (
        f"{platform.python_implementation()} {platform.python_version()}, {bits} bit, "
        f"{paths.shown(where)}"
    )
    if bits != 64:
        return [Finding("Python", "fail", found, "use a 64-bit Python: Envoy has no other build")]
    if where.resolve() != places.VENV.resolve():
        return [
            Finding(
                "Python",
                "warn",
                f"{found}: not the environment that ./workbook made",
                "open the notebooks with ./workbook lab, which chooses the right kernel",
            )
        ]
    return [Finding("Python", "ok", found)]


def disk(folder: Path | None = None) -> list[Finding]:
    """Is there room where the workbook keeps its things?"""
    place = _existing(folder or paths.HOME)
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {paths.shown(place)}"
    fix = "free space there, or move the clone to a larger disk; ./workbook clean removes state"
    if free < DISK_LEAST:
        return [Finding("disk", "fail", found, fix)]
    if free < DISK_WANTED:
        return [Finding("disk", "warn", f"{found}; a first set-up takes up to 3 GiB", fix)]
    return [Finding("disk", "ok", found)]


def memory() -> list[Finding]:
    """Is there memory for Envoy, JupyterLab and a Rust build?"""
    seen = psutil.virtual_memory()
    found = f"{seen.available / _GIB:.1f} GiB available of {seen.total / _GIB:.1f} GiB"
    fix = "close other programs: a Rust build and JupyterLab together want about 1.5 GiB"
    if seen.available < MEMORY_LEAST:
        return [Finding("memory", "fail", found, fix)]
    if seen.available < MEMORY_WANTED:
        return [Finding("memory", "warn", found, fix)]
    return [Finding("memory", "ok", found)]


def ports() -> list[Finding]:
    """Can programs of this computer listen on loopback and reach each other there?"""
    fix = "allow local programs to listen on 127.0.0.1 (firewall, sandbox, container settings)"
    listeners: list[socket.socket] = []
    try:
        for _ in range(_PORTS):
            listeners.append(socket.create_server(("127.0.0.1", 0)))
        with socket.create_connection(listeners[0].getsockname(), timeout=5):
            pass
    except OSError as error:
        return [Finding("ports on 127.0.0.1", "fail", f"{type(error).__name__}: {error}", fix)]
    finally:
        for listener in listeners:
            listener.close()
    return [Finding("ports on 127.0.0.1", "ok", f"{_PORTS} free ports bound, one connected to")]


def clone() -> list[Finding]:
    """Where is the clone, and may we write there?"""
    where = str(paths.ROOT)
    found = []
    if not where.isascii():
        found.append("has letters outside ASCII")
    if " " in where:
        found.append("has spaces")
    if sys.platform == "win32" and len(where) > 80:
        found.append("is long: cargo's paths may pass Windows' limit of 260")
    remark = f" (the path {', '.join(found)})" if found else ""
    for folder in (paths.HOME, paths.workspace()):
        place = _existing(folder)
        try:
            with tempfile.NamedTemporaryFile(dir=place):
                pass
        except OSError as error:
            return [
                Finding(
                    "clone",
                    "fail",
                    f"{where}{remark}: cannot write to {place}: {error.strerror}",
                    "make the folder yours, or clone into a folder that is",
                )
            ]
    return [Finding("clone", "ok", f"{where}{remark}, may be written to")]


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
