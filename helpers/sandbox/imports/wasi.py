"""WASI preview 1 as far as a proxy-wasm host gives it: a log, a clock, randomness, an environment.

Every name links, under both module names; what is not carried out answers an errno that says so
(proxy-wasm-cpp-host, src/exports.cc).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from helpers.module import abi
from helpers.sandbox.errors import GuestPanic
from helpers.sandbox.guest import HostFunction, OutOfBounds
from helpers.sandbox.headers import as_bytes, as_text

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

SUCCESS, BADF, FAULT, INVAL, NOSYS, NOTDIR, NOTSUP = 0, 8, 21, 28, 52, 20, 58
_NOENT = 44
_INFO, _ERROR = 2, 4
_STDERR = 2
_MOST_COMPLAINT = 64 * 1024
_MOST_RANDOM = 64 * 1024
_MOST_VECTORS = 1024
_MOST_TEXT = 16 * 1024 * 1024
_MAY_WRITE = 64
# subscription: its size, the tag of one to a clock, the flag of a moment in place of a span.
_SUBSCRIPTION, _CLOCK, _ABSOLUTE = 48, 0, 1

# Names to parameters; all give one i32 but proc_exit.
_SIGNATURES = {
    "args_get": "ii", "args_sizes_get": "ii", "clock_res_get": "ii", "clock_time_get": "iIi",
    "environ_get": "ii", "environ_sizes_get": "ii", "fd_advise": "iIIi", "fd_allocate": "iII",
    "fd_close": "i", "fd_datasync": "i", "fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII", "fd_filestat_get": "ii", "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi", "fd_pread": "iiiIi", "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii", "fd_pwrite": "iiiIi", "fd_read": "iiii", "fd_readdir": "iiiIi",
    "fd_renumber": "ii", "fd_seek": "iIii", "fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii",
    "path_create_directory": "iii", "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi", "path_link": "iiiiiii", "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii",
    "path_symlink": "iiiii", "path_unlink_file": "iii", "poll_oneoff": "iiii", "proc_exit": "i",
    "proc_raise": "i", "random_get": "ii", "sched_yield": "", "sock_accept": "iii",
    "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}
_ANSWERS = {
    "fd_prestat_get": BADF, "fd_filestat_get": BADF, "fd_prestat_dir_name": NOSYS,
    "fd_read": NOSYS, "fd_pread": NOSYS, "path_open": _NOENT, "fd_fdstat_set_flags": NOSYS,
    "fd_readdir": NOTDIR, "fd_advise": SUCCESS, "fd_close": SUCCESS, "sched_yield": SUCCESS,
}
_ON_OUTPUT = ("fd_allocate", "fd_datasync", "fd_sync", "fd_fdstat_set_rights",
              "fd_filestat_set_size", "fd_filestat_set_times")


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`, under both module names."""
    carried = _carried_out(vm)
    made = []
    for name, params in _SIGNATURES.items():
        call: Callable[..., int | None] | None = carried.get(name)
        if call is None:
            call = _constant(vm, name)
        results = "" if name == "proc_exit" else "i"
        for module in abi.WASI_MODULES:
            made.append(HostFunction(module, name, params, results, call, FAULT))
    return made


def _constant(vm: Vm, name: str) -> Callable[..., int]:
    if name in _ON_OUTPUT:
        return lambda fd, *rest: SUCCESS if fd in (1, 2) else BADF
    if name in _ANSWERS:
        answer = _ANSWERS[name]
        return lambda *given: answer

    def refuse(*given: int) -> int:
        vm.host.note_unimplemented(f"wasi {name}")
        return NOTSUP

    return refuse


def _wait(subscription: bytes, now: int) -> int | None:
    """Nanoseconds until what a guest waits for; None when it is no moment."""
    if subscription[8] != _CLOCK:
        return None
    timeout, flags = struct.unpack_from("<Q8xH", subscription, 24)
    return max(0, timeout - now) if flags & _ABSOLUTE else int(timeout)


def _carried_out(vm: Vm) -> dict[str, Callable[..., int | None]]:
    host = vm.host

    def write(fd: int, vectors: int, count: int, written_at: int) -> int:
        if fd not in (1, 2):
            return BADF
        if count > _MOST_VECTORS:
            return INVAL
        pieces, size = [], 0
        for at in range(count):
            pointer, length = struct.unpack("<II", vm.guest.read(vectors + 8 * at, 8))
            size += length
            # Each vector may be the whole memory: what no log line keeps is not copied.
            if size <= _MOST_TEXT:
                pieces.append(vm.guest.read(pointer, length))
            else:
                vm.guest.read(pointer + length - bool(length), bool(length))
        if size > _MOST_TEXT:
            host.diagnose(f"fd_write of {size:,} bytes: a host takes at most {_MOST_TEXT:,}")
            return INVAL
        text = b"".join(pieces)
        if text:
            said = vm.complaint
            host.log(_INFO if fd == 1 else _ERROR, text.removesuffix(b"\n"), vm)
            if fd == _STDERR:
                # Go's runtime writes its panic in many pieces.
                vm.complaint = (said + as_text(text))[:_MOST_COMPLAINT]
        vm.guest.write_u32(written_at, size)
        return SUCCESS

    def pwrite(fd: int, vectors: int, count: int, _offset: int, written_at: int) -> int:
        return write(fd, vectors, count, written_at)

    def clock_time(clock: int, _precision: int, time_at: int) -> int:
        if clock > 1:
            return NOTSUP
        vm.guest.write_u64(time_at, host.clock.now)
        return SUCCESS

    def clock_resolution(clock: int, time_at: int) -> int:
        if clock > 1:
            return NOTSUP
        vm.guest.write_u64(time_at, 1)
        return SUCCESS

    def random(pointer: int, size: int) -> int:
        if size > _MOST_RANDOM:
            return INVAL
        if size:
            vm.guest.write(pointer, os.urandom(size))
        return SUCCESS

    def environment() -> list[bytes]:
        return [as_bytes(f"{key}={value}") + b"\0"
                for key, value in vm.environment.items()]

    def environ_sizes(count_at: int, size_at: int) -> int:
        have = environment()
        vm.guest.write_u32(count_at, len(have))
        vm.guest.write_u32(size_at, sum(map(len, have)))
        return SUCCESS

    def environ(pointers_at: int, texts_at: int) -> int:
        for at, text in enumerate(environment()):
            vm.guest.write_u32(pointers_at + 4 * at, texts_at)
            vm.guest.write(texts_at, text)
            texts_at += len(text)
        return SUCCESS

    def no_arguments(count_at: int, size_at: int) -> int:
        vm.guest.write_u32(count_at, 0)
        vm.guest.write_u32(size_at, 0)
        return SUCCESS

    def status(fd: int, status_at: int) -> int:
        if fd not in (1, 2):
            return BADF
        # Of no kind, and with the right to write. (Envoy says SUCCESS also where it could not put
        # it.)
        vm.guest.write(status_at, struct.pack("<QQQ", 0, _MAY_WRITE, 0))
        return SUCCESS

    def poll(wanted: int, _events: int, count: int, happened_at: int) -> int:
        # Envoy answers at once that nothing happened, and the guest asks until it is late
        # enough: Go's scheduler does. Our clock stands, so that waiting has to move it.
        vm.guest.write_u32(happened_at, 0)
        known = []
        with suppress(OutOfBounds):  # Envoy does not look at them
            for at in range(min(count, _MOST_VECTORS)):
                wait = _wait(vm.guest.read(wanted + _SUBSCRIPTION * at, _SUBSCRIPTION),
                             host.clock.now)
                if wait is not None:
                    known.append(wait)
        if known:
            host.clock.now += min([*known, int(host.deadline * 1e9)])
        return SUCCESS

    def seek(_fd: int, _offset: int, _whence: int, _position_at: int) -> int:
        return SUCCESS

    def tell(fd: int, position_at: int) -> int:
        if fd not in (1, 2):
            return BADF
        vm.guest.write_u64(position_at, 0)
        return SUCCESS

    def renumber(fd: int, _to: int) -> int:
        return BADF if fd not in (1, 2) else NOTSUP

    def leave(code: int) -> None:
        raise GuestPanic(
            callback=vm.callback, message=vm.complaint, trap=f"proc_exit({code})", frames=(),
            plugin=vm.name, cause=f"it called proc_exit({code}): a plugin has no process to end",
            fix="return an error from the callback in place of leaving")

    return {
        "fd_write": write, "fd_pwrite": pwrite, "clock_time_get": clock_time,
        "clock_res_get": clock_resolution, "random_get": random,
        "environ_sizes_get": environ_sizes, "environ_get": environ,
        "args_sizes_get": no_arguments, "args_get": lambda *given: SUCCESS,
        "fd_fdstat_get": status, "poll_oneoff": poll, "fd_seek": seek, "fd_tell": tell,
        "fd_renumber": renumber, "proc_exit": leave,
    }
