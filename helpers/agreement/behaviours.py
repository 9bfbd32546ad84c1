"""Plugins at work: what they are told to do, by kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from helpers.agreement import others, raw
from helpers.agreement.cases import CLUSTERS, NAMES, TRAILER_NAMES, Filter, chance, pick, value
from helpers.agreement.settings import Settings, lifecycle, reads, text

PLACES = ("request_headers", "request_body", "request_trailers",
          "response_headers", "response_body", "response_trailers")


def edit(choice: Random, where: str, at: str | None = None) -> Settings:
    """One edit of lifecycle."""
    made: Settings = {"where": where}
    if at is not None and at != where:
        made["at"] = at
    if where.endswith("body"):
        made["op"] = pick(choice, ("append", "prepend", "replace", "splice"))
        made["value"] = text(pick(choice, (b"NEW", b"", b"\xff\x00", b"<" * 50)))
        if made["op"] == "splice":
            made["start"] = pick(choice, (0, 1, 2, 100))
            made["size"] = pick(choice, (0, 1, 2, 100))
        if chance(choice, 40):
            made["at_end"] = True
        return made
    names = TRAILER_NAMES if where.endswith("trailers") else NAMES
    made["op"] = pick(choice, ("add", "replace", "remove", "set"))
    if made["op"] == "set":
        made["pairs"] = [*_pseudo(where),
                         *([pick(choice, names), text(value(choice))]
                           for _ in range(choice.randrange(4)))]
        return made
    made["name"] = pick(choice, names)
    if chance(choice, 10):
        made["name"] = made["name"].upper()
    if made["op"] != "remove":
        made["value"] = text(value(choice))
    return made


def _pseudo(where: str) -> list[list[str]]:
    if where == "request_headers":
        return [[":method", "GET"], [":path", "/set"], [":scheme", "http"], [":authority", "set"]]
    return [[":status", "200"]] if where == "response_headers" else []


def edits(choice: Random) -> tuple[Filter, ...]:
    """Edits, each in the callback that it belongs to."""
    found = [edit(choice, pick(choice, PLACES)) for _ in range(1 + choice.randrange(5))]
    return (lifecycle({"edits": found, **reads(choice)}),)


def late_edits(choice: Random) -> tuple[Filter, ...]:
    """Edits in any callback at all, and reads of everything everywhere."""
    places = (*PLACES, "on_log", "on_done")
    found = [edit(choice, pick(choice, PLACES), pick(choice, places))
             for _ in range(1 + choice.randrange(5))]
    return (lifecycle({"edits": found, "read": "all"}),)


def pauses(choice: Random) -> tuple[Filter, ...]:
    """Pauses at bodies and others.trailers, gathered bodies, edits of what was gathered."""
    settings: Settings = reads(choice)
    if chance(choice, 60):
        settings["pause_body"] = True
    paused = [pick(choice, PLACES)] if chance(choice, 50) else []
    if chance(choice, 30):
        settings["resume_at"] = place = pick(choice, PLACES)
        if place not in ("request_body", "request_trailers"):
            paused.append(place)  # or Envoy 1.40 would send twice, or end
    settings["pause"] = paused
    settings["edits"] = [edit(choice, pick(choice, PLACES)) for _ in range(choice.randrange(3))]
    return (lifecycle(settings),)


def replies(choice: Random) -> tuple[Filter, ...]:
    """A local reply in one of the callbacks."""
    reply: Settings = {"status": pick(choice, (403, 200, 429, 500, 503, 204, 301))}
    if chance(choice, 60):
        reply["body"] = text(pick(choice, (b"keep out", b"", b"\xff\xfe", b"{}", b"x" * 3000)))
    if chance(choice, 60):
        reply["details"] = pick(choice, ("closed", "two words", "", "a\u00e9"))
    if chance(choice, 60):
        reply["headers"] = [[pick(choice, NAMES), text(value(choice))]
                            for _ in range(choice.randrange(4))]
    if chance(choice, 30):
        reply["grpc_status"] = pick(choice, (0, 7, 16, 17, -1, 100))
    settings: Settings = {"local_reply_at": pick(choice, PLACES), "local_reply": reply,
                          **reads(choice)}
    settings["edits"] = [edit(choice, pick(choice, PLACES)) for _ in range(choice.randrange(3))]
    if chance(choice, 30):
        settings["pause_body"] = True
    return (lifecycle(settings),)


def callouts(choice: Random) -> tuple[Filter, ...]:
    """A others.callout, and what its answer leads to."""
    at = pick(choice, PLACES)
    call: Settings = {"at": at, "cluster": pick(choice, (*CLUSTERS, "unknown")),
                      "then": pick(choice, ("resume", "reply", "nothing"))}
    if chance(choice, 50):
        call["body"] = pick(choice, ("ask", ""))
    if chance(choice, 30):
        call["headers"] = [[":method", "POST"], [":path", "/c"], [":authority", "c"],
                           ["x-a", "1"], ["x-a", "2"]]
    settings: Settings = {"callout": call, **reads(choice)}
    settings["edits"] = [edit(choice, pick(choice, PLACES)) for _ in range(choice.randrange(3))]
    return (lifecycle(settings),)


def closes(choice: Random) -> tuple[Filter, ...]:
    """The stream is closed in one of the callbacks."""
    place = pick(choice, PLACES)
    settings: Settings = {"close_at": place, **reads(choice)}
    if place == "response_trailers":
        settings["pause"] = [place]  # or Envoy 1.40 ends with a segmentation fault
    return (lifecycle(settings),)


def routing(choice: Random) -> tuple[Filter, ...]:
    """Edits that the router or the connection manager looks at."""
    names = (":path", ":method", ":authority", ":scheme", "host", "x-forwarded-proto", "x a", "",
             "x:y", ":other", "te", "connection", "content-type", "x-envoy-other")
    values = ("", "/", "/new?x", "x", "POST", "G T", "https", "ftp", "a\nb", "\u0001", "\u007f",
              "gr\u00fc\u00dfe", "application/grpc")
    found: list[Settings] = []
    for _ in range(1 + choice.randrange(3)):
        one: Settings = {"where": "request_headers", "name": pick(choice, names),
                         "op": pick(choice, ("replace", "remove", "add"))}
        if one["op"] != "remove":
            one["value"] = pick(choice, values)
        found.append(one)
    if chance(choice, 40):
        found.append({"where": "response_headers", "name": ":status",
                      "op": pick(choice, ("replace", "remove", "add")),
                      "value": pick(choice, ("404", "", "abc", "299", "-1"))})
    for name in ("connection", "keep-alive", "transfer-encoding", "te", "upgrade", "x a"):
        if chance(choice, 20):
            found.append({"where": "response_headers", "op": "add", "name": name, "value": "x"})
    return (lifecycle({"edits": found, **reads(choice)}),)


PROPERTIES = (
    "request", "request.path", "request.url_path", "request.host", "request.scheme",
    "request.method", "request.headers.x-a", "request.headers.X-A", "request.headers.none",
    "request.headers.cookie", "request.referer", "request.useragent", "request.id",
    "request.protocol", "request.query", "request.size", "request.total_size", "request.none",
    "request.path.x", "request.headers_bytes", "response", "response.code",
    "response.code_details", "response.flags", "response.grpc_status", "response.headers.x-a",
    "response.headers.:status", "response.trailers.x-t", "response.size", "response.none",
    "source", "destination", "connection", "connection.mtls", "connection.tls_version",
    "connection.requested_server_name", "metadata", "metadata.filter_metadata",
    "metadata.filter_metadata.x", "filter_state", "filter_state.x", "plugin_name",
    "plugin_root_id", "plugin_vm_id", "plugin_name.x", "node", "node.id", "node.metadata.NAME",
    "xds", "xds.node.id", "xds.node.cluster", "xds.node.metadata.NAME",
    "xds.node.metadata.LABELS.app", "xds.node.metadata.none", "cluster_name", "route_name",
    "listener_direction", "none", "", "a.b", "mine", "mine.x",
)


def properties(choice: Random) -> tuple[Filter, ...]:
    """Reads of properties in all callbacks, and one that is set."""
    wanted = [pick(choice, PROPERTIES) for _ in range(3 + choice.randrange(8))]
    places = (*PLACES, "on_log", "on_done")
    seen = lifecycle({"properties": wanted, "most_bytes": 400,
                      "properties_at": [pick(choice, places) for _ in range(4)],
                      "edits": [edit(choice, pick(choice, PLACES))] if chance(choice, 30) else []})
    if not chance(choice, 40):
        return (seen,)
    setting = {"set": [[pick(choice, ("mine", "request", "plugin_name", "mine.x", "none")),
                        text(value(choice))]],
               "read": [pick(choice, PROPERTIES) for _ in range(4)],
               "at": ["request_headers", "response_headers", "on_log"]}
    return (Filter("properties", json.dumps(setting)), seen)


def chain(choice: Random) -> tuple[Filter, ...]:
    """Two or three plugins."""
    kinds = (edits, late_edits, pauses, replies, callouts, properties, routing,
             others.header_logger, others.response_headers, others.trailers,
             others.body_rewrite, others.gate, others.noop)
    return tuple(one for _ in range(2 + chance(choice, 20)) for one in pick(choice, kinds)(choice))


KINDS: dict[str, Callable[[Random], tuple[Filter, ...]]] = {
    "edits": edits, "late edits": late_edits, "pauses": pauses, "local replies": replies,
    "callouts": callouts, "closed streams": closes, "header-logger": others.header_logger,
    "response-headers": others.response_headers, "trailers": others.trailers,
    "body-rewrite": others.body_rewrite, "gate": others.gate, "routing": routing,
    "properties": properties, "panics": others.panics, "counters": others.counters,
    "shared-state": others.shared_state, "callout": others.callout, "noop": others.noop,
    "host calls": raw.host_calls, "chains": chain,
}
