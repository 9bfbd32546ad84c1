"""The sandbox in a line: a request goes through a real module, and everything can be seen."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest

from helpers import paths
from helpers.errors import BadInput, BadModule
from helpers.sandbox import (
    ConfigureFailed,
    GuestPanic,
    HostCallFailed,
    Message,
    Plugin,
    Reply,
    Sandbox,
    SandboxClosed,
    SandboxMisuse,
)

LOGGER = paths.plugins() / "prebuilt" / "header_logger.wasm"
PRINTED = paths.plugins() / "prebuilt" / "as_printed.wasm"


def test_a_request_in_a_line_shows_what_upstream_and_client_got_and_what_was_logged() -> None:
    seen = Sandbox(LOGGER).request(
        path="/productpage", headers={"User-Agent": "MyTestClient"},
        upstream=Reply(200, {"x-from": "reviews"}, "hello"))
    assert (seen.status, seen.state, seen.details) == (200, "complete", "via_upstream")
    assert seen.upstream is not None
    assert seen.upstream.headers[":path"] == "/productpage"
    assert seen.upstream.headers["user-agent"] == "MyTestClient"
    assert seen.client is not None
    assert (seen.client.text, seen.client.headers["x-from"]) == ("hello", "reviews")
    (line,) = seen.logs
    assert (line.level, line.text, line.plugin) == (
        "info", "User-Agent: MyTestClient", "sandbox")
    assert line.callback == "proxy_on_request_headers"


def test_the_trace_has_every_crossing_with_arguments_answers_and_time() -> None:
    seen = Sandbox(LOGGER).request(headers={"user-agent": "MyTestClient"})
    callbacks = [call.name for call in seen.trace if call.direction == "guest"]
    assert callbacks == [
        "proxy_on_context_create", "proxy_on_request_headers", "proxy_on_response_headers",
        "proxy_on_log", "proxy_on_done", "proxy_on_delete"]
    by_name = {call.name: call for call in seen.trace}
    log = by_name["proxy_log"]
    assert dict(log.arguments) == {"level": "info", "text": "User-Agent: MyTestClient"}
    assert (log.direction, log.result, log.depth) == ("host", "OK", 1)
    asked = dict(by_name["proxy_get_header_map_pairs"].arguments)
    assert ("user-agent", "MyTestClient") in asked["answer"]
    headers = by_name["proxy_on_request_headers"]
    assert headers.result == "Continue"
    assert headers.begun_us <= log.begun_us
    assert log.begun_us + log.took_us <= headers.begun_us + headers.took_us


def test_without_the_trace_the_exchange_is_the_same() -> None:
    request = {"headers": {"user-agent": "x"}, "body": b"abc"}
    loud, quiet = (Sandbox(LOGGER, trace=trace).request(**request) for trace in (True, False))
    assert loud.trace
    assert quiet.trace == ()
    assert (loud.status, loud.logs, loud.client, loud.upstream) == (
        quiet.status, quiet.logs, quiet.client, quiet.upstream)


def test_the_printed_filter_panics_where_its_context_is_created() -> None:
    seen = Sandbox(PRINTED).request(headers={"user-agent": "x"})
    assert (seen.status, seen.details) == (503, "wasm_fail_stream")
    assert seen.upstream is None
    (panic,) = seen.panics
    assert panic.callback == "proxy_on_context_create"
    assert "unreachable" in panic.trap
    assert any("on_create_context" in frame for frame in panic.frames)
    with pytest.raises(GuestPanic):
        seen.check()
    again = pickle.loads(pickle.dumps(panic))
    assert (again.callback, again.frames, str(again)) == (panic.callback, panic.frames, str(panic))


def test_a_vm_that_died_fails_closed_is_passed_over_open_and_comes_back_by_reload() -> None:
    statuses = {}
    for policy in ("closed", "open", "reload"):
        with Sandbox(PRINTED, fail_policy=policy) as sandbox:
            first, second = sandbox.request().status, sandbox.request().status
            sandbox.advance(2)
            statuses[policy] = (first, second, sandbox.request().status, len(sandbox.panics))
    assert statuses["closed"] == (503, 503, 503, 1)
    assert statuses["open"] == (503, 200, 200, 1)
    assert statuses["reload"] == (503, 503, 503, 3), "each fresh VM dies of the same"


def test_a_refused_configuration_is_an_error_that_says_what_the_plugin_logged() -> None:
    with pytest.raises(ConfigureFailed) as caught:
        Sandbox(LOGGER, plugin_config={"log_level": "chatty"})
    assert '"chatty"' in caught.value.detail
    assert caught.value.logs[-1].level == "error"  # type: ignore[attr-defined]


def test_lines_below_the_level_are_dropped_and_the_plugin_is_told_the_level() -> None:
    with Sandbox(LOGGER, log_level="warning") as sandbox:
        seen = sandbox.request(headers={"user-agent": "x"})
        assert seen.logs == ()
        assert "proxy_log" not in {call.name for call in seen.trace}


def test_plugins_of_a_chain_see_the_request_in_order_and_the_answer_in_reverse() -> None:
    chain = [Plugin(LOGGER, name="first"), Plugin(LOGGER, name="second")]
    with Sandbox(chain) as sandbox:
        seen = sandbox.request(headers={"user-agent": "x"})
        assert [line.plugin for line in seen.logs] == ["first", "second"]
        answers = [call.plugin for call in seen.trace
                   if call.name == "proxy_on_response_headers"]
        assert answers == ["second", "first"]
        assert len({call.context for call in seen.trace}) == 2


def test_a_body_ends_with_its_last_chunk_over_http2_and_behind_it_over_http1() -> None:
    with Sandbox(LOGGER) as sandbox:
        for protocol, ends in (("HTTP/2", [False, True]), ("HTTP/1.1", [False, False, True])):
            seen = sandbox.request("POST", body=[b"ab", b"c"], protocol=protocol)
            assert seen.upstream is not None
            assert seen.upstream.body == b"abc"
            assert [dict(call.arguments)["end_of_stream"] for call in seen.trace
                    if call.name == "proxy_on_request_body"] == ends


def test_upstream_may_be_a_function_of_what_arrived() -> None:
    def echo(message: Message) -> Reply:
        return Reply(201, {"x-path": message.headers[":path"]}, message.body, {"t": "1"})

    seen = Sandbox(LOGGER).request("POST", "/a?b=c", body="text", upstream=echo)
    assert seen.client is not None
    assert (seen.status, seen.client.text, seen.client.headers["x-path"]) == (201, "text", "/a?b=c")
    assert seen.client.trailers is not None
    assert seen.client.trailers.items() == [("t", "1")]


def test_a_function_that_raises_or_answers_nonsense_is_an_error_and_work_goes_on() -> None:
    def broken(message: Message) -> Reply:
        raise KeyError("ours")

    with Sandbox(LOGGER) as sandbox:
        with pytest.raises(HostCallFailed, match="ours"):
            sandbox.request(upstream=broken)
        with pytest.raises(HostCallFailed, match="NoneType"):
            sandbox.request(upstream=lambda message: None)  # type: ignore[arg-type,return-value]
        assert sandbox.request().status == 200


def test_a_request_piece_by_piece_shows_where_it_stands() -> None:
    with Sandbox(LOGGER) as sandbox:
        steps = sandbox.start("POST", "/", {"user-agent": "x"})
        with pytest.raises(SandboxMisuse):
            steps.data(b"too early")
        assert steps.headers().state == "paused"
        with pytest.raises(SandboxMisuse):
            steps.respond()
        assert steps.data(b"abc", end=True).upstream.body == b"abc"  # type: ignore[union-attr]
        assert steps.respond(Reply(204)).status == 204
        assert steps.exchange.state == "complete"


def test_a_client_that_goes_away_ends_the_stream_and_the_plugin_is_told() -> None:
    with Sandbox(LOGGER) as sandbox:
        steps = sandbox.start()
        steps.headers()
        gone = steps.disconnect()
        assert (gone.state, gone.status, gone.client) == ("reset", 0, None)
        assert [call.name for call in gone.trace][-2:] == ["proxy_on_done", "proxy_on_delete"]
        assert sandbox.request().status == 200


def test_bad_arguments_are_named() -> None:
    for wrong in ({"mode": "nginx"}, {"log_level": "loud"}, {"deadline": 0},
                  {"fail_policy": "maybe"}, {"plugin_config": 7}):
        with pytest.raises(BadInput) as caught:
            Sandbox(LOGGER, **wrong)  # type: ignore[arg-type]
        assert next(iter(wrong)) in caught.value.what
        assert caught.value.fix
    with Sandbox(LOGGER) as sandbox:
        for odd in ({"protocol": "HTTP/3"}, {"headers": 5}, {"headers": {"a": 5}}, {"body": 5}):
            with pytest.raises(BadInput):
                sandbox.request(**odd)  # type: ignore[arg-type]
        assert sandbox.request().status == 200
    with pytest.raises(BadInput):
        Reply(status=20)
    with pytest.raises(BadInput):
        Sandbox([])


def test_what_is_no_module_is_refused_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "text.wasm").write_text("hello")
    for file in (tmp_path / "text.wasm", tmp_path / "missing.wasm"):
        with pytest.raises(BadModule):
            Sandbox(file)


def test_a_closed_sandbox_says_so() -> None:
    sandbox = Sandbox(LOGGER)
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxClosed):
        sandbox.request()


def test_threads_take_turns() -> None:
    with Sandbox(LOGGER, trace=False) as sandbox:
        found: list[int] = []

        def work() -> None:
            found.extend(sandbox.request(headers={"user-agent": "x"}).status for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [200] * 200
        assert len(sandbox.logs) == 200 + 1, "and one line of the start"
