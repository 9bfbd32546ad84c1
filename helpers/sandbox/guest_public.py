"""A guest by wasmtime's public API alone: slower, and certain to work with any wasmtime."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import wasmtime

from helpers.sandbox import compiled, interrupts
from helpers.sandbox.guest import GuestFn, HostFunction, OutOfBounds, Trapped, Unlinkable

_KIND = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
_LETTER = {"i32": "i", "i64": "I"}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def letters(types: Sequence[Any]) -> str:
    """A signature as letters; what is neither i32 nor i64 becomes "?"."""
    return "".join(_LETTER.get(str(one), "?") for one in types)


@cache
def shape_of(params: str, results: str) -> wasmtime.FuncType:
    """A signature as wasmtime has it."""
    return wasmtime.FuncType([_KIND[k]() for k in params], [_KIND[k]() for k in results])


def explain(trap: wasmtime.Trap) -> Trapped:
    """wasmtime's trap as ours, with the guest's stack."""
    frames = []
    for frame in trap.frames[:64]:
        frames.append(frame.func_name or f"function {frame.func_index}")
    late = trap.trap_code == wasmtime.TrapCode.INTERRUPT
    words = trap.message.split("\nCaused by:")[-1].strip().splitlines()
    return Trapped(words[-1].strip() if words else "trap", tuple(frames), deadline=late)


class Linking:
    """What both kinds of guest do alike: store, imports, instance, exports.

    Args:
        provided: all host functions by (module, name).
        memory_limit: bytes that the guest's memory may reach.

    Raises:
        Unlinkable: an import is unknown, of another kind, or of another signature; or the
            module's memory is above the limit at once.
        Trapped: the module's start function trapped.
    """

    def __init__(self, module: wasmtime.Module, provided: dict[tuple[str, str], HostFunction],
                 memory_limit: int, start_ticks: int) -> None:
        self.pending: BaseException | None = None
        self.provided: list[HostFunction] = []
        self.store = wasmtime.Store(compiled.engine())
        self.store.set_limits(memory_size=memory_limit, table_elements=1_000_000, instances=4,
                              tables=64, memories=4)
        externs = []
        for wanted in module.imports:
            name = wanted.name or ""
            full = f"{wanted.module}.{name}"
            if not isinstance(wanted.type, wasmtime.FuncType):
                raise Unlinkable(f"{full} is no function: a plugin imports functions only")
            host = provided.get((wanted.module, name))
            if host is None:
                raise Unlinkable(f"{full}: no host function of that name")
            have = (letters(wanted.type.params), letters(wanted.type.results))
            if have != (host.params, host.results):
                raise Unlinkable(
                    f"{full} has another signature: it is ({host.params})->({host.results}), "
                    f"the module wants ({have[0]})->({have[1]}), i for i32, I for i64")
            externs.append(self.extern(host))
        self.store.set_epoch_deadline(start_ticks)
        try:
            self.instance = wasmtime.Instance(self.store, module, externs)
        except wasmtime.Trap as error:
            self.raise_pending()
            raise explain(error) from None
        except wasmtime.WasmtimeError as error:
            self.raise_pending()
            raise Unlinkable(str(error).strip().splitlines()[-1].strip()) from None
        self.exports = self.instance.exports(self.store)
        found = self.exports.get("memory")
        if not isinstance(found, wasmtime.Memory):
            raise Unlinkable("the module exports no memory called \"memory\"")
        self.memory = found

    def extern(self, host: HostFunction) -> wasmtime.Func:
        """The host function as wasmtime takes it."""
        # wasmtime-py keeps what it calls in a list of its own as long as the store lives: through
        # it the store would keep itself alive. So the function reaches what it needs by this.
        linked = weakref.ref(self)
        self.provided.append(host)
        number, name = len(self.provided) - 1, host.name
        fault, gives = host.fault, bool(host.results)
        narrow = [at for at, kind in enumerate(host.params) if kind == "i"]

        def run(*given: int) -> int | None:
            # wasmtime hands i32 over signed; in the ABI they are pointers and sizes.
            args = list(given)
            for at in narrow:
                args[at] &= 0xFFFFFFFF
            mine = linked()
            assert mine is not None  # it runs: its store is there
            try:
                meant = mine.provided[number]
                if meant.gate.allowed is not None and name not in meant.gate.allowed:
                    raise meant.gate.restricted(name)
                answer = meant.call(*args)
            except OutOfBounds:
                answer = fault
            except BaseException as error:  # noqa: BLE001 - raised again behind the guest
                mine.pending = error
                raise wasmtime.Trap("the host refused") from None
            if not gives:
                return None
            answer = int(answer or 0) & 0xFFFFFFFF
            return answer - (1 << 32) if answer >= 1 << 31 else answer

        return wasmtime.Func(self.store, shape_of(host.params, host.results), run)

    def raise_pending(self) -> None:
        """Raise what a host function raised under the guest, if anything."""
        error, self.pending = self.pending, None
        if error is not None:
            raise error

    def export(self, name: str, params: str, results: str) -> wasmtime.Func | None:
        """The export, when it is a function of that signature."""
        found = self.exports.get(name)
        if not isinstance(found, wasmtime.Func) or self.signature(name) != (params, results):
            return None
        return found

    def signature(self, name: str) -> tuple[str, str] | None:
        """Parameters and results of an exported function, None when there is none."""
        found = self.exports.get(name)
        if not isinstance(found, wasmtime.Func):
            return None
        kind = found.type(self.store)
        return letters(kind.params), letters(kind.results)


class PublicGuest:
    """See `helpers.sandbox.guest.Guest`."""

    def __init__(self, module: wasmtime.Module, provided: dict[tuple[str, str], HostFunction],
                 memory_limit: int, start_ticks: int) -> None:
        compiled.clock.add(self)
        try:
            self._linked = Linking(module, provided, memory_limit, start_ticks)
        except BaseException:
            compiled.clock.remove(self)
            raise
        self._store = self._linked.store
        self._memory = self._linked.memory

    def function(self, name: str, params: str, results: str) -> GuestFn | None:
        found = self._linked.export(name, params, results)
        if found is None:
            return None
        linked, store = self._linked, self._store

        def call(*args: int) -> int:
            signed = [a - (1 << 32) if a >= 1 << 31 else a for a in args]
            try:
                answer = found(store, *signed)
            except wasmtime.Trap as trap:
                linked.raise_pending()
                raise explain(trap) from None
            except wasmtime.WasmtimeError as error:
                linked.raise_pending()
                raise Trapped(str(error).strip().splitlines()[-1].strip()) from None
            return int(answer or 0) & 0xFFFFFFFF

        return call

    def signature(self, name: str) -> tuple[str, str] | None:
        return self._linked.signature(name)

    def arm(self, ticks: int) -> None:
        self._store.set_epoch_deadline(ticks)

    def read(self, pointer: int, size: int) -> bytes:
        if pointer < 0 or size < 0 or pointer + size > self.memory_bytes:
            raise OutOfBounds
        return bytes(self._memory.read(self._store, pointer, pointer + size))

    def write(self, pointer: int, data: bytes) -> None:
        if pointer < 0 or pointer + len(data) > self.memory_bytes:
            raise OutOfBounds
        self._memory.write(self._store, data, pointer)

    def read_u32(self, pointer: int) -> int:
        return int.from_bytes(self.read(pointer, 4), "little")

    def write_u32(self, pointer: int, value: int) -> None:
        self.write(pointer, _U32.pack(value & 0xFFFFFFFF))

    def write_u64(self, pointer: int, value: int) -> None:
        self.write(pointer, _U64.pack(value & 0xFFFFFFFFFFFFFFFF))

    @property
    def memory_bytes(self) -> int:
        return int(self._memory.data_len(self._store))

    def close(self) -> None:
        compiled.clock.remove(self)
        interrupts.put_off(self._store.close)
