"""How a plugin starts, fails to start, and is stopped when it runs too long.

Section "Start and CPU" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import time

import pytest
from sandbox_wat import LOOP, call, plugin, said, say

from helpers import paths
from helpers.sandbox import (
    ConfigureFailed,
    DeadlineExceeded,
    GuestPanic,
    Plugin,
    Reply,
    RestrictedCall,
    Sandbox,
    StartFailed,
    pairs,
)
from helpers.sandbox.exports import CALLBACKS, START_CALLS

#: Short, so that the suite is: how exactly it is kept is measured by `workbook bench sandbox`.
DEADLINE = 0.05
#: A loop that was not stopped would run for ever. A busy machine may take its time.
PATIENCE = 20.0
#: While these run, the plugin starts; and these never run.
STARTING = ("proxy_on_vm_start", "proxy_on_configure")
NEVER = ("proxy_validate_configuration", "proxy_on_foreign_function",
         "proxy_on_grpc_receive_initial_metadata", "proxy_on_grpc_receive_trailing_metadata")
RUNNING = [name for name in CALLBACKS if name not in (*STARTING, *NEVER)]
#: What makes each callback happen that does not come by itself.
_TICK = f"(drop {call('proxy_set_tick_period_milliseconds', 100)})"
_ENQUEUE = (f"(drop {call('proxy_register_shared_queue', 0, 1, 64)})"
            f"(drop {call('proxy_enqueue_shared_queue', 1, 0, 1)})")
PAIRS = pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"x")])
_CALL = f"(drop {call('proxy_http_call', 0, 1, 256, len(PAIRS), 0, 0, 0, 0, 0, 64)})"
_GRPC = "".join(f"(drop {call('proxy_grpc_call', at, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 64)})"
                for at in (1, 2))


def everything(broken: str, body: str) -> Sandbox:
    """A plugin in which each callback happens, and `body` is that of `broken`.

    proxy_on_context_create breaks for streams only: the root's is the start.
    """
    callbacks = {"proxy_on_configure": _TICK}
    if broken == "proxy_on_context_create":
        body = f"(if (local.get 1) (then {body}))"
    callbacks[broken] = callbacks.get(broken, "") + body
    headers = _ENQUEUE + _CALL + _GRPC
    callbacks["proxy_on_request_headers"] = headers + callbacks.get("proxy_on_request_headers", "")
    module = plugin(callbacks, data={0: b"cgh", 256: PAIRS})
    return Sandbox(module, deadline=DEADLINE,
                   callouts={"c": Reply(), "g": Reply.grpc(b"one"), "h": None})


def happen(sandbox: Sandbox) -> None:
    """Let every callback happen."""
    sandbox.request(method="POST", body=[b"one", b"two"], trailers={"end": "1"},
                    protocol="HTTP/2", upstream=Reply(body=[b"three"], trailers={"end": "2"}))
    sandbox.advance(0.1)


def stopped(sandbox: Sandbox) -> float:
    """Seconds until a loop in a callback was stopped."""
    begun = time.monotonic()
    happen(sandbox)
    return time.monotonic() - begun


def test_the_callbacks_of_these_tests_all_happen(way: str) -> None:
    for name in RUNNING:
        if name in ("proxy_on_done", "proxy_on_delete"):
            continue  # they come at the end of the stream, which the others need not reach
        sandbox = everything(name, say("(i32.const 7)"))
        happen(sandbox)
        assert 7 in said(sandbox.logs), name
        assert not sandbox.panics


@pytest.mark.parametrize("name", RUNNING)
def test_an_endless_loop_in_a_callback_is_stopped_at_the_deadline(way: str, name: str) -> None:
    sandbox = everything(name, LOOP)
    took = stopped(sandbox)
    assert [type(panic) for panic in sandbox.panics] == [DeadlineExceeded]
    assert sandbox.panics[0].callback == name
    assert "deadline=0.05" in sandbox.panics[0].cause
    assert took < PATIENCE
    assert sandbox.request().status == 503


@pytest.mark.parametrize("name", STARTING)
def test_an_endless_loop_while_it_is_configured_is_stopped(way: str, name: str) -> None:
    with pytest.raises(StartFailed) as caught:
        everything(name, LOOP)
    assert f"panicked in {name}" in caught.value.what
    assert "deadline=0.05" in caught.value.cause


@pytest.mark.parametrize(("place", "extra"), [
    ("the start section", f"(start $s) (func $s {LOOP})"),
    ("_initialize", f'(func (export "_initialize") {LOOP})'),
    ("_start", f'(func (export "_start") {LOOP})'),
    ("main", '(func (export "_initialize")) (func (export "main") (param i32 i32) (result i32)'
             f"{LOOP} (i32.const 0))"),
])
def test_an_endless_loop_before_the_first_callback_is_stopped(
    way: str, place: str, extra: str
) -> None:
    with pytest.raises(StartFailed) as caught:
        Sandbox(plugin(extra=extra), deadline=DEADLINE)
    assert f"panicked in {place}" in caught.value.what
    assert "deadline" in caught.value.cause


def test_an_endless_loop_of_host_calls_is_stopped(way: str) -> None:
    body = f"(loop $on (drop {call('proxy_get_current_time_nanoseconds', 0)}) (br $on))"
    sandbox = everything("proxy_on_request_headers", body)
    assert stopped(sandbox) < PATIENCE
    assert isinstance(sandbox.panics[0], DeadlineExceeded)


def test_each_callback_has_the_whole_deadline_for_itself(way: str) -> None:
    # Thirty callbacks of a hundredth of a second each are more than the deadline together.
    body = ("(local i64) " + f"(drop {call('proxy_log', 0, 0, 0)})" +
            "(loop $on (local.set 3 (i64.add (local.get 3) (i64.const 1)))"
            "(br_if $on (i64.lt_u (local.get 3) (i64.const 3000000))))")
    sandbox = Sandbox(plugin({"request_body": body}), deadline=0.25, trace=False)
    assert sandbox.request(method="POST", body=[b"x"] * 60).status == 200


def test_a_restricted_call_during_start_is_refused_and_named(way: str) -> None:
    assert "proxy_set_tick_period_milliseconds" not in START_CALLS
    extra = f'(func (export "_initialize") {_TICK})'
    with pytest.raises(StartFailed) as caught:
        Sandbox(plugin(extra=extra))
    assert "proxy_set_tick_period_milliseconds was called while the module starts" \
        in caught.value.cause


def test_what_is_allowed_during_start_works(way: str) -> None:
    extra = f"""(func (export "_initialize")
        {say(call('proxy_get_log_level', 0), call('random_get', 0, 8),
             call('environ_sizes_get', 0, 4), call('clock_time_get', 0, 1, 0))})"""
    assert said(Sandbox(plugin(extra=extra)).logs) == [0, 0, 0, 0]


def test_a_call_in_the_start_section_is_refused_where_envoy_would_end(way: str) -> None:
    extra = f"(start $s) (func $s (drop {call('proxy_log', 2, 0, 1)}))"
    with pytest.raises(StartFailed) as caught:
        Sandbox(plugin(extra=extra))
    assert "proxy_log was called" in caught.value.cause


def test_vm_start_false_is_a_start_that_failed(way: str) -> None:
    with pytest.raises(StartFailed) as caught:
        Sandbox(plugin({"proxy_on_vm_start": "(return (i32.const 0))"}))
    assert "proxy_on_vm_start answered false" in caught.value.what


def test_configure_false_is_a_configuration_that_is_refused(way: str) -> None:
    with pytest.raises(ConfigureFailed):
        Sandbox(plugin({"proxy_on_configure": "(return (i32.const 0))"}))


def test_deep_recursion_is_a_panic_and_no_crash(way: str) -> None:
    extra = "(func $deep (param i32) (result i32) (call $deep (i32.add (local.get 0) " \
        "(i32.const 1))) (i32.add (i32.const 1)))"
    sandbox = Sandbox(plugin({"request_headers": "(drop (call $deep (i32.const 0)))"},
                             extra=extra))
    assert sandbox.request().status == 503
    assert "call stack exhausted" in sandbox.panics[0].trap
    assert 0 < len(sandbox.panics[0].frames) <= 20


def test_a_host_call_from_the_bottom_of_the_stack_is_no_crash(way: str) -> None:
    asks = f"(if (i32.eqz (i32.rem_u (local.get 0) (i32.const 97))) (then " \
        f"(drop {call('proxy_get_header_map_pairs', 0, 0, 4)})))"
    extra = f"(func $deep (param i32) {asks} (call $deep (i32.add (local.get 0) (i32.const 1))))"
    sandbox = Sandbox(plugin({"request_headers": "(call $deep (i32.const 0))"}, extra=extra),
                      deadline=60, trace=False)
    assert sandbox.request().status == 503
    assert "call stack exhausted" in sandbox.panics[0].trap


@pytest.mark.parametrize("name", RUNNING)
def test_unreachable_in_a_callback_is_a_panic_that_names_it(way: str, name: str) -> None:
    sandbox = everything(name, "unreachable")
    happen(sandbox)
    assert [panic.callback for panic in sandbox.panics] == [name]
    assert type(sandbox.panics[0]) is GuestPanic
    assert "unreachable" in sandbox.panics[0].trap


@pytest.mark.parametrize("name", STARTING)
def test_unreachable_while_it_is_configured_is_a_start_that_failed(way: str, name: str) -> None:
    with pytest.raises(StartFailed) as caught:
        everything(name, "unreachable")
    assert f"panicked in {name}" in caught.value.what


def test_after_a_trap_nothing_runs_in_that_vm(way: str) -> None:
    module = plugin({"request_headers": "unreachable", "tick": say("(i32.const 1)"),
                     "log": say("(i32.const 2)"), "done": say("(i32.const 3)"),
                     "configure": _TICK})
    sandbox = Sandbox(module)
    for _ in range(3):
        assert sandbox.request().status == 503
        sandbox.advance(1)
    sandbox.close()
    assert said(sandbox.logs) == []
    assert len(sandbox.panics) == 1


def test_a_trap_in_initialize_keeps_main_from_running(way: str) -> None:
    extra = '(func (export "_initialize") unreachable) (func (export "main") (param i32 i32) ' \
        f"(result i32) {say('(i32.const 1)')} (i32.const 0))"
    with pytest.raises(StartFailed) as caught:
        Sandbox(plugin(extra=extra))
    assert "_initialize" in caught.value.what
    assert "00000001" not in caught.value.detail


@pytest.mark.parametrize("code", [0, 3, -1])
def test_proc_exit_is_a_panic_and_ends_no_process(way: str, code: int) -> None:
    sandbox = everything("proxy_on_request_headers",
                         f"(call $proc_exit (i32.const {code}))")
    happen(sandbox)
    assert f"proc_exit({code & 0xFFFFFFFF})" in sandbox.panics[0].trap


def test_proc_exit_during_start_is_restricted_as_in_envoy(way: str) -> None:
    with pytest.raises(StartFailed) as caught:
        Sandbox(plugin(extra='(func (export "_initialize") (call $proc_exit (i32.const 0)))'))
    assert "proc_exit was called while the module starts" in caught.value.cause


def test_a_restricted_call_of_the_allocator_is_a_panic_with_its_name(way: str) -> None:
    malloc = f'(func (export "malloc") (param i32) (result i32) {_TICK} (i32.const 4096))'
    body = f"(drop {call('proxy_get_header_map_pairs', 0, 0, 4)})"
    sandbox = Sandbox(plugin({"request_headers": body}, malloc=malloc))
    assert sandbox.request().status == 503
    assert isinstance(sandbox.panics[0], RestrictedCall)
    assert "while the module allocates memory" in sandbox.panics[0].cause


def test_a_plugin_that_fails_to_start_leaves_nothing_of_the_chain_behind(way: str) -> None:
    good = Plugin(paths.plugins() / "prebuilt" / "header_logger.wasm", name="good")
    bad = Plugin(plugin({"configure": "unreachable"}), name="bad")
    for _ in range(3):
        with pytest.raises(StartFailed):
            Sandbox([good, bad])
    assert Sandbox(good).request().status == 200
