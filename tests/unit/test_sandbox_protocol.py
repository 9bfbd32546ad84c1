"""Calls at the wrong time, of things that are not there, twice, or never.

Section "Protocol" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import pytest
from sandbox_wat import call, plugin, said, say

from helpers.sandbox import Exchange, HostCallFailed, Plugin, Reply, Sandbox, SandboxMisuse, pairs

CALL_PAIRS = pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"x")])
#: Text in the memory of every plugin below.
DATA = {0: b"c", 16: b"x-a", 32: b"1", 64: CALL_PAIRS, 256: b":path"}
ADD = {side: call("proxy_add_header_map_value", side, 16, 3, 32, 1) for side in range(4)}
GET_PATH = call("proxy_get_header_map_value", 0, 256, 5, 512, 516)
REPLY = call("proxy_send_local_response", 403, 0, 0, 16, 3, 0, 0, -1)
RESUME, RESUME_ANSWER = (call("proxy_continue_stream", side) for side in (0, 1))
CLOSE = call("proxy_close_stream", 0)
PAUSE = "(return (i32.const 1))"
CALLOUT = call("proxy_http_call", 0, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 1000, 512)
EFFECTIVE = "(call $proxy_set_effective_context (i32.const 2))"  # the first stream of a plugin


def one(callbacks: dict[str, str], **settings: object) -> Exchange:
    """What comes of one request to a plugin."""
    return Sandbox(plugin(callbacks, data=DATA), **settings).request()  # type: ignore[arg-type]


def noted(exchange: Exchange, words: str) -> bool:
    return any(words in note for note in exchange.diagnostics)


@pytest.mark.parametrize(("phase", "wanted", "status"), [
    ("configure", ADD[0], 2), ("configure", GET_PATH, 2), ("tick", ADD[0], 2),
    ("request_body", ADD[0], 2), ("response_headers", ADD[0], 2), ("request_headers", ADD[2], 2),
    ("request_headers", ADD[1], 2), ("response_headers", ADD[3], 2), ("log", ADD[0], 2),
    ("log", ADD[2], 2), ("done", ADD[0], 2), ("delete", ADD[0], 2),
    ("log", GET_PATH, 0), ("request_headers", GET_PATH, 0),
    ("request_headers", call("proxy_get_header_map_value", 6, 256, 5, 512, 516), 2),
    ("request_headers", call("proxy_get_buffer_bytes", 7, 0, 9, 512, 516), 1),
    ("configure", call("proxy_set_buffer_bytes", 7, 0, 0, 0, 1), 2),
    ("configure", call("proxy_set_property", 0, 1, 32, 1), 1),
    ("tick", RESUME, 0), ("tick", CLOSE, 0), ("tick", REPLY, 0), ("log", REPLY, 0),
    ("done", RESUME, 0), ("delete", CLOSE, 0), ("configure", REPLY, 0),
])
def test_a_host_call_in_the_wrong_phase_has_a_status(
    way: str, phase: str, wanted: str, status: int
) -> None:
    tick = f"(drop {call('proxy_set_tick_period_milliseconds', 1)})"
    callbacks = {"configure": tick} | {phase: say(wanted)}
    if phase == "configure":
        callbacks = {phase: tick + say(wanted)}
    sandbox = Sandbox(plugin(callbacks, data=DATA))
    exchange = sandbox.request("POST", body="x", upstream=Reply(body="y"))
    sandbox.advance(0.001)
    assert status in said(sandbox.logs)
    assert exchange.status == 200
    assert not sandbox.panics


@pytest.mark.parametrize(("wanted", "status"), [
    (call("proxy_increment_metric", 4000, 1), 1), (call("proxy_record_metric", 4000, 1), 1),
    (call("proxy_get_metric", 4000, 512), 1), (call("proxy_get_metric", 4002, 512), 2),
    (call("proxy_enqueue_shared_queue", 99, 0, 1), 1),
    (call("proxy_dequeue_shared_queue", 99, 512, 516), 1),
    (call("proxy_dequeue_shared_queue", 0, 512, 516), 1),
    (call("proxy_set_effective_context", 99), 2), (call("proxy_set_effective_context", -1), 2),
    (call("proxy_grpc_cancel", 400), 2), (call("proxy_grpc_close", 401), 1),
    (call("proxy_grpc_send", 402, 0, 1, 0), 1), (call("proxy_get_shared_data", 0, 1, 512, 516,
                                                      520), 1),
])
def test_what_is_not_there_has_a_status(way: str, wanted: str, status: int) -> None:
    assert said(one({"request_headers": say(wanted)})) == [status]


@pytest.mark.parametrize("second", [REPLY, RESUME, RESUME_ANSWER, CLOSE])
def test_of_a_local_reply_and_what_follows_it_in_a_callback_the_reply_counts(
    way: str, second: str
) -> None:
    exchange = one({"request_headers": say(REPLY, second)})
    assert said(exchange) == [0, 0]
    assert exchange.status == 403
    assert exchange.upstream is None
    assert exchange.client is not None
    assert exchange.client.body == b"x-a"
    assert exchange.state == "complete"


def test_a_reply_in_the_answer_s_callback_takes_its_place_once(way: str) -> None:
    exchange = one({"response_headers": say(REPLY, REPLY)}, trace=False)
    assert exchange.status == 403
    assert exchange.state == "complete"


def test_a_reply_after_the_answer_is_ignored_and_said(way: str) -> None:
    exchange = one({"log": say(REPLY)})
    assert exchange.status == 200
    assert noted(exchange, "local reply")


def test_a_reply_to_a_client_that_has_the_headers_resets_the_stream(way: str) -> None:
    sandbox = Sandbox(plugin({"response_body": say(REPLY)}, data=DATA))
    exchange = sandbox.request(upstream=Reply(body=["one", "two"]))
    assert exchange.state == "reset"
    assert exchange.local_reply is None


def test_a_pause_that_nobody_ends_is_a_paused_exchange(way: str) -> None:
    for callback in ("request_headers", "response_headers"):
        sandbox = Sandbox(plugin({callback: PAUSE}))
        exchange = sandbox.request()
        assert exchange.state == "paused"
        assert exchange.status == 0
        sandbox.close()


def test_a_double_resume_goes_on_once_and_that_is_said(way: str) -> None:
    module = plugin({"request_headers": PAUSE, "configure":
                     f"(drop {call('proxy_set_tick_period_milliseconds', 1)})",
                     "tick": f"(drop {EFFECTIVE})" + say(RESUME, RESUME)})
    sandbox = Sandbox(module)
    exchange = sandbox.request()
    assert exchange.state == "paused"
    sandbox.advance(0.001)
    assert said(sandbox.logs) == [0, 0]
    assert exchange.upstream is not None
    assert sandbox.diagnostics


def test_a_resume_of_a_stream_that_was_not_paused_is_said(way: str) -> None:
    exchange = one({"response_headers": say(RESUME)})
    assert exchange.status == 200
    assert exchange.diagnostics


def test_a_resume_before_anything_came_that_way_does_nothing(way: str) -> None:
    exchange = one({"request_headers": say(RESUME_ANSWER)})
    assert said(exchange) == [0]
    assert exchange.status == 200


@pytest.mark.parametrize("value", [5, 100, 0x7FFFFFFF, -1, -0x80000000])
@pytest.mark.parametrize("callback", ["request_headers", "response_headers", "request_body",
                                      "response_body", "request_trailers"])
def test_an_action_out_of_range_stops_as_in_envoy_and_is_pointed_out(
    way: str, callback: str, value: int
) -> None:
    sandbox = Sandbox(plugin({callback: f"(return (i32.const {value}))"}))
    trailers = {"t": "1"} if "trailers" in callback else None  # trailers take a body along
    exchange = sandbox.request("POST", body="x", trailers=trailers, protocol="HTTP/2",
                               upstream=Reply(body="y"))
    assert exchange.state == "paused"
    assert noted(exchange, f"answered {value & 0xFFFFFFFF}")


@pytest.mark.parametrize(("given", "status", "words"), [
    ((16, 3, 64, len(CALL_PAIRS)), 2, "no cluster 'x-a'"),
    ((0, 1, 0, 0), 2, ":path is missing"), ((0, 0, 64, len(CALL_PAIRS)), 2, "no cluster ''"),
])
def test_a_callout_to_an_unknown_upstream_or_without_pseudo_headers_is_refused(
    way: str, given: tuple[int, int, int, int], status: int, words: str
) -> None:
    wanted = call("proxy_http_call", *given, 0, 0, 0, 0, 1000, 512)
    exchange = one({"request_headers": say(wanted)}, callouts={"c": Reply()})
    assert said(exchange) == [status]
    assert noted(exchange, words)
    assert not exchange.callouts


@pytest.mark.parametrize(("milliseconds", "status"), [(0, 0), (1, 0), (-1, 2), (-0x80000000, 2),
                                                      (0x7FFFFFFF, 0)])
def test_a_callout_s_timeout_may_be_zero_and_not_negative(
    way: str, milliseconds: int, status: int
) -> None:
    wanted = call("proxy_http_call", 0, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, milliseconds, 512)
    exchange = one({"request_headers": say(wanted)}, callouts={"c": Reply(delay=0.0005)})
    assert said(exchange) == [status]
    assert len(exchange.callouts) == (status == 0)


def test_without_a_timeout_an_answer_that_never_comes_is_waited_for_and_no_longer(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.sandbox.sandbox.MOST_EVENTS", 2000)
    wanted = call("proxy_http_call", 0, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 0, 512)
    tick = f"(drop {call('proxy_set_tick_period_milliseconds', 1)})"
    module = plugin({"configure": tick, "tick": "", "request_headers": say(wanted) + PAUSE},
                    data=DATA)
    sandbox = Sandbox(module, callouts={"c": Reply(delay=float("inf"))}, trace=False)
    exchange = sandbox.request()
    assert exchange.state == "paused"
    assert noted(exchange, "and no end")


def test_an_answer_after_its_stream_is_gone_reaches_the_root_and_finds_no_context(
    way: str
) -> None:
    module = plugin({"request_headers": say(CALLOUT) + PAUSE,
                     "http_call_response": say("(local.get 2)", EFFECTIVE, RESUME)}, data=DATA)
    sandbox = Sandbox(module, callouts={"c": Reply(delay=0.1)})
    steps = sandbox.start()
    steps.headers(end=True)
    steps.disconnect()
    assert steps.exchange.state == "reset"
    sandbox.advance(0.2)
    count, effective, resumed = said(sandbox.logs)[-3:]
    assert count > 0
    assert (effective, resumed) == (2, 0)
    assert not sandbox.panics


def test_a_sandbox_is_not_entered_from_a_function_of_its_own(way: str) -> None:
    boxes: list[Sandbox] = []
    module = plugin({"request_headers": say(CALLOUT) + PAUSE}, data=DATA)

    def again(_: object) -> Reply:
        boxes[0].request()
        return Reply()

    boxes.append(Sandbox(module, callouts={"c": again}))
    with pytest.raises(HostCallFailed) as caught:
        boxes[0].request()
    assert isinstance(caught.value.__cause__, SandboxMisuse)
    for work in (boxes[0].close, lambda: boxes[0].advance(1), lambda: boxes[0].start()):
        boxes[0].host.callouts = {"c": lambda _, work=work: work()}  # type: ignore[assignment]
        with pytest.raises(HostCallFailed):
            boxes[0].request()


def test_a_foreign_function_may_use_another_sandbox(way: str) -> None:
    inner = Sandbox(plugin())
    body = say(call("proxy_call_foreign_function", 0, 1, 0, 0, 512, 516))
    outer = Sandbox(plugin({"request_headers": body}, data=DATA),
                    foreign={"c": lambda _: str(inner.request().status).encode()})
    assert said(outer.request()) == [0]


def test_done_without_a_root_that_waits_is_not_found(way: str) -> None:
    done = say(call("proxy_done"))
    sandbox = Sandbox(plugin({"request_headers": done, "done": done, "configure": done,
                              "log": done, "delete": done}))
    sandbox.request()
    sandbox.close()
    assert set(said(sandbox.logs)) == {1}


def test_done_within_on_done_comes_too_early_and_breaks_nothing(way: str) -> None:
    sandbox = Sandbox(plugin({"done": say(call("proxy_done")) + "(return (i32.const 0))",
                              "delete": say("(i32.const 9)")}))
    sandbox.request()
    sandbox.close()
    sandbox.close()
    # Of the stream done comes and delete follows at once; the root waits for a call that failed.
    assert said(sandbox.logs) == [1, 9, 1]


def test_a_stream_is_not_paused_by_the_done_of_another_plugin(way: str) -> None:
    waits = Plugin(plugin({"done": "(return (i32.const 0))"}), name="waits")
    sandbox = Sandbox([waits, Plugin(plugin({"delete": say("(i32.const 7)")}), name="other")])
    assert sandbox.request().state == "complete"
    assert said(sandbox.logs) == [7]
