"""The sandbox's trace beside Envoy's own.

At `wasm:trace` Envoy writes a line when it enters the VM and one when it is back, and the same
for each call that the VM makes (proxy-wasm-cpp-host, include/proxy-wasm/wasm_vm.h):

    [host->vm] proxy_on_request_headers(2, 8, 1)
    [vm->host] env.proxy_log(2, 1114736, 24)
    [vm<-host] env.proxy_log return: 0
    [host<-vm] proxy_on_request_headers return: 0
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from helpers.sandbox.records import Call
from helpers.sandbox.view import arguments, result
from helpers.show import TableResult, table

if TYPE_CHECKING:
    import pandas as pd

    from helpers.sandbox.exchange import Exchange

_LINE = re.compile(
    r"\[(?P<who>host->vm|host<-vm|vm->host|vm<-host)\] (?P<name>[\w.]+?)"
    r"(?:\((?P<args>[^)]*)\)| return: (?P<back>.*))$")
_NONE = "-"
_WIDE = 34
_HEADINGS = ("WHO CALLS", "CALL", "IN THE SANDBOX", "IN ENVOY")


@dataclass
class EnvoyCall:
    """One crossing of the border as Envoy's log has it.

    Attributes:
        direction: "guest" for a call into the VM, "host" for one out of it.
        name: without the name of the import's module.
        arguments: the bare numbers.
        result: what came back; empty when no line says so, as after a trap.
        thread: Envoy's thread.
    """

    direction: str
    name: str
    arguments: str
    thread: str
    result: str = ""


@dataclass(frozen=True, kw_only=True)
class Beside(TableResult):
    """Two traces side by side.

    Attributes:
        same: how many crossings both have, in the same order.
        only_envoy, only_sandbox: the names of those that one of them has.
    """

    same: int
    only_envoy: tuple[str, ...]
    only_sandbox: tuple[str, ...]


def envoy_calls(log: pd.DataFrame) -> list[EnvoyCall]:
    """The crossings in a sidecar's log, in the order in which they began.

    Args:
        log: what `helpers.logs.parse` returned, of a time with the level `wasm:trace`.
    """
    found: list[EnvoyCall] = []
    open_calls: dict[tuple[str, str, str], list[EnvoyCall]] = {}
    # An access-log line has neither text nor thread.
    for text, thread in zip(log["text"], log["thread"], strict=True):
        match = _LINE.match(text) if isinstance(text, str) else None
        if match is None:
            continue
        direction = "guest" if match["who"] in ("host->vm", "host<-vm") else "host"
        name = match["name"].rpartition(".")[2]
        waiting = open_calls.setdefault((str(thread), direction, name), [])
        if match["back"] is None:
            call = EnvoyCall(direction, name, match["args"] or "", str(thread))
            found.append(call)
            waiting.append(call)
        elif waiting:
            waiting.pop().result = match["back"].strip()
    return found


def beside_envoy(exchange: Exchange, log: pd.DataFrame) -> Beside:
    """An exchange's trace beside what Envoy logged for the same request and module.

    Args:
        log: as for `envoy_calls`, of that one request.
    """
    ours, theirs = exchange.trace, envoy_calls(log)
    rows: list[tuple[str, str, str, str]] = []
    same = 0
    only: tuple[list[str], list[str]] = ([], [])
    matcher = SequenceMatcher(None, [(one.direction, one.name) for one in ours],
                              [(one.direction, one.name) for one in theirs], autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            same += j - i
            rows += [_row(one, one.direction, _ours(one), _theirs(other))
                     for one, other in zip(ours[i:j], theirs[k:m], strict=True)]
            continue
        for one in ours[i:j]:
            only[1].append(one.name)
            rows.append(_row(one, one.direction, _ours(one), _NONE))
        for other in theirs[k:m]:
            only[0].append(other.name)
            rows.append(_row(other, other.direction, _NONE, _theirs(other)))
    shown = table(_HEADINGS, rows)
    return Beside(columns=shown.columns, rows=shown.rows, text=shown.text, same=same,
                  only_envoy=tuple(only[0]), only_sandbox=tuple(only[1]))


def threads(calls: Sequence[EnvoyCall], name: str) -> dict[str, int]:
    """How often each of Envoy's threads made a call."""
    found: dict[str, int] = {}
    for call in calls:
        if call.name == name:
            found[call.thread] = found.get(call.thread, 0) + 1
    return found


def _row(call: Call | EnvoyCall, direction: str, ours: str,
         theirs: str) -> tuple[str, str, str, str]:
    indent = "" if direction == "guest" else "  "
    return ("host" if direction == "guest" else "VM", indent + call.name, ours, theirs)


def _ours(call: Call) -> str:
    given = arguments(call)
    given = given if len(given) <= _WIDE else given[: _WIDE - 1] + "…"
    back = result(call)
    return f"({given})" + (f" = {back}" if back else "")


def _theirs(call: EnvoyCall) -> str:
    back = "" if call.result == "void" else f" = {call.result or 'nothing: a trap'}"
    return f"({call.arguments}){back}"
