"""A guest by wasmtime's C API, without wasmtime-py's wrappers: the only module that knows it.

wasmtime-py makes a Python object of each value and looks each function's type up at each call.
Here a call is one C function with numbers in a buffer, and guest memory is a view that is made
again when the memory has grown. Bounds are checked all the same.

`usable()` holds what is assumed against what this wasmtime declares, before anything is called:
the C functions' signatures, the sizes of the structures. `helpers.sandbox.engine` falls back to
`guest_public` where it does not hold.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from helpers.sandbox import compiled, interrupts
from helpers.sandbox.guest import GuestFn, HostFunction, OutOfBounds, Trapped
from helpers.sandbox.guest_public import Linking, explain, shape_of

#: Bytes of one value in the buffer of a call (wasmtime/val.h, wasmtime_val_raw).
_VALUE = 16
_MASK = 0xFFFFFFFF
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_pack_u32, _unpack_u32, _pack_u64 = _U32.pack_into, _U32.unpack_from, _U64.pack_into

_CALLBACK = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_size_t)
_NO_FINALIZER = ctypes.cast(0, ctypes.CFUNCTYPE(None, c_void_p))

#: name, result, arguments: as we declare them. "p" is any pointer.
_DECLARED = {
    "wasmtime_func_call_unchecked": ("p", "pppsp"),
    "wasmtime_func_new_unchecked": ("", "pppppp"),
    "wasmtime_context_set_epoch_deadline": ("", "pu"),
    "wasmtime_memory_data": ("p", "pp"),
    "wasmtime_memory_data_size": ("s", "pp"),
    "wasmtime_trap_new": ("p", "ps"),
}
_AS_IT_IS: Any = None
_TYPES: dict[str, Any] = {"p": c_void_p, "s": c_size_t, "u": c_uint64, "": None}


def _open() -> Any:
    library = ctypes.CDLL(str(ffi.filename))
    for name, (result, arguments) in _DECLARED.items():
        function = getattr(library, name)
        function.restype = _TYPES[result]
        function.argtypes = [_TYPES[letter] for letter in arguments]
    library.wasmtime_func_new_unchecked.argtypes = [
        c_void_p, c_void_p, _CALLBACK, c_void_p, c_void_p, c_void_p]
    library.wasmtime_trap_new.argtypes = [c_char_p, c_size_t]
    # Called the most. Without declared arguments ctypes takes what it is given as it is: each
    # argument is a ctypes object of the right kind, made once (`function` below).
    library.wasmtime_func_call_unchecked.argtypes = _AS_IT_IS
    return library


def _letter(kind: Any) -> str:
    if kind is None:
        return ""
    if kind is c_size_t or kind is c_uint64:
        return "s"
    # POINTER(x) has a target as its _type_, a plain number a letter; a callback has its flags.
    target = getattr(kind, "_type_", None)
    pointer = kind is c_void_p or (target is not None and not isinstance(target, str))
    return "p" if pointer or hasattr(kind, "_flags_") else "?"


def usable() -> str:
    """Why this wasmtime cannot be used so; empty when it can."""
    for name, (result, arguments) in _DECLARED.items():
        declared = getattr(ffi, f"_{name}", None) or getattr(ffi.dll, name, None)
        if declared is None:
            return f"it has no {name}"
        have = "".join(map(_letter, declared.argtypes or ()))
        want = arguments.replace("u", "s")
        gives = _letter(declared.restype)
        if len(have) != len(want) or any(h != w for h, w in zip(have, want, strict=True)):
            return f"{name} takes ({have}), not ({want})"
        if gives != result:
            return f"{name} gives ({gives}), not ({result})"
    sizes = {"wasmtime_val_raw": _VALUE, "wasmtime_func": 16, "wasmtime_memory": 24}
    for name, size in sizes.items():
        structure = getattr(ffi, name, None)
        if structure is None or ctypes.sizeof(structure) != size:
            return f"{name} does not have {size} bytes"
    return ""


_library: Any = None


def library() -> Any:
    """The C library with our own declarations, opened once."""
    global _library
    if _library is None:
        _library = _open()
    return _library


class _FastLinking(Linking):
    def extern(self, host: HostFunction) -> wasmtime.Func:
        shape = shape_of(host.params, host.results)
        callback = _CALLBACK(_unpacker(self, host))
        self.callbacks.append(callback)
        func = ffi.wasmtime_func_t()
        library().wasmtime_func_new_unchecked(
            ctypes.cast(self.store._context(), c_void_p), ctypes.cast(shape.ptr(), c_void_p),
            callback, None, None, byref(func))
        return wasmtime.Func._from_raw(func)

    def __init__(self, *args: Any) -> None:
        # wasmtime calls these as long as the store lives.
        self.callbacks: list[Any] = []
        super().__init__(*args)


def _unpacker(linked: Linking, host: HostFunction) -> Callable[..., int | None]:
    """The function that C calls: numbers out of the buffer, the answer back into it."""
    made: Callable[..., int | None] = _unpacker_for(host.params, bool(host.results))(
        host.call, host.fault, host.gate, host.name, linked)
    return made


@cache
def _unpacker_for(params: str, gives: bool) -> Callable[..., Any]:
    # Written out for each signature: a loop over the arguments costs more than the call itself.
    reads = []
    for at, kind in enumerate(params):
        low = f"raw[{at * 4}]"
        reads.append(low if kind == "i" else f"signed({low} | raw[{at * 4 + 1}] << 32)")
    called = f"call({', '.join(reads)})"
    source = (
        "def make(call, fault, gate, name, linked):\n"
        "    def run(_env, _caller, raw, _count):\n"
        "        try:\n"
        "            if gate.allowed is not None and name not in gate.allowed:\n"
        "                raise gate.restricted(name)\n"
        f"            {f'raw[0] = {called} & 4294967295' if gives else called}\n"
        "        except OutOfBounds:\n"
        f"            {'raw[0] = fault' if gives else 'pass'}\n"
        "        except BaseException as error:\n"
        "            linked.pending = error\n"
        "            return refuse()\n"
        "        return None\n"
        "    return run\n"
    )
    scope: dict[str, Any] = {"OutOfBounds": OutOfBounds, "refuse": _refuse, "signed": _signed}
    exec(source, scope)
    made: Callable[..., Any] = scope["make"]
    return made


@cache
def _caller_for(params: int, gives: bool) -> Callable[..., Any]:
    names = ", ".join(f"a{at}" for at in range(params))
    stores = "".join(f"        buffer[{at * 2}] = a{at}\n" for at in range(params))
    source = (
        "def make(call, context, func, buffer, address, count, trap, trap_at, failed, alive):\n"
        f"    def run({names}):\n{stores}"
        "        error = call(context, func, address, count, trap_at)\n"
        "        if error or trap:\n"
        "            failed(error, trap)\n"
        f"        return {'buffer[0] & 4294967295' if gives else '0'}\n"
        "    run.alive = alive\n"
        "    return run\n"
    )
    scope: dict[str, Any] = {}
    exec(source, scope)
    made: Callable[..., Any] = scope["make"]
    return made


def _refuse() -> int:
    return int(library().wasmtime_trap_new(b"the host refused", 16))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


class FastGuest:
    """See `helpers.sandbox.guest.Guest`."""

    def __init__(self, module: wasmtime.Module, provided: dict[tuple[str, str], HostFunction],
                 memory_limit: int, start_ticks: int) -> None:
        compiled.clock.add(self)
        try:
            self._linked = _FastLinking(module, provided, memory_limit, start_ticks)
        except BaseException:
            compiled.clock.remove(self)
            raise
        self._context = ctypes.cast(self._linked.store._context(), c_void_p)
        self._raw_memory = self._linked.memory._memory
        self._memory_ref = ctypes.addressof(self._raw_memory)
        self._set_deadline = library().wasmtime_context_set_epoch_deadline
        self._size = -1
        self._closed = False
        self._look()

    def _look(self) -> None:
        """Take the view anew: the memory has grown, or is looked at for the first time."""
        if self._closed:
            raise OutOfBounds
        size = library().wasmtime_memory_data_size(self._context, self._memory_ref)
        if size == self._size:
            return
        base = library().wasmtime_memory_data(self._context, self._memory_ref)
        self._size = size
        self._view = memoryview((ctypes.c_ubyte * size).from_address(base or 0)).cast("B")

    def function(self, name: str, params: str, results: str) -> GuestFn | None:
        found = self._linked.export(name, params, results)
        if found is None:
            return None
        func = found._func
        count = max(len(params), len(results), 1)
        buffer = (c_uint64 * (count * 2))()
        trap = c_void_p()
        made: GuestFn = _caller_for(len(params), bool(results))(
            library().wasmtime_func_call_unchecked, self._context,
            c_void_p(ctypes.addressof(func)), buffer, c_void_p(ctypes.addressof(buffer)),
            c_size_t(count), trap, c_void_p(ctypes.addressof(trap)), self._failed,
            # What is only an address to C must live as long as the function does.
            (func, self))
        return made

    def _failed(self, error: int | None, trap: c_void_p) -> None:
        address, trap.value = trap.value, None
        told: BaseException
        if address:
            told = explain(wasmtime.Trap._from_ptr(ctypes.cast(address, POINTER(ffi.wasm_trap_t))))
        else:
            words = str(wasmtime.WasmtimeError._from_ptr(
                ctypes.cast(error or 0, POINTER(ffi.wasmtime_error_t))))
            told = Trapped(words.strip().splitlines()[-1].strip())
        self._linked.raise_pending()
        raise told

    def signature(self, name: str) -> tuple[str, str] | None:
        return self._linked.signature(name)

    def arm(self, ticks: int) -> None:
        self._set_deadline(self._context, ticks)

    def read(self, pointer: int, size: int) -> bytes:
        end = pointer + size
        if end > self._size:
            self._look()
            if end > self._size:
                raise OutOfBounds
        return self._view[pointer:end].tobytes()

    def write(self, pointer: int, data: bytes) -> None:
        end = pointer + len(data)
        if end > self._size:
            self._look()
            if end > self._size:
                raise OutOfBounds
        self._view[pointer:end] = data

    def read_u32(self, pointer: int) -> int:
        if pointer + 4 > self._size:
            self._look()
            if pointer + 4 > self._size:
                raise OutOfBounds
        value: int = _unpack_u32(self._view, pointer)[0]
        return value

    def write_u32(self, pointer: int, value: int) -> None:
        if pointer + 4 > self._size:
            self._look()
            if pointer + 4 > self._size:
                raise OutOfBounds
        _pack_u32(self._view, pointer, value & _MASK)

    def write_u64(self, pointer: int, value: int) -> None:
        if pointer + 8 > self._size:
            self._look()
            if pointer + 8 > self._size:
                raise OutOfBounds
        _pack_u64(self._view, pointer, value & 0xFFFFFFFFFFFFFFFF)

    @property
    def memory_bytes(self) -> int:
        self._look()
        return self._size

    def close(self) -> None:
        compiled.clock.remove(self)
        # The view points into memory that goes with the store.
        self._view = memoryview(b"")
        self._size, self._closed = 0, True
        interrupts.put_off(self._linked.store.close)
        self._linked.callbacks.clear()
