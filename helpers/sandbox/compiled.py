"""Compile a module once, and find it again: in this process, and on disk."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from collections import OrderedDict
from pathlib import Path

import wasmtime

from helpers import files, paths
from helpers.sandbox import signatures

#: Seconds between two ticks of the clock that stops endless loops.
TICK = 0.01
#: As Envoy's V8: 1 MiB is not enough for a debug build.
_STACK = 1024 * 1024
_KEPT = 32
#: Ticks that are made up for at once.
_MOST_LATE = 9
_DIGEST = 32
_WITHOUT = ("gc", "function_references", "exceptions", "stack_switching", "memory64",
            "multi_memory", "custom_page_sizes")

_engine: wasmtime.Engine | None = None
_lock = threading.Lock()
_memory: OrderedDict[str, wasmtime.Module] = OrderedDict()


def engine() -> wasmtime.Engine:
    """The one engine of this process: modules are compiled for it, its clock stops loops."""
    global _engine
    with _lock:
        if _engine is None:
            config = wasmtime.Config()
            config.epoch_interruption = True
            config.max_wasm_stack = _STACK
            # The fast path keeps the address of a guest's memory: it must stay where it is.
            config.memory_may_move = False
            # Of these wasmtime's C API cannot speak, or a proxy-wasm host has no use for them;
            # asked for such a signature it ends the process. See helpers.sandbox.signatures.
            for proposal in _WITHOUT:
                setattr(config, f"wasm_{proposal}", False)
            _engine = wasmtime.Engine(config)
        return _engine


def cache_folder() -> Path:
    """Where compiled modules are kept between processes."""
    return paths.HOME / "cache" / "sandbox"


def module(data: bytes, digest: str, *, on_disk: bool = True) -> wasmtime.Module:
    """The compiled module of these bytes.

    Args:
        data: a core Wasm module, in binary.
        digest: the SHA-256 of `data`, in hex.
        on_disk: keep the result in `cache_folder()` for the next process.

    Raises:
        wasmtime.WasmtimeError: the bytes do not validate, or a function on the border takes
            or gives a vector.
    """
    with _lock:
        found = _memory.get(digest)
        if found is not None:
            _memory.move_to_end(digest)
            return found
    file = cache_folder() / f"{digest[:40]}.cwasm"
    found = _from_disk(file) if on_disk else None
    if found is None:
        found = wasmtime.Module(engine(), data)
        if on_disk:
            _to_disk(file, bytes(found.serialize()))
    strange = signatures.vector_functions(data)
    if strange:
        raise wasmtime.WasmtimeError(
            f"{', '.join(strange[:5])}: a vector (v128) cannot cross the border to the host")
    with _lock:
        _memory[digest] = found
        while len(_memory) > _KEPT:
            _memory.popitem(last=False)
    return found


def forget() -> None:
    """Drop what this process keeps, as a new process would begin (for measurements)."""
    with _lock:
        _memory.clear()


def _digest(code: bytes) -> bytes:
    # Against damage, not against an enemy, who could write here as well: the fastest will do.
    return hashlib.blake2b(code, digest_size=_DIGEST).digest()


def _from_disk(file: Path) -> wasmtime.Module | None:
    try:
        stored = file.read_bytes()
    except OSError:
        return None
    # What is deserialised is run as machine code: a damaged file must not get that far.
    # It lies in the workbook's own folder, as private as the virtual environment beside it.
    digest, code = stored[:_DIGEST], stored[_DIGEST:]
    if _digest(code) != digest:
        return None
    try:
        return wasmtime.Module.deserialize(engine(), code)
    except wasmtime.WasmtimeError:
        return None  # of another wasmtime, or of another processor: compile it again


def _to_disk(file: Path, code: bytes) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_atomic(file, _digest(code) + code)
        kept = sorted(file.parent.iterdir(), key=lambda f: f.stat().st_mtime)
        for old in kept[:-64]:
            old.unlink(missing_ok=True)
    except (OSError, files.DiskProblem):
        return  # a cache that cannot be written costs time, never a result


class _Ticker:
    """Moves the engine's clock while a guest may run; without guests there is no thread."""

    def __init__(self) -> None:
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0
        #: Ticks so far: who has armed a guest at this count need not do it again.
        self.count = 0

    def add(self, user: object) -> None:
        with self._lock:
            self._users.add(user)
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=self._run, name="sandbox-clock", daemon=True)
                self._thread.start()

    def remove(self, user: object) -> None:
        with self._lock:
            self._users.discard(user)

    def forked(self) -> None:
        """In a child of this process there is no thread, and perhaps a lock without an owner."""
        self._lock = threading.Lock()
        self._thread = None
        if self._users:
            self.add(next(iter(self._users)))

    def _run(self) -> None:
        pause = threading.Event()
        tick = engine().increment_epoch
        due = time.monotonic() + TICK
        while True:
            pause.wait(due - time.monotonic())
            # A guest that calls the host all the time leaves this thread little of Python's
            # lock: it makes up for what it missed, but not for a process that was stopped.
            late = time.monotonic() - due
            for _ in range(1 + min(_MOST_LATE, max(0, int(late / TICK)))):
                self.count += 1
                tick()
            due = time.monotonic() + TICK - min(max(late, 0) % TICK, TICK)
            if not self._users:
                with self._lock:
                    if not self._users:
                        self._thread = None
                        return


clock = _Ticker()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=clock.forked)
