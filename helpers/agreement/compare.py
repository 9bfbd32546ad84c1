"""What differs between two outcomes, after taking away what is Envoy's alone."""

from __future__ import annotations

import re
from dataclasses import replace

from helpers.agreement.hosts import Message, Outcome, Pairs

#: All that is left out of the comparison, and why. Nothing else is.
LEFT_OUT = {
    "date": "the connection manager puts it on each response that has none, behind the filters; "
    "the sandbox has no wall clock of its own",
    "the plugin's name in lines of a root context": "Envoy leaves it out there",
    "the value of x-envoy-upstream-service-time": "it is measured",
    ":scheme, x-envoy-internal and x-envoy-expected-rq-timeout-ms of a callout": "Envoy's client "
    "for callouts adds them behind those that the plugin gave; the sandbox shows what it gave",
}
#: Differences that stay, and why.
KEPT = {
    "a local reply whose :status a plugin takes away": "Envoy sends its own 502 and, behind it, "
    "the body of the first reply as well; the sandbox sends the 502",
    "fd_fdstat_get with a pointer outside of memory": "Envoy says that all went well; the sandbox "
    "says FAULT, so that no wrong pointer passes unseen",
}
_OF_CLIENT = {(b":scheme", b"http"), (b"x-envoy-internal", b"true")}
_LOGGED_DATE = re.compile(rb"^response_headers date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$")
_SERVICE_TIME = re.compile(rb"^(call_headers x-envoy-upstream-service-time: )\d+$")
_DATE = re.compile(rb"^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$")


def differences(sandbox: Outcome, envoy: Outcome) -> list[str]:
    """Each difference as a line; none when they agree."""
    found: list[str] = []

    def say(what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            found.append(f"{what}: sandbox {ours!r}, Envoy {theirs!r}")

    say("state", sandbox.state, envoy.state)
    say("status", sandbox.status, envoy.status)
    say("details", sandbox.details, envoy.details)
    for side in ("upstream", "client"):
        ours: Message | None = getattr(sandbox, side)
        theirs: Message | None = getattr(envoy, side)
        if ours is None or theirs is None:
            say(side, ours, theirs)
            continue
        say(f"{side} headers", ours.headers, _dated(theirs.headers))
        say(f"{side} body", ours.body, theirs.body)
        say(f"{side} trailers", ours.trailers, theirs.trailers)
        say(f"{side} complete", ours.complete, theirs.complete)
    say("callouts", sandbox.callouts, tuple((name, _bare(one)) for name, one in envoy.callouts))
    logs = tuple((level, plugin, _SERVICE_TIME.sub(rb"\g<1>0", text))
                 for level, plugin, text in envoy.logs if not _LOGGED_DATE.match(text))
    for at, (one, other) in enumerate(zip(sandbox.logs, logs, strict=False)):
        if one != other and (other[1] or one[::2] != other[::2]):
            found.append(f"log line {at}: sandbox {one!r}, Envoy {other!r}")
            break
    else:
        say("log lines", sandbox.logs[len(logs):], logs[len(sandbox.logs):])
    return found


def kept(sandbox: Outcome, envoy: Outcome) -> bool:
    """Whether they differ as they may: the first of `KEPT`, the only one that cases can show."""
    return (sandbox.details.startswith("filter_removed_required_response_headers")
            and sandbox.client is not None and envoy.client is not None
            and envoy.client.body != sandbox.client.body
            and envoy.client.body.startswith(sandbox.client.body))


def _dated(headers: Pairs) -> Pairs:
    return tuple(pair for pair in headers if pair[0] != b"date" or not _DATE.match(pair[1]))


def _bare(message: Message) -> Message:
    headers = tuple(pair for pair in message.headers if pair not in _OF_CLIENT
                    and pair[0] != b"x-envoy-expected-rq-timeout-ms")
    return replace(message, headers=headers)
