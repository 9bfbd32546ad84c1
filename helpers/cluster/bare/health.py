"""`workbook cluster status`: the health of each part, and what to do about each that is ill."""

from __future__ import annotations

import time

import psutil

from helpers import paths
from helpers.cluster.bare import istio, layout, node, parts
from helpers.cluster.bare.api import Api
from helpers.cluster.bare.layout import Layout
from helpers.processes import Registry
from helpers.show import TableResult, table

_COLUMNS = ("PART", "STATE", "PID", "MB", "FOR", "WHAT IT SAYS")


def status(where: Layout | None = None) -> TableResult:
    """Look at each part.

    Returns:
        Columns PART, STATE ("works", "ill" or "-"), PID, MB (resident), FOR (how long it
        runs), WHAT IT SAYS. `extra["healthy"]` is whether all of them work.
    """
    where = where or layout.layout()
    registry = Registry(where.home)
    ends = layout.kept_addresses(where)
    if ends is None:
        return table(_COLUMNS, (), empty="there is no cluster: ./workbook cluster up makes one",
                     extra={"healthy": False})
    api = Api(where, ends)
    rows = []
    for name, ask in parts.checks(where, registry, api, ends).items():
        problem = ask()
        rows.append((name, "ill" if problem else "works", *_process(registry, name),
                     problem or ""))
    problem = istio.problem(api)
    rows.append(("istiod", "ill" if problem else "works", "-", "-", "-", problem))
    healthy = not any(row[1] == "ill" for row in rows)
    notes = [f"KUBECONFIG={paths.shown(where.kubeconfig)}, server {ends.api}"]
    if not healthy:
        notes.append(f"each part's log lies in {paths.shown(where.logs)}; ./workbook cluster up "
                     "starts what has ended, ./workbook cluster down removes everything")
    return table(_COLUMNS, rows, notes=tuple(notes), extra={"healthy": healthy})


def _process(registry: Registry, name: str) -> tuple[object, object, object]:
    record = registry.get(name)
    process = record.process() if record is not None else None
    if process is None:
        return "-", "-", "-"
    try:
        family = [process, *process.children(recursive=name != node.NAME)]
        # The first is nsenter, which only waits; the program is its child.
        own = family[-1] if name != node.NAME else process
        megabytes = round(sum(each.memory_info().rss for each in family) / 1e6)
        minutes = (time.time() - own.create_time()) / 60
    except psutil.NoSuchProcess:
        return "-", "-", "-"
    return own.pid, megabytes, f"{minutes:.0f} min"
