"""The other plugins of the workbook, each told to do something."""

from __future__ import annotations

import json
from random import Random

from helpers.agreement.cases import CLUSTERS, NAMES, TRAILER_NAMES, Filter, chance, pick, value
from helpers.agreement.settings import Settings, lifecycle, reads, text


def header_logger(choice: Random) -> tuple[Filter, ...]:
    """The article's plugin."""
    level = pick(choice, ("info", "trace", "debug", "warn", "error"))
    return (Filter("header-logger", json.dumps({"log_level": level})),)


def response_headers(choice: Random) -> tuple[Filter, ...]:
    """The plugin that edits responses."""
    return (Filter("response-headers", json.dumps(_changes(choice, NAMES))),)


def trailers(choice: Random) -> tuple[Filter, ...]:
    """The plugin that edits and makes trailers."""
    both = {}
    for side in ("request", "response"):
        both[side] = _changes(choice, TRAILER_NAMES)
        if chance(choice, 60):
            both[side]["create"] = [[pick(choice, TRAILER_NAMES), text(value(choice))]
                                    for _ in range(1 + choice.randrange(3))]
    return (Filter("trailers", json.dumps(both)),)


def body_rewrite(choice: Random) -> tuple[Filter, ...]:
    """The plugin that gathers bodies and replaces words in them."""
    words = ("cat", "a", "hello ", "z", "horse", "\u00e9")
    settings = {side: [{"find": pick(choice, words), "replace": pick(choice, ("dog", "", "aa"))}
                       for _ in range(choice.randrange(3))] for side in ("request", "response")}
    return (Filter("body-rewrite", json.dumps(settings)),)


def gate(choice: Random) -> tuple[Filter, ...]:
    """The plugin that answers by itself."""
    reply: Settings = {"status": pick(choice, (403, 404, 429, 503))}
    if chance(choice, 70):
        reply["body"] = pick(choice, ("keep out", "", "\u00e9"))
    if chance(choice, 50):
        reply["headers"] = {"x-gate": "closed", "content-type": "text/html"}
    if chance(choice, 50):
        reply["details"] = "it is closed"
    settings = {"deny": [{"prefix": pick(choice, ("/admin", "/a", "/")), **reply}]} \
        if chance(choice, 50) else \
        {"replace": [{"when_status": pick(choice, (200, 500, 503, 404)), **reply}]}
    return (Filter("gate", json.dumps(settings)),)


def _vm(choice: Random) -> str:
    """A vm_id that no other chain has: what is shared by vm_id is shared in the whole Envoy."""
    return f"vm{choice.randrange(10**9)}"


def panics(choice: Random) -> tuple[Filter, ...]:
    """A plugin that breaks in one of its callbacks, with others beside it."""
    place = pick(choice, ("header", "every-request", "create_http_context", "request_headers",
                          "request_body", "request_trailers", "response_headers",
                          "response_body", "response_trailers", "on_log", "on_done", "on_delete"))
    broken = Filter("panics", json.dumps({"panic_on": place}), vm_id=_vm(choice),
                    policy=pick(choice, ("closed", "open")))
    found = [broken]
    if chance(choice, 40):
        found.insert(choice.randrange(2), lifecycle(reads(choice)))
    return tuple(found)


def counters(choice: Random) -> tuple[Filter, ...]:
    """Metrics, read back."""
    return (Filter("counters", json.dumps({"prefix": _vm(choice)})),)


def shared_state(choice: Random) -> tuple[Filter, ...]:
    """Shared data and a shared queue."""
    settings: Settings = {"collide": 1 + choice.randrange(3)} if chance(choice, 40) else {}
    return (Filter("shared-state", json.dumps(settings), vm_id=_vm(choice)),)


def callout(choice: Random) -> tuple[Filter, ...]:
    """The plugin that asks a service first."""
    settings: Settings = {"cluster": pick(choice, CLUSTERS)}
    if chance(choice, 50):
        settings["copy"] = [pick(choice, NAMES) for _ in range(1 + choice.randrange(2))]
    if chance(choice, 50):
        settings["send"] = [pick(choice, NAMES) for _ in range(1 + choice.randrange(2))]
    if chance(choice, 30):
        settings["deny_status"] = 401
    return (Filter("callout", json.dumps(settings)),)


def noop(choice: Random) -> tuple[Filter, ...]:
    """The plugin that does nothing."""
    return (Filter("noop"),)


def _changes(choice: Random, names: tuple[str, ...]) -> Settings:
    found: Settings = {"remove": [pick(choice, names) for _ in range(choice.randrange(3))]}
    for op in ("set", "add"):
        found[op] = [[pick(choice, names), text(value(choice))]
                     for _ in range(choice.randrange(3))]
    return found
