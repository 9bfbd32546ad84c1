"""End one part of the running cluster and start it again: faults for tests and for lessons."""

from __future__ import annotations

import json
import time
from pathlib import Path

from helpers.cluster.bare import bring_up, layout, node, parts
from helpers.cluster.bare.api import Api
from helpers.errors import BadInput, NotReady
from helpers.processes import Registry
from helpers.show import Result, duration


def restart(part: str, *, seconds_down: float = 0.0) -> Result:
    """End `part`, leave it away for `seconds_down`, start it again and wait until it works.

    Raises:
        BadInput: there is no such part.
        NotReady: there is no cluster.
        PartFailed: it does not come back.
    """
    where = layout.layout()
    ends = layout.kept_addresses(where)
    registry = Registry(where.home)
    if ends is None:
        raise NotReady("there is no cluster", cause="none was brought up in this clone",
                       fix="./workbook cluster up")
    api = Api(where, ends)
    known = sorted(set(parts.checks(where, registry, api, ends)) - {node.NAME})
    record = registry.get(part) if part in known else None
    if record is None:
        raise BadInput(f"there is no part {part!r}", cause=f"known: {', '.join(known)}",
                       fix="use one of these names")
    begun = time.monotonic()
    registry.stop(part)
    time.sleep(seconds_down)
    node_record = registry.get(node.NAME)
    if node_record is None:
        raise NotReady("the node does not run", cause="it has ended", fix="./workbook cluster up")
    # The very command and environment that it had: what `up` decided stays decided.
    path = json.loads((where.config / "path.json").read_text(encoding="utf-8"))
    registry.start(part, _inside(record.argv, node.first_process(node_record)), orphan=True,
                   log=Path(record.log), env=parts.environment(Path(path)))
    bring_up.wait_part(where, registry, api, ends, part)
    return Result(text=f"{part} was away for {duration(time.monotonic() - begun)}",
                  seconds=time.monotonic() - begun)


def _inside(argv: tuple[str, ...], pid: int) -> list[str]:
    """The recorded command, entering the node that runs now."""
    return node.enter(pid, argv[argv.index("env") + 2:])
