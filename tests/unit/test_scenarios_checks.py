"""A check passes when what was seen is what was expected, and else shows both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import scenarios
from helpers.errors import BadInput, NotFound
from helpers.scenarios import Outcome, Scenario, checks, on_sandbox
from helpers.scenarios.format import Request, Step
from helpers.scenarios.reading import parse
from helpers.scenarios.seen import Line, Message, Reply, Seen

SEEN = Seen(
    status=200,
    upstream=Message(
        ((b":method", b"POST"), (b":path", b"/a"), (b"x-one", b"1"), (b"x-two", b"a"),
         (b"x-two", b"b")), b"onetwo", ((b"x-sum", b"6"),)),
    client=Message(((b":status", b"200"), (b"x-odd", b"Y\xa1")), b"done"),
    logs=(Line("info", b"first"), Line("debug", b"second Y\xa1"), Line("info", b"third")),
    reply=Reply("my_reason", 200, b"done"),
    callouts=(("auth", Message(((b":path", b"/check"),), b"ask")),),
    metrics={"requests": 2},
)


def scenario(text: str) -> Scenario:
    (found,) = parse(yaml.safe_load(f"scenarios: [{{name: demo, {text}}}]"), "f.yaml", "plug")
    return found


def checked(expect: str, seen: Seen = SEEN) -> list[checks.Check]:
    step = scenario(f"steps: [{{request: {{}}, expect: {{{expect}}}}}]").steps[0]
    return list(checks.of_step(0, step, seen))


@pytest.mark.parametrize(
    "expect",
    [
        "status: 200",
        "upstream: {method: POST, path: {matches: ^/}, body: onetwo, trailers: {x-sum: '6'}}",
        "upstream: {headers: {x-one: '1', x-two: [a, {matches: b}], x-three: absent}}",
        "client: {headers: {x-odd: {hex: 59a1}}, body: {matches: ne$}, trailers: absent}",
        "client: {trailers: {x-sum: absent}}",
        "logs: [{text: first}, {level: info, text: third}]",
        "logs: [{level: debug, matches: ^second Y.$}]",
        "logs: [{text: {hex: 7365636f6e642059a1}}]",
        "no_logs: [fourth, ^econd]",
        "local_reply: {details: ^my_reason$, status: 200, body: done}",
        "metrics: {requests: 2}",
        "callouts: [{cluster: auth, path: /check, body: ask}]",
    ],
)
def test_what_was_seen_passes(expect: str) -> None:
    assert all(check.passed for check in checked(expect))


@pytest.mark.parametrize(
    ("expect", "name", "expected", "seen"),
    [
        ("status: 404", "status", "404", "200"),
        ("status: paused", "status", "paused", "200"),
        ("upstream: absent", "upstream", "absent", "it got the request"),
        ("upstream: {method: GET}", "upstream.method", "GET", "POST"),
        ("upstream: {headers: {x-one: '2'}}", "upstream.headers.x-one", "2", "1"),
        ("upstream: {headers: {x-one: absent}}", "upstream.headers.x-one", "absent", "1"),
        ("upstream: {headers: {x-two: a}}", "upstream.headers.x-two", "a", "a | b"),
        ("upstream: {headers: {x-two: [b, a]}}", "upstream.headers.x-two", "b | a", "a | b"),
        ("upstream: {headers: {x-no: {matches: .}}}", "upstream.headers.x-no", "/./", "absent"),
        ("upstream: {body: one}", "upstream.body", "one", "onetwo"),
        ("upstream: {trailers: absent}", "upstream.trailers", "absent", "x-sum"),
        ("client: {headers: {x-odd: Y}}", "client.headers.x-odd", "Y", "Y\\xa1"),
        ("client: {trailers: {x-sum: '6'}}", "client.trailers.x-sum", "6", "absent"),
        ("logs: [{text: third}, {text: first}]", "logs[1]", "any level: first", "no further line"),
        ("logs: [{level: warn, text: first}]", "logs[0]", "warn: first", "info: first"),
        ("logs: [{text: irst}]", "logs[0]", "any level: irst", "info: first"),
        ("no_logs: [ir.t]", "no_logs[0]", "no /ir.t/", "info: first"),
        ("local_reply: absent", "local_reply", "absent", "200 my_reason"),
        ("local_reply: {details: other}", "local_reply.details", "/other/", "my_reason"),
        ("metrics: {requests: 1}", "metrics.requests", "1", "2"),
        ("metrics: {other: 1}", "metrics.other", "1", "absent"),
        ("callouts: []", "callouts", "none", "auth"),
        ("callouts: [{cluster: auth, path: /x}]", "callouts[0].path", "/x", "/check"),
        ("panic: proxy_on_log", "panic", "proxy_on_log", "none"),
    ],
)
def test_what_was_not_seen_fails_and_shows_both(
    expect: str, name: str, expected: str, seen: str
) -> None:
    failed = [check for check in checked(expect) if not check.passed]
    assert [(c.name, c.expected, c.seen) for c in failed] == [(f"steps[0].{name}", expected, seen)]


def test_a_request_that_never_arrived_fails_whatever_was_expected_of_it() -> None:
    failed = checked("upstream: {path: /, body: ''}", replace(SEEN, upstream=None))
    assert [check.passed for check in failed if "upstream" in check.name] == [False, False]


def test_a_panic_that_nobody_expected_fails() -> None:
    (failed,) = [c for c in checked("status: 200", replace(SEEN, panics=("proxy_on_log",)))
                 if not c.passed]
    assert (failed.expected, failed.seen) == ("none", "proxy_on_log")


class Fake:
    """A host that sees what it was told to."""

    refused = ""
    start_logs = (Line("info", b"configured"),)

    def __init__(self, seen: Seen = SEEN) -> None:
        self.seen = replace(seen, logs=(*self.start_logs, *seen.logs))

    def request(self, request: Request, step: Step) -> Seen:
        return self.seen

    def wait(self, seconds: float) -> Seen:
        return Seen(logs=(Line("info", b"tick"),))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "plug.wasm"
    path.write_bytes(b"\0asm\1\0\0\0")
    return path


def ran(monkeypatch: pytest.MonkeyPatch, module: Path, host: Any, text: str) -> Outcome:
    @contextmanager
    def started(*_: object) -> Iterator[Any]:
        yield host

    monkeypatch.setattr(on_sandbox, "started", started)
    return scenarios.run(scenario(text), on="sandbox", module=module)


def test_an_outcome_shows_expected_and_seen_side_by_side(
    monkeypatch: pytest.MonkeyPatch, module: Path
) -> None:
    found = ran(monkeypatch, module, Fake(), "expect: {logs: [{text: configured}]}, steps: ["
                "{request: {}, expect: {status: 404, logs: [{text: third}]}},"
                " {wait: 1, expect: {logs: [{text: tick}]}}]")
    assert not found.passed
    assert [check.name for check in found.failed] == ["steps[0].status"]
    text = str(found)
    assert text.startswith("plug: demo\n5 of 6 checks passed on the sandbox\n")
    assert re.search(r"FAIL +steps\[0\]\.status +404 +200\n", text)
    assert "  start  info: configured\n  steps[0]  info: first\n" in text
    assert "  steps[1]  info: tick" in text
    assert found.line.startswith("FAIL  plug: demo")
    assert found.columns == ("", "check", "expected", "seen")
    assert "<pre" in found._repr_html_()


def test_an_outcome_that_passed_does_not_repeat_the_log(
    monkeypatch: pytest.MonkeyPatch, module: Path
) -> None:
    found = ran(monkeypatch, module, Fake(), "steps: [{request: {}, expect: {status: 200}}]")
    assert found.passed
    assert found.line.startswith("ok    plug: demo")
    assert "logged" not in str(found)


def test_what_does_not_fit_into_the_table_is_told_below_it(
    monkeypatch: pytest.MonkeyPatch, module: Path
) -> None:
    seen = replace(SEEN, client=Message(body=b"x" * 100))
    found = ran(monkeypatch, module, Fake(seen), "steps: [{request: {}, expect: "
                "{client: {body: y}}}]")
    assert f"  seen:     {'x' * 100}" in str(found)


def test_a_plugin_that_is_refused_runs_no_step(
    monkeypatch: pytest.MonkeyPatch, module: Path
) -> None:
    host = on_sandbox.Refused("configure said false", (Line("error", b"no cluster"),))
    found = ran(monkeypatch, module, host, "steps: [{request: {}}]")
    assert [(c.name, c.expected, c.seen) for c in found.failed] == [
        ("start", "started", "refused")]
    assert "# configure said false" in str(found)
    found = ran(monkeypatch, module, host, "refused: true, expect: {logs: [{text: no cluster}]}")
    assert found.passed


def test_a_plugin_that_should_have_been_refused_fails(
    monkeypatch: pytest.MonkeyPatch, module: Path
) -> None:
    found = ran(monkeypatch, module, Fake(), "refused: true")
    assert [(c.expected, c.seen) for c in found.failed] == [("refused", "started")]


def test_another_host_and_a_missing_module_are_refused(module: Path) -> None:
    plain = scenario("steps: [{request: {}}]")
    with pytest.raises(BadInput, match="do not run on 'mars'"):
        scenarios.run(plain, on="mars", module=module)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="there is no module"):
        scenarios.run(plain, module=module.with_name("other.wasm"))
    with pytest.raises(NotFound, match="there is no module plug for"):
        scenarios.module_of(plain)
