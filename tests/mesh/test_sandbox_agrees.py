"""The sandbox and a real Envoy make the same of the same cases (docs/sandbox-agreement.md).

`python -m helpers.agreement --cases 5000` tries many more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from helpers import paths
from helpers.agreement import differences, running
from helpers.agreement.behaviours import KINDS
from helpers.agreement.cases import Answer, Case, Filter, case
from helpers.agreement.compare import KEPT, kept
from helpers.agreement.hosts import Hosts, Message, Outcome
from helpers.agreement.settings import lifecycle

EXAMPLES = 25
#: A plugin that holds bodies back until their end.
HOLDS = Filter("body-rewrite", json.dumps(
    {side: [{"find": "none", "replace": ""}] for side in ("request", "response")}))
#: What Envoy holds back at most over HTTP/2, in frames of its size.
MOST = (b"z" * 16384,) * 1024
#: Found by hand, and worth a look at each time: settings of lifecycle or another plugin, the
#: request, the status.
BY_HAND: dict[str, tuple[dict[str, Any] | Filter, Case, int]] = {
    "a request without x-forwarded-proto has no route": (
        {"edits": [{"where": "request_headers", "op": "remove", "name": "x-forwarded-proto"}]},
        Case(), 404),
    "a request without a method is refused by the router": (
        {"edits": [{"where": "request_headers", "op": "remove", "name": ":method"}]}, Case(), 503),
    "a response without a status is replaced": (
        {"edits": [{"where": "response_headers", "op": "remove", "name": ":status"}]},
        Case(answer=Answer(body=(b"a", b"b"))), 502),
    "a header that is replaced goes behind the others": (
        {"edits": [{"where": "request_headers", "op": "replace", "name": "x-a", "value": "new"}]},
        Case(headers=(("x-a", b"1"), ("x-b", b"2"), ("x-a", b"3"))), 200),
    "cookies are one line behind the other headers": (
        {}, Case(headers=(("cookie", b""), ("cookie", b"a"), ("x-a", b"1"), ("cookie", b"b"))),
        200),
    "trailers of which nothing is left are none": (
        {"edits": [{"where": "request_trailers", "op": "remove", "name": "x-t"},
                   {"where": "response_trailers", "op": "set", "pairs": []}]},
        Case("POST", body=(b"a",), trailers=(("x-t", b"1"),),
             answer=Answer(trailers=(("x-t", b"2"),))), 200),
    "a gRPC client stays one when a plugin takes its content-type": (
        {"edits": [{"where": "request_headers", "op": "remove", "name": "content-type"}],
         "local_reply_at": "request_headers", "local_reply": {"status": 403, "body": "no: \u00e9"}},
        Case("POST", headers=(("content-type", b"application/grpc"),)), 200),
    "trailers that a plugin makes while it holds the body overtake it": (
        {"pause": ["request_body"], "edits": [
            {"where": "request_trailers", "at": "request_body", "op": "add", "name": "x-t",
             "value": "1"}]}, Case("POST", body=(b"a",)), 200),
    "a body of 16 MiB is held back": (HOLDS, Case("POST", body=MOST), 200),
    "a request that is longer is refused": (HOLDS, Case("POST", body=(*MOST, b"z")), 413),
    "a response that is longer is broken off": (
        HOLDS, Case(answer=Answer(body=(*MOST, b"z"))), 200),
}


@pytest.fixture(scope="module")
def chains() -> list[tuple[Filter, ...]]:
    """Some of each kind, the same each time, and those of the cases found by hand."""
    return [*running.chains(Random(1), list(KINDS)),
            *((told if isinstance(told, Filter) else lifecycle(told),)
              for told, _, _ in BY_HAND.values())]


@pytest.fixture(scope="module")
def hosts(chains: list[tuple[Filter, ...]]) -> Iterator[Hosts]:
    """One Envoy with all chains, and a sandbox for each."""
    with Hosts(chains, running.modules()) as both:
        yield both


@pytest.mark.parametrize("kind", KINDS)
def test_generated_cases_come_out_the_same(
    kind: str, chains: list[tuple[Filter, ...]], hosts: Hosts
) -> None:
    first = list(KINDS).index(kind) * running.CHAINS

    # A case that is tried again meets plugins that have counted it: no reuse, and no explaining.
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
              phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
    @given(st.integers(0, running.CHAINS - 1), st.randoms(use_true_random=False))
    def agree(which: int, choice: Random) -> None:
        number = first + which
        ours, theirs = hosts.both(number, case(choice, chains[number]))
        assert kept(ours, theirs) or differences(ours, theirs) == []

    agree()


@pytest.mark.parametrize("what", BY_HAND)
def test_cases_found_by_hand_come_out_the_same(what: str, hosts: Hosts) -> None:
    _, one, status = BY_HAND[what]
    one = replace(one, headers=(*one.headers, ("x-request-id", b"r")))
    number = len(KINDS) * running.CHAINS + list(BY_HAND).index(what)
    ours, theirs = hosts.both(number, one)
    assert differences(ours, theirs) == []
    assert ours.status == status


def test_a_difference_would_be_seen() -> None:
    message = Message(((b":status", b"200"),), b"a", None, True)
    same = Outcome("complete", 200, "via_upstream", message, message,
                   (("info", "p", b"x"), ("info", "p", b"y")), (("auth", message),))
    assert differences(same, same) == []
    for other in (
        replace(same, status=503), replace(same, logs=()), replace(same, state="reset"),
        replace(same, details="x"), replace(same, logs=same.logs[::-1]), replace(same, client=None),
        replace(same, logs=(("warn", "p", b"x"), same.logs[1])), replace(same, callouts=()),
        replace(same, upstream=replace(message, body=b"")),
        replace(same, client=replace(message, trailers=((b"t", b"1"),))),
        replace(same, client=replace(message, headers=(*message.headers, (b"x", b"1")))),
    ):
        assert differences(same, other)


def test_what_is_allowed_to_differ_is_written_down() -> None:
    text = (paths.ROOT / "docs" / "sandbox-agreement.md").read_text(encoding="utf-8")
    words = " ".join(text.split())
    for what in KEPT:
        assert what in words, what
