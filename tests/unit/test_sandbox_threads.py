"""Threads that share a sandbox or have one each, and processes that fork.

Section "Host" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import os
import threading
import time

from sandbox_wat import LOOP, call, plugin, said, say

from helpers.sandbox import Sandbox

TICK = f"(drop {call('proxy_set_tick_period_milliseconds', 1)})"
DATA = {0: b"c"}


def test_two_threads_on_one_sandbox_take_turns(way: str) -> None:
    lines = f"(drop {call('proxy_log', 2, 0, 1)})" * 3
    sandbox = Sandbox(plugin({"request_headers": lines, "tick": "", "configure": TICK}, data=DATA))
    wrong: list[object] = []

    def work() -> None:
        for _ in range(50):
            exchange = sandbox.request()
            if [line.text for line in exchange.logs] != ["c"] * 3 or exchange.status != 200:
                wrong.append(exchange)
            sandbox.advance(0.001)
            assert sandbox.metrics == {}
            assert sandbox.shared_data() == {}

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong
    assert len(sandbox.logs) == 600


def test_sandboxes_in_threads_do_not_disturb_one_another(way: str) -> None:
    modules = [plugin({"request_headers": say(f"(i32.const {number})")}) for number in range(4)]
    seen: list[tuple[int, list[int]]] = []

    def work(number: int) -> None:
        for _ in range(10):
            with Sandbox(modules[number], cache=False) as sandbox:
                seen.append((number, said(sandbox.request())))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(seen) == 40
    assert all(numbers == [number] for number, numbers in seen)


def test_deep_recursion_in_a_thread_is_a_panic_too(way: str) -> None:
    module = plugin({"request_headers": "(call $deep)"}, extra="(func $deep (call $deep) (nop))")
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(Sandbox(module).request().status))
    thread.start()
    thread.join(60)
    assert found == [503]


def test_in_a_forked_process_loops_are_stopped_too(way: str) -> None:
    if not hasattr(os, "fork"):  # Windows has none, and so nothing that could go wrong
        return
    sandbox = Sandbox(plugin({"request_headers": LOOP}), deadline=0.05)
    child = os.fork()
    if not child:
        os._exit(7 if sandbox.request().status == 503 else 1)
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 7
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise AssertionError("the loop was not stopped")
