"""Ctrl-C while a guest runs: it must reach Python, and cannot pass through C on its way.

A signal is seen when Python code begins to run. While a guest calls the host all the time, that
is where C code has just called a host function and no `try` is open yet: the exception is lost,
and the guest goes on with an answer that nobody gave. wasmtime-py's own functions even end the
process then. So an exception that was lost is caught here, and one that would be is put off.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import wasmtime

from helpers.sandbox.errors import SandboxMisuse

if TYPE_CHECKING:
    from helpers.sandbox.chain import Vms

_FRAMES = 200
_MAIN = threading.main_thread().ident
#: Code in which an exception may fall between C and Python.
_BORDER = (wasmtime.__file__.removesuffix("__init__.py"),
           str(Path(__file__).with_name("guest_public.py")))


def _room_to_call() -> None:
    """Refuse to begin where Python's stack is nearly full.

    A RecursionError on the border would be lost like Ctrl-C, and with it the process.
    """
    try:
        sys._getframe(max(0, sys.getrecursionlimit() - _FRAMES))
    except ValueError:
        return
    raise SandboxMisuse(
        f"fewer than {_FRAMES} calls are left before Python's recursion limit",
        cause="the sandbox was called from deep inside a recursion; a guest that calls the host "
        "needs some room there", fix="end the recursion, or raise sys.setrecursionlimit")


def put_off(work: Callable[[], None]) -> None:
    """Do it, and let Ctrl-C wait: an object of wasmtime's that is cut off while it is deleted
    would be deleted once more.
    """
    before = (signal.getsignal(signal.SIGINT) if threading.get_ident() == _MAIN else None)
    if not callable(before):
        work()
        return
    waits: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: waits.append((number, frame)))
    try:
        work()
    finally:
        signal.signal(signal.SIGINT, before)
    if waits:
        before(*waits[0])


class Interrupts:
    """Watches over one sandbox; on the main thread only, where signals arrive.

    Args:
        public: whether guests are reached by wasmtime's public API.

    Attributes:
        error: what was lost or put off, to be raised when no guest runs any more.
    """

    def __init__(self, vms: Vms, *, public: bool) -> None:
        self.error: BaseException | None = None
        self._vms = vms
        self._public = public
        self._mine = self._lost  # one object, to be recognised
        self._hook: Any = None
        self._handler: Any = None

    def begin(self) -> None:
        """A guest may run from here on."""
        self.error = None
        if self._public:
            _room_to_call()
        if threading.get_ident() != _MAIN:
            return
        if sys.unraisablehook is not self._mine:
            self._hook, sys.unraisablehook = sys.unraisablehook, self._mine
        if self._public:
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler) and handler != self._signalled:
                self._handler = handler
                signal.signal(signal.SIGINT, self._signalled)

    def end(self) -> None:
        """No guest runs any more. Cut short by Ctrl-C, it is made up for by the next begin()."""
        if self._hook is not None:
            sys.unraisablehook, self._hook = self._hook, None
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def raise_error(self) -> None:
        """Raise what was put off."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _halt(self, error: BaseException) -> None:
        self.error = self.error or error
        for vm in self._vms.running():
            vm.halt(error)

    def _lost(self, lost: Any) -> None:
        """`sys.unraisablehook`: an exception where none can be raised."""
        error = lost.exc_value
        # In a destructor, too, Ctrl-C is lost; any other error there is none of ours.
        if isinstance(error, KeyboardInterrupt) or (
                error is not None and "ctypes callback" in (lost.err_msg or "")):
            self._halt(error)
        else:
            (self._hook or sys.__unraisablehook__)(lost)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT: what it raises on the border is put off."""
        handler = self._handler or signal.default_int_handler
        if frame is None or not frame.f_code.co_filename.startswith(_BORDER):
            handler(number, frame)
            return
        try:
            handler(number, frame)
        except BaseException as error:  # noqa: BLE001 - raised by whoever called the sandbox
            self._halt(error)
