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
from helpers.agreement import differences, raw, running
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


def _raw(name: str, bodies: dict[str, tuple[str, int]], *data: bytes) -> Filter:
    """A plugin in text; `data` lies at 0, 64, 128 and so on."""
    segments = [(64 * at, one) for at, one in enumerate(data)]
    return Filter("raw", vm_id=name, module=raw.assembled(bodies, segments))


_PAIRS = b"".join(size.to_bytes(4, "little") for size in (3, 7, 3, 5, 1, 10, 1))
_CALL = _PAIRS + b":method\0GET\0:path\0/\0:authority\0a\0"
_TRAILERS = b"\1\0\0\0\3\0\0\0\1\0\0\0x-t\0001\0"
#: Doubtful points of the ABI, with plugins that no SDK would make; the status as well.
DOUBTS: dict[str, tuple[Filter, Case, int]] = {
    "a stream whose on_done answers false is deleted all the same": (
        _raw("done", {"done": (raw.say("proxy_done"), 0),
                      "delete": (raw.say("proxy_log", 2, 0, 4), 0)}, b"gone"), Case(), 200),
    "a callout has its trailers taken away, and one that is not whole is refused": (
        _raw("call", {"request_headers": ("\n".join([
            raw.say("proxy_http_call", 0, 4, 64, len(_CALL), 0, 3, 128, len(_TRAILERS), 0, 4096),
            raw.say("proxy_http_call", 0, 4, 128, len(_TRAILERS), 0, 0, 0, 0, 0, 4096),
            raw.say("proxy_http_call", 0, 4, 64, len(_CALL), 0, 0, 0, 0, -1, 4096),
            raw.say("proxy_http_call", 0, 4, 64, len(_CALL), 0, 0, 0, 0, 0, 65534)]), 1),
            "http_call_response": (
                "(call $say (local.get 2))" + raw.say("proxy_get_header_map_size", 6, 4096)
                + raw.say("proxy_add_header_map_value", 6, 0, 4, 0, 4), 0)},
             b"auth", _CALL, _TRAILERS), Case(callouts={"auth": Answer(201)}), 0),
    "a mark for shared data that is not there yet does not matter": (
        _raw("mark", {"request_headers": ("\n".join([
            raw.say("proxy_set_shared_data", 0, 3, 0, 3, 7),
            raw.say("proxy_set_shared_data", 0, 3, 0, 3, 999_999)]), 0)}, b"key"), Case(), 200),
    "to ask for the size of trailers makes them": (
        _raw("size", {"request_body": (raw.say("proxy_get_header_map_size", 1, 4096), 0),
                      "request_trailers": ("(call $say (local.get 1))", 0),
                      "log": (raw.say("proxy_get_header_map_size", 0, 4096)
                              + raw.say("proxy_get_header_map_value", 1, 0, 1, 4096, 4100), 0)},
             b"x"), Case("POST", body=(b"a",)), 200),
    "a property of two parts can be set, and not be read": (
        _raw("two", {"request_headers": ("\n".join([
            raw.say("proxy_set_property", 0, 3, 64, 5),
            raw.say("proxy_get_property", 0, 3, 4096, 4100),
            raw.say("proxy_set_property", 0, 1, 64, 5),
            raw.say("proxy_get_property", 0, 1, 4096, 4100),
            raw.say("proxy_get_property", 0, 3, 4096, 4100)]), 0)}, b"a\0b", b"value"),
        Case(), 200),
    "of two local replies the first is sent": (
        _raw("twice", {"request_headers": ("\n".join(
            raw.say("proxy_send_local_response", status, 0, 0, 0, 0, 0, 0, -1)
            for status in (403, 404)), 0)}), Case(), 403),
    "a status has sixteen bits": (
        _raw("bits", {"request_headers": (
            raw.say("proxy_send_local_response", 65536 + 418, 0, 0, 0, 0, 0, 0, -1), 1)}),
        Case(), 418),
}


@pytest.fixture(scope="module")
def chains() -> list[tuple[Filter, ...]]:
    """Some of each kind, the same each time, and those of the cases found by hand."""
    return [*running.chains(Random(1), list(KINDS)),
            *((told if isinstance(told, Filter) else lifecycle(told),)
              for told, _, _ in {**BY_HAND, **DOUBTS}.values())]


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


@pytest.mark.parametrize("what", [*BY_HAND, *DOUBTS])
def test_cases_found_by_hand_come_out_the_same(what: str, hosts: Hosts) -> None:
    by_hand = {**BY_HAND, **DOUBTS}
    _, one, status = by_hand[what]
    one = replace(one, headers=(*one.headers, ("x-request-id", b"r")))
    number = len(KINDS) * running.CHAINS + list(by_hand).index(what)
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
