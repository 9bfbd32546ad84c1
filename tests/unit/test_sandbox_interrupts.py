"""Ctrl-C comes out as KeyboardInterrupt, wherever it strikes, and what is left can be used.

Section "Host" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time

import pytest
from sandbox_wat import call, plugin, say

from helpers.sandbox import Sandbox, SandboxMisuse


def interrupted(sandbox: Sandbox, delay: float) -> None:
    """A request, and Ctrl-C after so many seconds."""
    threading.Timer(delay, _thread.interrupt_main).start()
    sandbox.request()


@pytest.mark.parametrize("trace", [True, False])
def test_ctrl_c_stops_a_guest_that_calls_the_host_all_the_time(way: str, trace: bool) -> None:
    # A signal is seen where Python begins to run: on the border, where C cannot pass it on.
    body = f"(loop $on (drop {call('proxy_get_log_level', 512)}) (br $on))"
    sandbox = Sandbox(plugin({"request_headers": body}), deadline=60, trace=trace)
    hook = sys.unraisablehook
    for delay in (0.02, 0.05, 0.07):
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interrupted(sandbox, delay)
        assert time.monotonic() - begun < 30
        assert sandbox.request().status == 503
        assert sys.unraisablehook is hook
        sandbox = Sandbox(plugin({"request_headers": body}), deadline=60, trace=trace)


def test_ctrl_c_at_any_moment_leaves_a_sandbox_that_can_be_used(way: str) -> None:
    module = plugin({"request_headers": say(call("proxy_get_log_level", 512)), "log": ""})
    sandbox = Sandbox(module, fail_policy="reload", trace=False)
    hook, interrupted = sys.unraisablehook, 0
    for number in range(40):
        timer = threading.Timer(0.001 + number * 0.0003, _thread.interrupt_main)
        try:
            timer.start()
            while True:
                sandbox.request()
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        sandbox.advance(2)  # the time after which a VM may be reloaded
        assert sandbox.request().status == 200
        assert sys.unraisablehook is hook
    assert interrupted == 40
    sandbox.close()


def test_the_handler_of_the_caller_is_there_again_afterwards(way: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    inner = Sandbox(plugin())
    sandbox = Sandbox(plugin({"request_headers": say(call("proxy_call_foreign_function", 0, 0, 0, 0,
                                                          0, 0))}),
                      foreign={"": lambda _: str(inner.request().status).encode()})
    sandbox.request()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_raises_something_else_is_heard(way: str) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGINT, stop)
    try:
        body = f"(loop $on (drop {call('proxy_get_log_level', 512)}) (br $on))"
        sandbox = Sandbox(plugin({"request_headers": body}), deadline=60, trace=False)
        with pytest.raises(Stop):
            interrupted(sandbox, 0.05)
        assert sandbox.request().status == 503
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_request_from_the_bottom_of_a_recursion_is_served_or_refused(way: str) -> None:
    module = plugin({"request_headers": say(call("proxy_get_log_level", 512))})

    def deep(calls: int, sandbox: Sandbox) -> int:
        return deep(calls - 1, sandbox) if calls else sandbox.request().status

    def ends(calls: int) -> str:
        sandbox = Sandbox(module, trace=False)
        try:
            return str(deep(calls, sandbox))
        except (RecursionError, SandboxMisuse):
            return "refused"

    limit = sys.getrecursionlimit()
    seen = [ends(calls) for calls in (10, *range(limit - 300, limit, 7))]
    assert seen[0] == "200"
    assert set(seen) == {"200", "refused"}
