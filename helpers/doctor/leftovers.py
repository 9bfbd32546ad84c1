"""Checks of what earlier work left behind: state folders, processes, locks."""

from __future__ import annotations

import os
from pathlib import Path

import filelock
import psutil

from helpers import files, paths
from helpers.doctor.finding import Finding
from helpers.ending import programs_in
from helpers.errors import BadState
from helpers.mesh.local import objects
from helpers.mesh.local.events import Events
from helpers.mesh.local.pods import Pods
from helpers.processes import Registry
from helpers.setup import places


def states() -> list[Finding]:
    """Can each state folder be read?"""
    found: list[Finding] = []
    for folder in places.all_states():
        try:
            Registry(folder).all()
            pods = Pods(folder)
            for pod in pods.all():
                pods.bound_ports(pod)
            Events(folder).all()
            _objects(folder)
        except (BadState, OSError) as error:
            what = error.what if isinstance(error, BadState) else str(error)
            found.append(
                Finding(
                    "state",
                    "fail",
                    what,
                    "./workbook clean sets damaged state aside and starts afresh",
                )
            )
    if found:
        return found
    return [Finding("state", "ok", ", ".join(map(paths.shown, places.all_states())) or "none yet")]


def processes() -> list[Finding]:
    """What runs for a state folder, and what runs that no record knows."""
    said: list[str] = []
    ended: list[str] = []
    known: set[int] = set()
    places_found = places.all_states()
    for folder in places_found:
        try:
            records = Registry(folder).all()
        except BadState:  # `states` reports it
            continue
        alive = [record for record in records if record.alive()]
        known |= {record.pid for record in alive}
        if alive:
            said.append(f"{len(alive)} run for {paths.shown(folder)}")
        ended += [
            f"{record.name} of {paths.shown(folder)}" for record in records if record not in alive
        ]
    lost = strays(places_found, known)
    if lost:
        named = ", ".join(f"{process.pid}" for process in lost)
        return [
            Finding("processes", "warn", f"in no record: pid {named}", "./workbook clean ends them")
        ]
    if ended:
        return [
            Finding(
                "processes",
                "warn",
                f"ended unexpectedly: {', '.join(ended)}",
                "open_mesh() starts them again, or ./workbook clean forgets them",
            )
        ]
    return [Finding("processes", "ok", "; ".join(said) or "none left over")]


def strays(states_: list[Path], known: set[int]) -> list[psutil.Process]:
    """Programs of our environment that work in a state folder and are in no record."""
    family = {os.getpid(), *known}
    found: list[psutil.Process] = []
    for process in programs_in(states_, places.VENV):
        try:
            if process.pid not in family and process.ppid() not in family:
                found.append(process)
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
    return found


def locks() -> list[Finding]:
    """Which locks are held now, and by whom where that is known."""
    held: list[str] = []
    candidates = [places.HOME / "run.lock", places.HOME / "lab.lock"]
    names = ("mesh.lock", "objects.lock")
    candidates += [folder / name for folder in places.all_states() for name in names]
    for path in candidates:
        if path.is_file() and _held(path):
            pid = path.with_suffix(".pid")
            owner = f" by pid {pid.read_text('ascii').strip()}" if pid.is_file() else ""
            held.append(f"{paths.shown(path)}{owner}")
    if held:
        return [
            Finding(
                "locks",
                "warn",
                f"held: {', '.join(held)}",
                "another notebook or ./workbook command is at work: let it finish",
            )
        ]
    return [Finding("locks", "ok", "none held")]


def _held(path: Path) -> bool:
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    lock.release()
    return False


def _objects(folder: Path) -> None:
    # By its files: a Store would make what is not there.
    for path in (folder / "objects").rglob("*.json"):
        files.read_json(path, version=objects.SCHEMA)
