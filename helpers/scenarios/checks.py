"""What was expected beside what was seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.scenarios.format import (
    ExpectedMessage,
    ExpectedReply,
    Start,
    Step,
    Waited,
)
from helpers.scenarios.seen import Line, Message, Seen
from helpers.scenarios.values import Match, Pairs, readable

_ABSENT = "absent"


@dataclass(frozen=True)
class Check:
    """One expectation.

    Attributes:
        name: its path in the file, such as "steps[0].client.headers.x-user".
        expected, seen: in words.
    """

    name: str
    expected: str
    seen: str
    passed: bool


def of_start(expect: Start, logs: Sequence[Line]) -> Iterator[Check]:
    """Of what a plugin logs while it starts."""
    yield from _logs("expect", expect, logs)


def of_step(number: int, step: Step, seen: Seen) -> Iterator[Check]:
    """Of one step."""
    at = f"steps[{number}]"
    expect = step.expect
    if expect.status is not None:
        yield Check(f"{at}.status", str(expect.status), str(seen.status),
                    seen.status == expect.status)
    if expect.upstream == _ABSENT:
        came = "absent" if seen.upstream is None else "it got the request"
        yield Check(f"{at}.upstream", "absent", came, seen.upstream is None)
    elif isinstance(expect.upstream, ExpectedMessage):
        yield from _message(f"{at}.upstream", expect.upstream, seen.upstream)
    if expect.client is not None:
        yield from _message(f"{at}.client", expect.client, seen.client)
    yield from _reply(at, expect.local_reply, seen)
    if expect.callouts is not None:
        clusters = [each.cluster for each in expect.callouts]
        called = [cluster for cluster, _ in seen.callouts]
        yield Check(f"{at}.callouts", ", ".join(clusters) or "none",
                    ", ".join(called) or "none", clusters == called)
        for index, wanted in enumerate(expect.callouts):
            message = seen.callouts[index][1] if index < len(called) else None
            yield from _message(f"{at}.callouts[{index}]", wanted, message)
    if step.request is not None:
        panics = ", ".join(seen.panics) or "none"
        yield Check(f"{at}.panic", expect.panic or "none", panics,
                    list(seen.panics) == ([expect.panic] if expect.panic else []))
    yield from _logs(at, expect, seen.logs)
    yield from _metrics(at, expect, seen)


def _message(at: str, wanted: ExpectedMessage, seen: Message | None) -> Iterator[Check]:
    for field, match in (("method", wanted.method), ("path", wanted.path)):
        if match is not None:
            yield _one(f"{at}.{field}", match, seen.first(f":{field}") if seen else None)
    yield from _headers(f"{at}.headers", wanted.headers, seen.headers if seen else None)
    if wanted.body is not None:
        yield _one(f"{at}.body", wanted.body, None if seen is None else seen.body)
    if wanted.trailers == _ABSENT:
        trailers = seen.trailers if seen is not None else None
        shown = ", ".join(readable(name) for name, _ in trailers or ()) or "absent"
        yield Check(f"{at}.trailers", "absent", shown, not trailers)
    else:
        yield from _headers(f"{at}.trailers", wanted.trailers, seen.trailers if seen else None)


def _headers(
    at: str, wanted: Sequence[tuple[str, tuple[Match, ...]]], seen: Pairs | None
) -> Iterator[Check]:
    for name, matches in wanted:
        values = [value for key, value in seen or () if key == name.encode()]
        if len(matches) == 1 and matches[0].kind == _ABSENT:
            passed = not values
        else:
            passed = len(values) == len(matches) and all(
                match.fits(value) for match, value in zip(matches, values, strict=True))
        yield Check(f"{at}.{name}", " | ".join(map(str, matches)),
                    " | ".join(map(readable, values)) if values else _ABSENT, passed)


def _one(name: str, match: Match, seen: bytes | None) -> Check:
    return Check(name, str(match) or '""', _ABSENT if seen is None else readable(seen) or '""',
                 match.fits(seen))


def _reply(at: str, wanted: Any, seen: Seen) -> Iterator[Check]:
    reply = seen.reply
    if wanted == _ABSENT:
        shown = _ABSENT if reply is None else f"{reply.status} {reply.details or 'no details'}"
        yield Check(f"{at}.local_reply", _ABSENT, shown, reply is None)
    elif isinstance(wanted, ExpectedReply):
        yield Check(f"{at}.local_reply", "there is one", "there is one" if reply else _ABSENT,
                    reply is not None)
        if wanted.details is not None:
            details = reply.details if reply else None
            yield Check(f"{at}.local_reply.details", f"/{wanted.details}/",
                        _ABSENT if details is None else details or '""',
                        details is not None and bool(re.search(wanted.details, details)))
        if wanted.status is not None:
            yield Check(f"{at}.local_reply.status", str(wanted.status),
                        str(reply.status) if reply else _ABSENT,
                        reply is not None and reply.status == wanted.status)
        if wanted.body is not None:
            yield _one(f"{at}.local_reply.body", wanted.body, reply.body if reply else None)


def _logs(at: str, expect: Start, lines: Sequence[Line]) -> Iterator[Check]:
    begin = 0
    for index, wanted in enumerate(expect.logs):
        for place in range(begin, len(lines)):
            line = lines[place]
            if wanted.level in (None, line.level) and wanted.match.fits(line.text):
                yield Check(f"{at}.logs[{index}]", str(wanted), str(line), True)
                begin = place + 1
                break
        else:
            yield Check(f"{at}.logs[{index}]", str(wanted), _not_there(lines, begin), False)
    for index, pattern in enumerate(expect.no_logs):
        match = Match("matches", pattern.encode())
        found = next((line for line in lines if match.fits(line.text)), None)
        yield Check(f"{at}.no_logs[{index}]", f"no /{pattern}/", str(found or "none"),
                    found is None)


def _not_there(lines: Sequence[Line], begin: int) -> str:
    """The line that stands where the missing one should: all of them are shown below."""
    if begin < len(lines):
        return f"{lines[begin]}"
    return "no line" if not begin else "no further line"


def _metrics(at: str, expect: Waited, seen: Seen) -> Iterator[Check]:
    for name, wanted in expect.metrics.items():
        value = seen.metrics.get(name)
        yield Check(f"{at}.metrics.{name}", str(wanted),
                    _ABSENT if value is None else str(value), value == wanted)
