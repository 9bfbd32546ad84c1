"""Which way to wasmtime is taken: chosen once, by a self-test."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import wasmtime

from helpers.sandbox import compiled
from helpers.sandbox.guest import Guest, HostFunction, OutOfBounds, Trapped
from helpers.sandbox.guest_public import PublicGuest

#: Set to "public" to do without wasmtime's private names.
VARIABLE = "WORKBOOK_SANDBOX_ENGINE"

_SELF_TEST = """
(module
  (import "env" "ask" (func $ask (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1 4)
  (func (export "call") (param i32 i32) (result i32)
    (call $ask (local.get 0) (i64.const -5) (local.get 1)))
  (func (export "grow") (result i32) (memory.grow (i32.const 2)))
  (func (export "fall") unreachable))
"""


def _passes(kind: Any) -> str:
    """Run each thing that the sandbox relies on; what went wrong, or nothing."""
    seen: list[tuple[int, int, int]] = []

    def ask(a: int, b: int, c: int) -> int:
        seen.append((a, b, c))
        if a == 7:
            raise OutOfBounds
        if a == 8:
            raise KeyError("ours")
        return 0xFFFFFFFE

    module = wasmtime.Module(compiled.engine(), bytes(wasmtime.wat2wasm(_SELF_TEST)))
    guest = kind(module, {("env", "ask"): HostFunction("env", "ask", "iIi", "i", ask, 6)},
                 1 << 20, 1000)
    try:
        call, grow, fall = (guest.function("call", "ii", "i"), guest.function("grow", "", "i"),
                            guest.function("fall", "", ""))
        if guest.function("call", "i", "i") is not None:
            return "it gives a function of another signature"
        guest.arm(1000)
        if call(0xFFFFFFFF, 3) != 0xFFFFFFFE or seen[-1] != (0xFFFFFFFF, -5, 3):
            return f"numbers do not arrive: {seen}"
        if call(7, 0) != 6:
            return "a fault is not answered"
        try:
            call(8, 0)
            return "an exception of the host is lost"
        except KeyError:
            pass
        guest.write(65532, b"abcd")
        if grow() != 1 or guest.memory_bytes != 3 * 65536:
            return "memory does not grow"
        guest.write_u32(131072, 0xFFFFFFFF)
        if guest.read(65532, 4) != b"abcd" or guest.read_u32(131072) != 0xFFFFFFFF:
            return "memory does not hold what was written"
        for at, size in ((196608, 1), (0xFFFFFFFF, 4), (0, 196609)):
            try:
                guest.read(at, size)
                return "bounds are not held"
            except OutOfBounds:
                pass
        try:
            fall()
            return "a trap is lost"
        except Trapped as error:
            if "unreachable" not in error.trap:
                return f"a trap has no words: {error.trap}"
    finally:
        guest.close()
    return ""


_forced: list[str] = []


@contextmanager
def taking(way: str) -> Iterator[None]:
    """Within the block new sandboxes take this way ("fast" or "public"): to measure, to test."""
    _forced.append(way)
    try:
        yield
    finally:
        _forced.pop()


def chosen() -> tuple[str, str]:
    """The way that is taken ("fast" or "public"), and why not the fast one if not."""
    if _forced:
        return _forced[-1], "asked for in this process"
    if os.environ.get(VARIABLE) == "public":
        return "public", f"{VARIABLE}=public asks for it"
    return _tried()


@cache
def _tried() -> tuple[str, str]:
    try:
        from helpers.sandbox import guest_fast

        reason = guest_fast.usable() or _passes(guest_fast.FastGuest)
    except (AttributeError, ImportError, TypeError, ValueError, OSError, KeyError,
            struct.error, wasmtime.WasmtimeError) as error:
        reason = f"{type(error).__name__}: {error}"
    return ("public", reason) if reason else ("fast", "")


def instantiate(module: wasmtime.Module, provided: dict[tuple[str, str], HostFunction], *,
                memory_limit: int, start_ticks: int) -> Guest:
    """A running instance of `module`, by the way that was chosen.

    Raises:
        Unlinkable, Trapped: see `helpers.sandbox.guest_public.Linking`.
    """
    kind: Any = PublicGuest
    if chosen()[0] == "fast":
        from helpers.sandbox.guest_fast import FastGuest

        kind = FastGuest
    made: Guest = kind(module, provided, memory_limit, start_ticks)
    return made
