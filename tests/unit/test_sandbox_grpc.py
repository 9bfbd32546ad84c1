"""gRPC calls of a plugin. What it is told is what a real Envoy 1.40 told it of the same answers."""

from __future__ import annotations

import pytest
import wasmtime

from helpers.sandbox import Callout, Exchange, Reply, Sandbox, pairs
from helpers.sandbox.grpc import cluster_of, frame

GRPC = {"content-type": "application/grpc"}
METADATA = pairs.encode([(b"x-md", b"1"), (b"X-Key-bin", b"\x01")])
_TEXTS = {0: b"svc", 100: b"pkg.Svc", 200: b"Do", 300: METADATA, 500: b"hello", 600: b"status ?",
          620: b"id ??", 640: b"close ?"}


def _escaped(content: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in content)


def asking(*, cluster: int = 3, timeout: int = 200, then: str = "") -> bytes:
    """Asks "svc" at each request, logs what it is told, and lets the request go on then.

    Args:
        cluster: how much of the name is used.
        then: more code, after the call.
    """
    data = "".join(f'(data (i32.const {at}) "{_escaped(text)}")' for at, text in _TEXTS.items())
    return bytes(wasmtime.wat2wasm(f"""(module
      (import "env" "proxy_grpc_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32
        i32) (result i32)))
      (import "env" "proxy_grpc_cancel" (func $cancel (param i32) (result i32)))
      (import "env" "proxy_grpc_send" (func $send (param i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
      (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32)
        (result i32)))
      (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
      (import "env" "proxy_set_effective_context" (func $for (param i32) (result i32)))
      (import "env" "proxy_continue_stream" (func $go (param i32) (result i32)))
      (memory (export "memory") 3) {data}
      (global $top (mut i32) (i32.const 65536))
      (global $stream (mut i32) (i32.const 0))
      (func (export "proxy_abi_version_0_2_1"))
      (func (export "malloc") (param $size i32) (result i32)
        global.get $top
        (global.set $top (i32.add (global.get $top) (local.get $size))))
      (func $digit (param $at i32) (param $value i32)
        (i32.store8 (local.get $at) (i32.add (i32.const 48) (local.get $value))))
      (func $say (drop (call $log (i32.const 2) (i32.load (i32.const 704))
        (i32.load (i32.const 708)))))
      (func $note (param $value i32)
        (call $digit (i32.const 607) (local.get $value))
        (drop (call $log (i32.const 2) (i32.const 600) (i32.const 8))))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (local $answer i32)
        (global.set $stream (local.get 0))
        (local.set $answer (call $call (i32.const 0) (i32.const {cluster}) (i32.const 100)
          (i32.const 7) (i32.const 200) (i32.const 2) (i32.const 300) (i32.const {len(METADATA)})
          (i32.const 500) (i32.const 5) (i32.const {timeout}) (i32.const 700)))
        (call $note (local.get $answer))
        {then}
        (i32.eqz (local.get $answer)))
      (func $resume (drop (call $for (global.get $stream))) (drop (call $go (i32.const 0))))
      (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
        (drop (call $buffer (i32.const 5) (i32.const 0) (i32.const 999) (i32.const 704)
          (i32.const 708)))
        (call $say) (call $resume))
      (func (export "proxy_on_grpc_close") (param $root i32) (param $id i32) (param $status i32)
        (drop (call $status (i32.const 700) (i32.const 704) (i32.const 708)))
        (call $note (local.get $status)) (call $say) (call $resume)))"""))


def ask(answer: Reply | None, *, cluster: int = 3, timeout: int = 200) -> Exchange:
    """One request, with this answer to the call that the plugin makes."""
    with Sandbox(asking(cluster=cluster, timeout=timeout), callouts={"svc": answer}) as sandbox:
        exchange = sandbox.request()
        assert exchange.status == 200
        return exchange


@pytest.mark.parametrize(("answer", "message"), [
    (Reply.grpc(b"hi"), "hi"), (Reply.grpc(b""), ""), (Reply.grpc(b"hi", delay=0.1), "hi"),
    (Reply(200, GRPC, [frame(b"hi")[:3], frame(b"hi")[3:]], {"grpc-status": "0"}), "hi"),
    (Reply(200, GRPC, frame(b"one") + frame(b"two"), {"grpc-status": "0"}), "two"),
])
def test_the_message_of_an_answer_is_handed_to_the_plugin(answer: Reply, message: str) -> None:
    assert [line.text for line in ask(answer).logs] == ["status 0", message]


_RESET = "upstream connect error or disconnect/reset before headers. reset reason: remote reset" \
    "{upstream_reset_before_response_started{remote_reset}}"


@pytest.mark.parametrize(("answer", "status", "text"), [
    (Reply.grpc(status=5, text="not%20here"), 5, "not%20here{via_upstream}"),
    (Reply(200, GRPC, frame(b"hi"), {"grpc-status": "5", "grpc-message": "bad"}), 5,
     "bad{via_upstream}"),
    (Reply(200, GRPC, frame(b"hi")), 2, "via_upstream"),
    (Reply(200, GRPC, b"", {"grpc-status": "0"}), 13, ""),
    (Reply(200, GRPC | {"grpc-status": "0"}), 13, ""),
    (Reply(200, GRPC | {"grpc-status": "99"}), -1, "via_upstream"),
    (Reply(200, GRPC | {"grpc-status": "x"}), -1, "via_upstream"),
    (Reply(200, GRPC, b"\1\0\0\0\2hi", {"grpc-status": "0"}), 13, "via_upstream"),
    (Reply(200, {"content-type": "text/html"}, b"zz"), 13, "via_upstream"),
    (Reply(403, body=b"x"), 7, "via_upstream"), (Reply(500), 2, "via_upstream"),
    (None, 14, _RESET),
    (Reply.grpc(b"late", delay=1), 14, "upstream request timeout{response_timeout}"),
])
def test_an_answer_without_a_message_is_a_status_and_a_reason(
    answer: Reply | None, status: int, text: str
) -> None:
    digit = chr(48 + status)
    assert [line.text for line in ask(answer).logs] == ["status 0", f"status {digit}", text]


def test_the_service_is_asked_as_envoy_asks_it() -> None:
    asked: list[Callout] = []

    def service(call: Callout) -> Reply:
        asked.append(call)
        return Reply.grpc(b"hi")

    with Sandbox(asking(), callouts={"svc": service}) as sandbox:
        exchange = sandbox.request()
    (call,) = asked
    assert exchange.callouts == (call,)
    assert call.headers.items() == [
        (":method", "POST"), (":path", "/pkg.Svc/Do"), (":authority", "svc"), (":scheme", "http"),
        ("te", "trailers"), ("grpc-timeout", "200m"), ("content-type", "application/grpc"),
        ("x-md", "1"), ("x-key-bin", "AQ==")]
    assert (call.cluster, call.message, call.body) == ("svc", b"hello", frame(b"hello"))


@pytest.mark.parametrize(("timeout", "told"), [(0, "0m"), (-5, "4294967S")])
def test_a_timeout_is_told_in_a_unit_in_which_it_fits(timeout: int, told: str) -> None:
    assert ask(Reply.grpc(b"hi"), timeout=timeout).callouts[0].headers["grpc-timeout"] == told


def test_a_cluster_that_nobody_knows_is_a_parse_failure() -> None:
    exchange = ask(Reply.grpc(b"hi"), cluster=2)
    assert [line.text for line in exchange.logs] == ["status 4"]
    assert "there is no cluster 'sv'" in exchange.diagnostics[0]


@pytest.mark.parametrize(("service", "cluster"), [
    (b"grpcbin", b"grpcbin"), (b"\n\5\n\3svc", b"svc"), (b"\n\3svc", b"\n\3svc"), (b"", b""),
])
def test_a_cluster_is_named_in_text_or_in_a_serialised_service(
    service: bytes, cluster: bytes
) -> None:
    assert cluster_of(service) == cluster


@pytest.mark.parametrize(("then", "answers"), [
    ("(call $note (call $cancel (i32.load (i32.const 700))))", ["0"]),
    ("(call $note (call $cancel (i32.const 405)))", ["1", "message"]),
    ("(call $note (call $cancel (i32.const 4)))", ["2", "message"]),
    ("(call $note (call $send (i32.load (i32.const 700)) (i32.const 0) (i32.const 1) "
     "(i32.const 0)))", ["2", "message"]),
])
def test_a_call_can_be_cancelled_and_nothing_sent_into_it(then: str, answers: list[str]) -> None:
    with Sandbox(asking(then=then), callouts={"svc": Reply.grpc(b"message")}) as sandbox:
        exchange = sandbox.request()
        assert [line.text.removeprefix("status ") for line in exchange.logs] == ["0", *answers]
        assert exchange.state == ("complete" if "message" in answers else "paused")
