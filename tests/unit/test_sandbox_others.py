"""What plugins of others showed to be missing in the sandbox (docs/sandbox-others.md)."""

from __future__ import annotations

import pytest
import wasmtime

from helpers.sandbox import Headers, LocalReply, Plugin, Reply, Sandbox, local, pairs
from helpers.sandbox.headers import RequestHeaders

_SIGNATURES = {
    "env.proxy_set_tick_period_milliseconds": ("i32", "i32"),
    "env.proxy_set_effective_context": ("i32", "i32"),
    "env.proxy_continue_stream": ("i32", "i32"),
    "env.proxy_log": ("i32 " * 3, "i32"),
    "env.proxy_http_call": ("i32 " * 10, "i32"),
    "env.proxy_get_header_map_value": ("i32 " * 5, "i32"),
    "env.proxy_set_buffer_bytes": ("i32 " * 5, "i32"),
    "env.proxy_register_shared_queue": ("i32 " * 3, "i32"),
    "env.proxy_resolve_shared_queue": ("i32 " * 5, "i32"),
    "env.proxy_enqueue_shared_queue": ("i32 " * 3, "i32"),
    "env.proxy_dequeue_shared_queue": ("i32 " * 3, "i32"),
    "wasi_snapshot_preview1.poll_oneoff": ("i32 " * 4, "i32"),
    "wasi_snapshot_preview1.clock_time_get": ("i32 i64 i32", "i32"),
    "wasi_snapshot_preview1.fd_write": ("i32 " * 4, "i32"),
}


def _escaped(content: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in content)


def plugin(body: str, *, data: dict[int, bytes] | None = None, uses: tuple[str, ...] = ()) -> bytes:
    """A module of ABI 0.2.1 with an allocator, `data` at its places, and `body`."""
    imports = "".join(
        f'(import "{name.partition(".")[0]}" "{name.partition(".")[2]}" (func '
        f"${name.partition('.')[2]} (param {_SIGNATURES[name][0]}) (result i32)))"
        for name in uses)
    segments = "".join(
        f'(data (i32.const {at}) "{_escaped(content)}")' for at, content in (data or {}).items())
    return bytes(wasmtime.wat2wasm(f"""(module {imports}
        (memory (export "memory") 2) {segments}
        (global $top (mut i32) (i32.const 65536))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param $size i32) (result i32)
            global.get $top
            (global.set $top (i32.add (global.get $top) (local.get $size))))
        {body})"""))


_HEADERS = pairs.encode([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"svc")])
#: Asks the cluster "svc" at each request and logs the answer's status, or "none".
ASKING = plugin(
    f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $proxy_http_call (i32.const 0) (i32.const 3) (i32.const 16)
            (i32.const {len(_HEADERS)}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 250) (i32.const 200)))
        (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (if (i32.eqz (local.get 2))
            (then (drop (call $proxy_log (i32.const 2) (i32.const 160) (i32.const 4))))
            (else
                (drop (call $proxy_get_header_map_value (i32.const 6) (i32.const 170) (i32.const 7)
                    (i32.const 208) (i32.const 212)))
                (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 208))
                    (i32.load (i32.const 212)))))))""",
    data={0: b"svc", 16: _HEADERS, 160: b"none", 170: b":status"},
    uses=("env.proxy_http_call", "env.proxy_get_header_map_value", "env.proxy_log"))


@pytest.mark.parametrize(("answer", "seen"), [
    (None, "503"), (Reply(delay=1), "504"), (Reply(204, delay=0.1), "204"),
    (Reply(cut=True), "none"),
])
def test_a_service_that_fails_is_an_answer_of_envoys_to_the_plugin(
    answer: Reply | None, seen: str
) -> None:
    with Sandbox(ASKING, callouts={"svc": answer}) as sandbox:
        assert [line.text for line in sandbox.request().logs] == [seen]


@pytest.mark.parametrize("answer", [None, Reply(delay=1)])
def test_the_specification_has_no_answer_for_a_service_that_fails(answer: Reply | None) -> None:
    with Sandbox(ASKING, callouts={"svc": answer}, mode="spec") as sandbox:
        assert [line.text for line in sandbox.request().logs] == ["none"]


@pytest.mark.parametrize(("start", "size", "body"), [
    (0, 0, b"XYhello"), (0, 2, b"XYllo"), (0, 5, b"XY"), (0, 900, b"XY"), (5, 0, b"helloXY"),
    (2, 1, b"hello"),
])
def test_the_beginning_of_a_body_can_be_replaced_and_its_middle_cannot(
    start: int, size: int, body: bytes
) -> None:
    module = plugin(
        f"""(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
            (drop (call $proxy_set_buffer_bytes (i32.const 1) (i32.const {start})
                (i32.const {size}) (i32.const 0) (i32.const 2)))
            (i32.const 0))""",
        data={0: b"XY"}, uses=("env.proxy_set_buffer_bytes",))
    with Sandbox(module) as sandbox:
        exchange = sandbox.request(upstream=Reply(body=b"hello"), protocol="HTTP/2")
        assert exchange.client is not None
        assert exchange.client.body == body


def test_a_panic_that_is_written_in_pieces_is_read_as_a_whole() -> None:
    pieces = [b"panic: ", b"no such user", b"\n\ngoroutine 1 [running]:\n", b"main.go:7\n"]
    vectors, texts, at = b"", b"", 64
    for piece in pieces:
        vectors += at.to_bytes(4, "little") + len(piece).to_bytes(4, "little")
        texts += piece
        at += len(piece)
    calls = "".join(
        f"(drop (call $fd_write (i32.const 2) (i32.const {8 * n}) (i32.const 1) (i32.const 56)))"
        for n in range(len(pieces)))
    module = plugin(
        f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            {calls} unreachable)""",
        data={0: vectors, 64: texts}, uses=("wasi_snapshot_preview1.fd_write",))
    with Sandbox(module) as sandbox:
        (panic,) = sandbox.request().panics
        assert panic.message == "panic: no such user"


def test_a_client_that_got_headers_before_the_panic_got_their_status() -> None:
    module = plugin("""(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        unreachable)""")
    with Sandbox(module) as sandbox:
        exchange = sandbox.request(upstream=Reply(201, body=[b"a", b"b"]))
        assert (exchange.state, exchange.status) == ("reset", 201)


def test_the_host_that_a_client_names_is_the_authority() -> None:
    with Sandbox(plugin("")) as sandbox:
        arrived = sandbox.request(headers={"Host": "example.com"}).upstream
        assert arrived is not None
        assert arrived.headers.all(":authority") == ["example.com"]
        assert "host" not in arrived.headers


def test_over_http_2_a_host_beside_the_authority_is_dropped() -> None:
    with Sandbox(plugin("")) as sandbox:
        arrived = sandbox.request(headers={"Host": "example.com"}, authority="here",
                                  protocol="HTTP/2").upstream
        assert arrived is not None
        assert arrived.headers.all(":authority") == ["here"]
        assert "host" not in arrived.headers


def answer(
    added: list[tuple[bytes, bytes]], *, body: bytes = b"no", grpc: int | None = None,
    content_type: bytes = b"",
) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """What a client gets of a local reply 403; as a real Envoy had it, with the same values."""
    reply = LocalReply(403, "", body, Headers(added), grpc)
    request = RequestHeaders([(b"content-type", content_type)])
    headers, content = local.message(reply, request, head=False)
    return tuple(headers.pairs), content


def test_a_local_reply_has_the_status_that_was_asked_for_whatever_its_headers_say() -> None:
    assert answer([(b":status", b"200"), (b"a", b"1")])[0] == (
        (b":status", b"403"), (b"a", b"1"), (b"content-length", b"2"),
        (b"content-type", b"text/plain"))


def test_a_local_replys_own_length_is_corrected_where_it_stands() -> None:
    assert answer([(b"content-length", b"99"), (b"a", b"1")])[0] == (
        (b":status", b"403"), (b"content-length", b"2"), (b"a", b"1"),
        (b"content-type", b"text/plain"))


def test_a_local_reply_without_a_body_speaks_of_none() -> None:
    assert answer([(b"content-type", b"text/html"), (b"content-length", b"7"), (b"a", b"1")],
                  body=b"") == (((b":status", b"403"), (b"a", b"1")), b"")


def test_a_grpc_client_gets_a_local_reply_in_headers_alone() -> None:
    given = [(b"a", b"1"), (b"grpc-status", b"3"), (b"b", b"2"), (b"content-length", b"9")]
    assert answer(given, body=b"say 100% \xc3\xa9\n~", grpc=7,
                  content_type=b"application/grpc+proto") == ((
        (b":status", b"200"), (b"a", b"1"), (b"grpc-status", b"3"), (b"b", b"2"),
        (b"content-type", b"application/grpc"),
        (b"grpc-message", b"say 100%25 %C3%A9%0A%7E")), b"")


@pytest.mark.parametrize(("asked", "told"), [(None, b"7"), (0, b"0"), (16, b"16"), (99, b"7")])
def test_a_grpc_status_that_there_is_not_comes_of_the_http_status(
    asked: int | None, told: bytes
) -> None:
    headers, _ = answer([], grpc=asked, content_type=b"application/grpc")
    assert dict(headers)[b"grpc-status"] == told


def test_validation_of_the_configuration_is_nothing_that_envoy_asks_for() -> None:
    with Sandbox(plugin("""(func (export "proxy_validate_configuration") (param i32 i32)
            (result i32) unreachable)""")) as sandbox:
        assert sandbox.request().status == 200


_RECEIVER = plugin(
    """(func (export "proxy_on_configure") (param i32 i32) (result i32)
        (i32.eqz (call $proxy_register_shared_queue (i32.const 0) (i32.const 1) (i32.const 64))))
    (func (export "proxy_on_queue_ready") (param i32 i32)
        (drop (call $proxy_dequeue_shared_queue (local.get 1) (i32.const 64) (i32.const 68)))
        (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 64)) (i32.load (i32.const 68)))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)""",
    data={0: b"q"},
    uses=("env.proxy_register_shared_queue", "env.proxy_dequeue_shared_queue", "env.proxy_log"))
_SENDER = plugin(
    """(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $proxy_resolve_shared_queue (i32.const 0) (i32.const 2) (i32.const 8)
            (i32.const 1) (i32.const 64)))
        (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 64)) (i32.const 16)
            (i32.const 5)))
        (i32.const 0))""",
    data={0: b"vm", 8: b"q", 16: b"hello"},
    uses=("env.proxy_resolve_shared_queue", "env.proxy_enqueue_shared_queue"))


def test_a_service_sees_no_request_and_works_beside_the_chain() -> None:
    chain = [Plugin(_RECEIVER, name="service", vm_id="vm", service=True),
             Plugin(_SENDER, name="filter")]
    with Sandbox(chain) as sandbox:
        assert sandbox.request().status == 200
        assert [(line.plugin, line.text) for line in sandbox.logs] == [("service", "hello")]


_FOREVER = 2**64 - 1


@pytest.mark.parametrize(("waits", "passed"), [
    ([(0, 20_000_000, 0)], 20_000_000), ([(0, 50, 0), (0, 30, 0), (1, 1, 0)], 30),
    ([(1, 5, 0)], 0), ([], 0), ([(0, _FOREVER, 0)], 1_000_000_000),
    ([(0, 1_700_000_000_000_000_007, 1)], 7), ([(0, 5, 1)], 0),
])
def test_a_guest_that_waits_moves_the_clock_which_stands_otherwise(
    waits: list[tuple[int, int, int]], passed: int
) -> None:
    wanted = b"".join(
        bytes(8) + bytes([tag]) + bytes(15) + span.to_bytes(8, "little") + bytes(8)
        + flags.to_bytes(2, "little") + bytes(6) for tag, span, flags in waits)
    module = plugin(
        f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $poll_oneoff (i32.const 1024) (i32.const 4096) (i32.const {len(waits)})
                (i32.const 8)))
            (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 16)))
            (drop (call $proxy_log (i32.const 2) (i32.const 16) (i32.const 8)))
            (i32.const 0))""",
        data={1024: wanted},
        uses=("wasi_snapshot_preview1.poll_oneoff", "wasi_snapshot_preview1.clock_time_get",
              "env.proxy_log"))
    with Sandbox(module, now=1_700_000_000, deadline=1) as sandbox:
        (line,) = sandbox.request().logs
        told = int.from_bytes(line.text.encode("utf-8", "surrogateescape"), "little")
        assert told - 1_700_000_000 * 10**9 == passed


def test_a_request_that_a_tick_lets_go_is_answered_then() -> None:
    module = plugin(
        """(global $held (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.eqz (call $proxy_set_tick_period_milliseconds (i32.const 1000))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (global.set $held (local.get 0))
            (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (global.get $held)))
            (drop (call $proxy_continue_stream (i32.const 0))))""",
        uses=("env.proxy_set_tick_period_milliseconds", "env.proxy_set_effective_context",
              "env.proxy_continue_stream"))
    with Sandbox(module) as sandbox:
        exchange = sandbox.request(method="POST", body=b"hello", upstream=Reply(201, body=b"made"))
        assert (exchange.state, exchange.upstream) == ("paused", None)
        sandbox.advance(5)
        assert (exchange.state, exchange.status) == ("complete", 201)
        assert exchange.upstream is not None
        assert exchange.upstream.body == b"hello"
        assert not sandbox.host.held
