"""An address on this computer behind which a service of the mesh answers, for load.

A port-forward would not do: it begins inside the pod at localhost, where the sidecar does not
capture, and reaches the application past the filter. So each connection to the address starts
one program in the istio-proxy container, whose user 1337 is not captured either, which connects
to the service as the article's curl does, and copies the bytes both ways. Every request is one
inbound request of a sidecar, as the service spreads the connections.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from helpers.errors import WorkbookError
from helpers.mesh.cluster.execing import Place, Program

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

#: Connections at one time; each is a program in the container and a thread here.
MAX_CONNECTIONS = 256
_BLOCK = 65536

# What the service sends goes to stdout, stdin to the service; when either has ended, the other
# copy is ended, too. The code is that of the first, so that a reset is told from an end.
SCRIPT = r"""
exec 3<>"/dev/tcp/$1/$2" || exit 7
set -m
cat <&3 & out=$!
{ cat <&0 >&3; kill $out; } 2>/dev/null & in=$!
wait $out; code=$?
kill -- -$in 2>/dev/null
[ $code = 143 ] && code=0
exit $code
"""


class Remote(Protocol):
    """What a connection is copied to and from: `execing.Program`, or a test's."""

    def fileno(self) -> int: ...
    def buffered(self) -> bool: ...
    def pump(self, seconds: float) -> bool: ...
    def stdout(self) -> bytes: ...
    def stderr(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def exit_code(self) -> int: ...
    def close(self) -> None: ...


def program(connection: Connection, place: Place, host: str, port: int) -> Remote:
    """The copying program in a container."""
    command = ["bash", "-c", SCRIPT, "bash", host, str(port)]
    return Program(connection, place, command, stdin=True)


class Relay:
    """Listens on a free port of 127.0.0.1 until it is closed.

    Args:
        start: starts what one connection is copied to; called in that connection's thread.

    Attributes:
        port: where it listens.
        errors: what went wrong with connections, newest last; at most 20 are kept.
    """

    def __init__(self, start: Callable[[], Remote], *, most: int = MAX_CONNECTIONS) -> None:
        self._start = start
        self._room = threading.BoundedSemaphore(most)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=most)
        self.port: int = self._listener.getsockname()[1]
        self.errors: list[str] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def close(self, *, seconds: float = 3.0) -> None:
        """End every connection and stop listening; waits at most `seconds` for their ends."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        with self._lock:
            for local in self._open:
                with contextlib.suppress(OSError):
                    local.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + seconds
        while self._open and time.monotonic() < deadline:
            time.sleep(0.01)

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                local, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._open.add(local)
            threading.Thread(
                target=self._serve, args=(local,), name="relay connection", daemon=True
            ).start()

    def _serve(self, local: socket.socket) -> None:
        try:
            local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.closing(self._start()) as remote:
                self._copy(local, remote)
        except WorkbookError as error:
            self._note(f"{error.what}: {error.cause}")
            _reset(local)
        except OSError as error:
            self._note(f"{type(error).__name__}: {error}")
        finally:
            local.close()
            with self._lock:
                self._open.discard(local)
            self._room.release()

    def _copy(self, local: socket.socket, remote: Remote) -> None:
        going = True
        said = b""
        while going and not self._closed:
            ready = [] if remote.buffered() else _wait(local, remote)
            if local in ready:
                data = local.recv(_BLOCK)
                if not data:
                    return  # the client is done
                remote.write(data)
            if local not in ready or len(ready) > 1 or remote.buffered():
                going = remote.pump(0)
                data, said = remote.stdout(), said + remote.stderr()
                if data:
                    local.sendall(data)
        if going:
            return
        code = remote.exit_code()
        if code:
            # What the service did to the program's connection, this one does to the client's.
            self._note(said.decode("utf-8", "replace").strip() or f"the relay ended with {code}")
            _reset(local)

    def _note(self, text: str) -> None:
        with self._lock:
            self.errors = [*self.errors[-19:], text]


def _wait(local: socket.socket, remote: Remote) -> list[object]:
    poll = select.poll()
    poll.register(local, select.POLLIN)
    poll.register(remote.fileno(), select.POLLIN)
    # It wakes by itself now and then to see whether the relay was closed.
    found = {descriptor for descriptor, _ in poll.poll(1000)}
    names: dict[int, object] = {local.fileno(): local, remote.fileno(): remote}
    return [names[each] for each in found]


def _reset(local: socket.socket) -> None:
    """Make closing it a reset, not an orderly end."""
    with contextlib.suppress(OSError):
        local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
