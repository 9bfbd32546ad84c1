"""What breaks on the host's side: functions that raise, Ctrl-C, threads, forks, closing.

Section "Host" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
from sandbox_wat import LOOP, call, plugin, said, say

from helpers.errors import BadInput
from helpers.sandbox import (
    Callout,
    HostCallFailed,
    Plugin,
    Reply,
    Sandbox,
    SandboxClosed,
    pairs,
)

CALL_PAIRS = pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"x")])
CALLOUT = call("proxy_http_call", 0, 1, 64, len(CALL_PAIRS), 0, 0, 0, 0, 0, 32)
FOREIGN = call("proxy_call_foreign_function", 0, 1, 0, 0, 512, 516)
DATA = {0: b"c", 64: CALL_PAIRS}
PAUSE = "(return (i32.const 1))"
#: Where a plugin may call a function of the caller's, and what makes it happen.
PLACES = ("configure", "context_create", "request_headers", "request_body", "response_headers",
          "log", "done", "delete", "tick")
TICK = f"(drop {call('proxy_set_tick_period_milliseconds', 1)})"


class Broken:
    """A foreign function, and an upstream, that raise what they are told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.on = True

    def __call__(self, *_: object) -> bytes:
        if self.on:
            raise self.error
        return b"fine"


def calling(place: str, wanted: str = FOREIGN) -> bytes:
    """A plugin that calls the foreign function at one place."""
    callbacks = {"configure": TICK}
    callbacks[place] = callbacks.get(place, "") + say(wanted)
    return plugin(callbacks, data=DATA)


def happen(sandbox: Sandbox) -> None:
    sandbox.request("POST", body="x", protocol="HTTP/2")
    sandbox.advance(0.001)
    sandbox.close()


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_of_a_foreign_function_is_an_error_with_its_cause(
    way: str, place: str
) -> None:
    broken = Broken(ZeroDivisionError("by zero"))
    with pytest.raises(HostCallFailed) as caught:
        happen(Sandbox(calling(place), foreign={"c": broken}))
    assert caught.value.__cause__ is broken.error
    assert "ZeroDivisionError: by zero" in caught.value.what


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("place", PLACES)
def test_a_keyboard_interrupt_in_a_foreign_function_comes_out_and_leaves_a_defined_state(
    way: str, place: str, error: BaseException
) -> None:
    broken = Broken(error)
    broken.on = place in ("configure", "context_create")
    box: list[Sandbox] = []

    def work() -> None:
        box.append(Sandbox(calling(place), foreign={"c": broken}))
        broken.on = True
        happen(box[0])

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    broken.on = False
    if box and place not in ("done", "delete"):
        # The guest was cut in the middle of something: its VM is dead, the sandbox is not.
        assert box[0].request().status == 503
        assert box[0].panics[0].trap == "the host interrupted it"
        box[0].close()
    assert Sandbox(calling(place), foreign={"c": broken}).request().status == 200


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_exception_in_a_callout_s_function_ends_the_request_and_not_the_vm(
    way: str, error: BaseException
) -> None:
    broken = Broken(error)
    module = plugin({"request_headers": f"(drop {CALLOUT})" + PAUSE, "delete": say("(i32.const 4)"),
                     "http_call_response": say("(i32.const 3)")}, data=DATA)

    def answer(callout: Callout) -> Reply:
        broken()
        return Reply()

    sandbox = Sandbox(module, callouts={"c": answer})
    with pytest.raises(HostCallFailed if isinstance(error, Exception) else KeyboardInterrupt):
        sandbox.request()
    if isinstance(error, Exception):
        assert said(sandbox.logs) == [4]  # the stream that nobody will go on with is over
    broken.on = False
    sandbox.request()
    assert 3 in said(sandbox.logs)
    assert not sandbox.panics


@pytest.mark.parametrize("answer", ["text", 7, b"bytes", [Reply()]])
def test_an_answer_that_is_no_answer_is_an_error(way: str, answer: object) -> None:
    module = plugin({"request_headers": f"(drop {CALLOUT})"}, data=DATA)
    sandbox = Sandbox(module, callouts={"c": lambda _: answer})  # type: ignore[dict-item]
    with pytest.raises(HostCallFailed):
        sandbox.request()
    with pytest.raises(HostCallFailed):
        Sandbox(plugin()).request(upstream=lambda _: answer)  # type: ignore[arg-type]
    if not isinstance(answer, bytes):
        with pytest.raises(HostCallFailed):
            Sandbox(calling("log"), foreign={"c": lambda _: answer}).request()  # type: ignore[dict-item]


def test_an_exception_of_upstream_ends_the_request_and_not_the_vm(way: str) -> None:
    sandbox = Sandbox(plugin({"log": say("(i32.const 1)")}))
    for error in (ValueError("no"), KeyboardInterrupt()):
        broken: Callable[..., Reply] = Broken(error)  # type: ignore[assignment]
        with pytest.raises((HostCallFailed, KeyboardInterrupt)):
            sandbox.request(upstream=broken)
    assert sandbox.request().status == 200
    assert not sandbox.panics


def test_an_exception_of_upstream_after_a_pause_comes_once(way: str) -> None:
    module = plugin({"configure": TICK, "request_headers": PAUSE, "tick":
                     "(drop (call $proxy_set_effective_context (i32.const 2)))"
                     f"(drop {call('proxy_continue_stream', 0)})"})
    sandbox = Sandbox(module)
    held = sandbox.request(upstream=Broken(ValueError("no")))  # type: ignore[arg-type]
    assert held.state == "paused"
    with pytest.raises(HostCallFailed):
        sandbox.advance(0.001)
    assert held.state == "reset"
    sandbox.advance(1)


def test_a_foreign_function_s_answer_larger_than_memory_is_a_status(way: str) -> None:
    sandbox = Sandbox(calling("request_headers"), foreign={"c": lambda _: b"x" * 2_000_000},
                      memory_limit=1 << 20)
    assert said(sandbox.request()) == [6]


@pytest.mark.parametrize("body", ["unreachable", LOOP])
def test_the_trap_of_one_vm_leaves_the_stream_of_another_alone(way: str, body: str) -> None:
    good = Plugin(plugin({"log": say("(i32.const 5)"), "request_headers": PAUSE}), name="good")
    bad = Plugin(plugin({"tick": body, "configure": TICK}), name="bad", fail_policy="open")
    sandbox = Sandbox([bad, good], deadline=0.05)
    steps = sandbox.start()
    steps.headers(end=True)
    sandbox.advance(0.01)
    assert [panic.plugin for panic in sandbox.panics] == ["bad"]
    assert steps.exchange.state == "paused"
    assert steps.disconnect().state == "reset"
    assert said(sandbox.logs) == [5]
    assert sandbox.request().panics == ()


def test_vms_of_different_ids_share_nothing_but_what_the_abi_shares(way: str) -> None:
    writes = say(call("proxy_set_shared_data", 0, 1, 0, 1, 0),
                 call("proxy_register_shared_queue", 0, 1, 32))
    reads = say(call("proxy_get_shared_data", 0, 1, 32, 36, 40),
                call("proxy_resolve_shared_queue", 0, 0, 0, 1, 32))
    first = Plugin(plugin({"request_headers": writes}, data=DATA), vm_id="one")
    for vm_id, found in (("two", [1, 1]), ("one", [0, 0])):
        other = Plugin(plugin({"request_headers": reads}, data=DATA), vm_id=vm_id)
        assert said(Sandbox([first, other]).request()) == [0, 0, *found]


def test_after_close_every_call_says_so(way: str) -> None:
    sandbox = Sandbox(plugin({"request_headers": PAUSE}))
    steps = sandbox.start()
    steps.headers(end=True)
    sandbox.close()
    sandbox.close()
    for work in (sandbox.request, sandbox.start, lambda: sandbox.advance(1), steps.disconnect):
        with pytest.raises(SandboxClosed):
            work()
    assert steps.exchange.state == "paused"
    assert sandbox.logs == ()


def test_closing_while_a_function_raises_gives_the_memory_back_all_the_same(way: str) -> None:
    sandbox = Sandbox([Plugin(calling("done"), name="a"), Plugin(plugin(), name="b")],
                      foreign={"c": Broken(ValueError("no"))})
    guests = [weakref.ref(handle.root.vm.guest) for handle in sandbox._handles]
    with pytest.raises(HostCallFailed):
        sandbox.close()
    with pytest.raises(SandboxClosed):
        sandbox.request()
    del sandbox
    gc.collect()
    assert [guest() for guest in guests] == [None, None]


def test_a_sandbox_that_was_never_closed_is_collected(way: str) -> None:
    sandbox = Sandbox(plugin({"request_headers": say("(i32.const 1)")}))
    assert said(sandbox.request()) == [1]
    gone = weakref.ref(sandbox.host)
    del sandbox
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("now", [-1.0, float("nan"), float("inf"), 1e12])
def test_a_moment_that_is_none_is_refused(now: float) -> None:
    with pytest.raises(BadInput):
        Sandbox(plugin(), now=now)


@pytest.mark.parametrize("delay", [-1.0, float("nan"), "soon"])
def test_a_delay_that_is_none_is_refused(delay: float) -> None:
    with pytest.raises(BadInput):
        Reply(delay=delay)
