"""Floods: what a plugin piles up is bounded, and the bound is reported.

Section "Resources" of the list in docs/sandbox-safety.md. Where a bound is large it is lowered
here, so that the suite is quick; `test_the_bounds_are_what_a_machine_can_bear` looks at the
real ones.
"""

from __future__ import annotations

import pytest
from sandbox_wat import call, plugin, said, say

from helpers.sandbox import Reply, Sandbox, host, outgoing, pairs, shared
from helpers.sandbox.imports import buffers, headers, properties

FLOODED = 10
HOUR = 3600.0
CALL_PAIRS = pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"x")])
TICK = f"(drop {call('proxy_set_tick_period_milliseconds', 1)})"


def flood(wanted: str, times: int = 100_000, *, after: int = 0) -> str:
    """Call it until its status is not 0, or so many times; say the status, and how often.

    The number of the round stands at address 0, for names that differ.
    """
    return f"""
      (loop $on
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (i32.store (i32.const 4) {wanted})
        (br_if $on (i32.and (i32.eqz (i32.load (i32.const 4)))
          (i32.lt_u (i32.load (i32.const 0)) (i32.const {times})))))
      {say('(i32.load (i32.const 4))', '(i32.load (i32.const 0))')}
      (i32.store (i32.const 0) (i32.const {after}))"""


def noted(sandbox: Sandbox, words: str) -> bool:
    return any(words in note for note in sandbox.diagnostics)


def test_a_tick_of_a_millisecond_over_an_hour_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "public":
        monkeypatch.setattr("helpers.sandbox.sandbox.MOST_EVENTS", 5_000)
    sandbox = Sandbox(plugin({"configure": TICK, "tick": f"(drop {call('proxy_log', 0, 0, 1)})"}),
                      trace=False, log_level="info", now=0)
    sandbox.advance(HOUR)
    assert noted(sandbox, "the clock stands before the moment that was asked for")
    stood = sandbox.host.clock.now
    assert 0 < stood < HOUR * 1e9
    # It is no dead end: each call goes on from there.
    sandbox.advance(0.5)
    assert sandbox.host.clock.now == stood + 5e8
    assert sandbox.request().status == 200


def test_events_that_take_long_are_bounded_by_time_too(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "MOST_SECONDS", 0.0)
    sandbox = Sandbox(plugin({"configure": TICK, "tick": ""}), trace=False, now=0)
    sandbox.advance(HOUR)
    assert sandbox.host.clock.now < 1e9
    assert noted(sandbox, "seconds of them")
    wanted = f"(drop {call('proxy_http_call', 8, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 0, 32)})"
    module = plugin({"configure": TICK, "tick": "", "request_headers": wanted +
                     "(return (i32.const 1))"}, data={8: b"c", 64: CALL_PAIRS})
    sandbox = Sandbox(module, trace=False, callouts={"c": Reply(delay=HOUR)}, now=0)
    assert sandbox.request().state == "paused"
    assert sandbox.host.clock.now < 1e9
    assert noted(sandbox, "and no end")


def test_a_tick_that_is_set_anew_for_ever_leaves_no_timers_behind(way: str) -> None:
    sandbox = Sandbox(plugin({"request_headers": flood(
        call("proxy_set_tick_period_milliseconds", 100_000), 5_000)}), trace=False, deadline=30)
    assert said(sandbox.request()) == [0, 5_000]
    assert len(sandbox.host.clock._due) < 200


def test_timeouts_of_answered_callouts_leave_no_timers_behind(way: str) -> None:
    wanted = call("proxy_http_call", 8, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 1_000_000, 32)
    sandbox = Sandbox(plugin({"request_headers": f"(drop {wanted})"},
                             data={8: b"c", 64: CALL_PAIRS}), callouts={"c": Reply()}, trace=False)
    for _ in range(500):
        sandbox.request()
    assert len(sandbox.host.clock._due) < 200
    assert not sandbox.host.outgoing.waiting


@pytest.mark.parametrize(("bound", "wanted", "words"), [
    ("MOST_KEYS", call("proxy_set_shared_data", 0, 4, 0, 4, 0), "the store is full"),
    ("MOST_METRICS", call("proxy_define_metric", 0, 0, 4, 32), "too many metrics"),
    ("MOST_QUEUES", call("proxy_register_shared_queue", 0, 4, 32), "too many queues"),
])
def test_a_flood_of_names_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch, bound: str, wanted: str, words: str
) -> None:
    monkeypatch.setattr(shared, bound, FLOODED)
    sandbox = Sandbox(plugin({"request_headers": flood(wanted)}))
    assert said(sandbox.request()) == [10, FLOODED + 1]
    assert noted(sandbox, words)
    assert len(sandbox.metrics) <= FLOODED


@pytest.mark.parametrize(("wanted", "words"), [
    (call("proxy_define_metric", 0, 0, 60_000, 32), "too long a name"),
    (call("proxy_register_shared_queue", 0, 60_000, 32), "too long a name"),
])
def test_a_name_that_is_no_name_any_more_is_refused(way: str, wanted: str, words: str) -> None:
    sandbox = Sandbox(plugin({"request_headers": say(wanted)}))
    assert said(sandbox.request()) == [10]
    assert noted(sandbox, words)


def test_a_flood_of_shared_bytes_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "MOST_BYTES", FLOODED * 30_004)
    sandbox = Sandbox(plugin({"request_headers": flood(
        call("proxy_set_shared_data", 0, 4, 0, 30_000, 0))}))
    assert said(sandbox.request()) == [10, FLOODED + 1]
    # What is replaced makes room.
    replaced = call("proxy_set_shared_data", 8, 4, 0, 30_000, 0)
    other = Sandbox(plugin({"request_headers": flood(replaced, 100)}))
    assert said(other.request()) == [0, 100]


@pytest.mark.parametrize(("bound", "least"), [("MOST_QUEUED", FLOODED),
                                              ("MOST_BYTES", FLOODED * 4)])
def test_a_flood_of_queued_items_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch, bound: str, least: int
) -> None:
    monkeypatch.setattr(shared, bound, least)
    body = f"(drop {call('proxy_register_shared_queue', 8, 1, 32)})"
    sandbox = Sandbox(plugin({"request_headers": body + flood(
        call("proxy_enqueue_shared_queue", 1, 0, 4))}))
    assert said(sandbox.request()) == [10, FLOODED + 1]
    assert noted(sandbox, "is full")
    assert len(sandbox.queue("", "\0")) == FLOODED


def test_a_queue_whose_reader_fills_it_again_ends_with_the_call_of_the_sandbox(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.sandbox.sandbox.MOST_EVENTS", 1_000)
    monkeypatch.setattr(host, "MOST_POSTS", 1_500)
    twice = f"(drop {call('proxy_enqueue_shared_queue', 1, 0, 1)})" * 2
    first = f"(drop {call('proxy_register_shared_queue', 8, 1, 32)})"
    drain = f"(drop {call('proxy_dequeue_shared_queue', 1, 32, 36)})"
    sandbox = Sandbox(plugin({"request_headers": first + twice,
                              "queue_ready": twice + drain * 2}), trace=False)
    for _ in range(3):
        assert sandbox.request().status in (0, 200)
    assert len(sandbox.host._posts) <= 1_510
    assert noted(sandbox, "events wait and are not done")
    assert noted(sandbox, "of this item nobody is told")


def test_a_flood_of_logs_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "MOST_LINES", 100)
    sandbox = Sandbox(plugin({"request_headers": flood(call("proxy_log", 2, 8, 1), 1_000)}))
    assert len(sandbox.request().logs) == 100
    assert noted(sandbox, "more than 100 log lines")
    assert len(sandbox.logs) <= host.KEPT_LINES


def test_a_flood_of_callouts_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "MOST_CALLS", FLOODED)
    wanted = call("proxy_http_call", 8, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 0, 32)
    module = plugin({"request_headers": flood(wanted)}, data={8: b"c", 64: CALL_PAIRS})
    sandbox = Sandbox(module, callouts={"c": Reply()})
    for _ in range(3):  # those of before were answered
        exchange = sandbox.request()
        assert said(exchange) == [10, FLOODED + 1]
        assert len(exchange.callouts) == FLOODED
    assert noted(sandbox, "calls are under way")


def test_callouts_that_beget_callouts_end_with_the_call_of_the_sandbox(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.sandbox.sandbox.MOST_EVENTS", 500)
    wanted = f"(drop {call('proxy_http_call', 8, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 0, 32)})"
    module = plugin({"request_headers": wanted + "(return (i32.const 1))",
                     "http_call_response": wanted * 2}, data={8: b"c", 64: CALL_PAIRS})
    sandbox = Sandbox(module, callouts={"c": Reply()}, trace=False)
    assert sandbox.request().state == "paused"
    assert noted(sandbox, "events wait and are not done")


def test_a_flood_of_requests_that_are_held_back_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "MOST_HELD", FLOODED)
    sandbox = Sandbox(plugin({"request_headers": "(return (i32.const 1))"}), trace=False)
    seen = [sandbox.request() for _ in range(FLOODED + 3)]
    assert [exchange.state for exchange in seen] == ["reset"] * 3 + ["paused"] * FLOODED
    assert noted(sandbox, "the oldest is ended")


def test_what_a_stream_keeps_for_a_plugin_is_bounded_and_reported(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(properties, "_MOST_STATES", FLOODED)
    monkeypatch.setattr(headers, "_MOST_HEADERS", 50)
    monkeypatch.setattr(headers, "_MANY", 5)
    monkeypatch.setattr(buffers, "_MOST_BODY", 100_000)
    for callback, wanted, words in (
        ("request_headers", call("proxy_set_property", 0, 4, 0, 4), "filter state is full"),
        ("request_headers", call("proxy_add_header_map_value", 0, 0, 4, 0, 4), "may not grow"),
        ("request_body", call("proxy_set_buffer_bytes", 0, 0, 0, 0, 30_000), "are above"),
    ):
        sandbox = Sandbox(plugin({callback: flood(wanted)}))
        status, times = said(sandbox.request("POST", body="x", protocol="HTTP/2"))
        assert status == 10
        assert 0 < times < 60
        assert noted(sandbox, words)


def test_the_trace_is_bounded_and_says_so(way: str) -> None:
    long = pairs.encode([(b"k" * 100, b"v" * 500)])
    wanted = call("proxy_set_header_map_pairs", 0, 64, len(long))
    sandbox = Sandbox(plugin({"request_headers": flood(wanted, 11_000)}, data={64: long}),
                      deadline=60)
    exchange = sandbox.request()
    assert len(exchange.trace) == 10_000
    assert noted(sandbox, "the trace holds 10,000 calls")
    assert len(str(exchange.trace[5].arguments)) < 500


def test_notes_and_names_of_what_is_missing_are_bounded(way: str) -> None:
    wanted = f"(drop {call('proxy_call_foreign_function', 0, 4, 0, 0, 32, 36)}) (i32.const 0)"
    doubtful = call("proxy_add_header_map_value", 0, 0, 4, 8, 1)
    sandbox = Sandbox(plugin({"request_headers": flood(wanted, 2_000) + flood(doubtful, 2_000)},
                             data={8: b"\n"}), deadline=60, trace=False)
    exchange = sandbox.request()
    assert len(exchange.unimplemented) <= 100
    assert len(exchange.diagnostics) <= 1_000
    assert len(sandbox.diagnostics) <= 1_000


def test_the_bounds_are_what_a_machine_can_bear() -> None:
    for most in (shared.MOST_BYTES, shared.MOST_METRICS * (shared.MOST_NAME + 1_000),
                 shared.MOST_QUEUES * shared.MOST_NAME, outgoing.MOST_CALL_BYTES,
                 buffers._MOST_BODY, host.MOST_LOG_BYTES + host.MOST_LINES * 1_024,
                 headers._MOST_BYTES + headers._MANY * headers._LARGE):
        assert most <= 1 << 30
