"""Two ways to wasmtime: the fast one is taken when it passes, the public one otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from helpers import paths
from helpers.sandbox import Sandbox, compiled, engine, guest_fast, guest_public

LOGGER = paths.plugins() / "prebuilt" / "header_logger.wasm"


@pytest.fixture
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engine.VARIABLE, raising=False)
    monkeypatch.setattr(engine, "_tried", engine._tried.__wrapped__)


@pytest.mark.parametrize("kind", [guest_fast.FastGuest, guest_public.PublicGuest])
def test_each_way_passes_the_self_test(kind: type) -> None:
    assert engine._passes(kind) == ""


def test_the_fast_way_is_taken_with_the_wasmtime_of_the_lock(asked_anew: None) -> None:
    assert engine.chosen() == ("fast", "")


def test_a_wasmtime_that_declares_another_signature_is_not_called(
    asked_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(guest_fast._DECLARED, "wasmtime_memory_data", ("p", "ppp"))
    way, reason = engine.chosen()
    assert way == "public"
    assert "wasmtime_memory_data takes (pp), not (ppp)" in reason


def test_a_name_that_is_gone_is_no_crash(
    asked_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(guest_fast._DECLARED, "wasmtime_func_call_faster", ("p", "p"))
    way, reason = engine.chosen()
    assert way == "public"
    assert "wasmtime_func_call_faster" in reason


def test_a_failed_self_test_falls_back(asked_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_fast.FastGuest, "read_u32", lambda self, pointer: 1)
    assert engine.chosen()[0] == "public"


def test_the_variable_asks_for_the_public_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.VARIABLE, "public")
    assert engine.chosen()[0] == "public"


def test_both_ways_give_the_same_exchange() -> None:
    seen = []
    for way in ("fast", "public"):
        with engine.taking(way), Sandbox(LOGGER) as sandbox:
            one = sandbox.request("POST", headers={"user-agent": "é\udcff"}, body=b"x")
            calls = [(c.name, c.arguments, c.result) for c in one.trace]
            seen.append((one.status, one.logs, one.upstream, calls))
    assert seen[0] == seen[1]


def test_a_compiled_module_is_found_again_and_a_damaged_one_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path / "cache")
    compiled.forget()
    Sandbox(LOGGER).close()
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:50] + b"\0" + whole[51:], b"", whole[:20]):
        file.write_bytes(damaged)
        compiled.forget()
        assert compiled._from_disk(file) is None
        with Sandbox(LOGGER) as sandbox:
            assert sandbox.request().status == 200
        assert compiled._from_disk(file) is not None
    compiled.forget()


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path / "file" / "cache")
    compiled.forget()
    with Sandbox(LOGGER) as sandbox:
        assert sandbox.request().status == 200
    compiled.forget()


_ONE_AFTER_THE_OTHER = """
import sys
from helpers.sandbox import Sandbox, compiled

sandbox = Sandbox(sys.argv[1])
thread = compiled.clock._thread
assert thread.is_alive()
sandbox.close()
thread.join(timeout=10)
assert not thread.is_alive(), "it ends with the last sandbox"
with Sandbox(sys.argv[1]) as sandbox:
    assert compiled.clock._thread.is_alive(), "and begins again with the next"
    assert sandbox.request().status == 200
"""


def test_the_clock_s_thread_ends_with_the_last_sandbox() -> None:
    # In a process of its own: other tests may have left sandboxes open.
    done = subprocess.run([sys.executable, "-c", _ONE_AFTER_THE_OTHER, str(LOGGER)],
                          cwd=paths.ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_wasmtime_hands_numbers_over_as_the_self_test_says() -> None:
    # Were this to change, i32 arguments would be negative: the reason for the mask.
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, bytes(wasmtime.wat2wasm(
        '(module (func (export "f") (result i32) (i32.const 0xffffffff)))')))
    function = wasmtime.Instance(store, module, []).exports(store)["f"]
    assert function(store) == -1  # type: ignore[operator]
