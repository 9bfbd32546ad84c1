"""HTTP/2 with every frame under control: one loop, in the caller's thread, for all connections.

A chunk of a body becomes one DATA frame and is written in whole, because Envoy calls a plugin
once for each frame. Headers are bytes and are checked by nobody but Envoy.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import h2.connection
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from h2.stream import H2Stream

from helpers.bare_envoy.types import Message, Pairs

_READ = 1 << 18
#: What we let Envoy send before we say that we took it; no answer of a test comes near it.
_WINDOW = (1 << 31) - 1



class _Lenient(H2Stream):
    """A stream that takes any length of body: a plugin may change one and leave the header."""

    def _initialize_content_length(self, headers: Any) -> None:
        return None


h2.connection.H2Stream = _Lenient  # type: ignore[attr-defined]

#: A frame that waits to be sent: headers or data, and whether it ends the stream.
_Frame = tuple[Pairs | bytes, bool]


class Loop:
    """Waits for all sockets at once."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Call `ready` whenever `sock` can be read."""
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def remove(self, sock: socket.socket) -> None:
        """Forget `sock`; nothing happens when it is not known."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def turn(self, seconds: float) -> bool:
        """Wait at most `seconds` for one round of readable sockets; whether there were any."""
        found = self._selector.select(max(seconds, 0))
        for key, _ in found:
            key.data()
        return bool(found)

    def until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Turn until `done` or the `deadline` (time.monotonic); whether it was done."""
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.turn(min(left, 0.25))
        return True

    def close(self) -> None:
        """Release the selector; the sockets are their owners'."""
        self._selector.close()


class Peer:
    """One HTTP/2 connection with prior knowledge, either side of it."""

    def __init__(self, loop: Loop, sock: socket.socket, *, client: bool) -> None:
        self._loop = loop
        self._sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self.h2 = H2Connection(H2Configuration(
            client_side=client, header_encoding=None, validate_inbound_headers=False,
            validate_outbound_headers=False, normalize_inbound_headers=False,
            normalize_outbound_headers=False,
        ))
        self.open = True
        self.streams: dict[int, Message] = {}
        self._queues: dict[int, deque[_Frame]] = {}
        self._pings_sent = 0
        self._pings_back = 0
        self.on_request: Callable[[Peer, int, Message], None] | None = None
        self.on_begin: Callable[[Message], None] | None = None
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW})
        self.h2.increment_flow_control_window(_WINDOW - 65_535)
        loop.add(sock, self._readable)
        self._flush()

    def begin(self) -> int:
        """A new stream of the client."""
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = Message()
        return stream

    def send(
        self, stream: int, headers: Pairs, body: Sequence[bytes], trailers: Pairs | None
    ) -> None:
        """Queue a whole message; what flow control holds back follows in later turns."""
        frames: list[_Frame] = [(headers, False), *((chunk, False) for chunk in body)]
        if trailers:
            frames.append((trailers, True))
        else:
            frames[-1] = (frames[-1][0], True)
        self._queues[stream] = deque(frames)
        self._advance(stream)
        self._flush()

    def reset(self, stream: int, code: int = ErrorCodes.INTERNAL_ERROR) -> None:
        """Break a stream off."""
        self._queues.pop(stream, None)
        with contextlib.suppress(ProtocolError):  # it has ended by itself
            self.h2.reset_stream(stream, code)
        self._flush()

    def unsent(self, stream: int) -> bool:
        """Whether frames of ours still wait."""
        return bool(self._queues.get(stream))

    def forget(self, stream: int) -> None:
        """Drop what is kept of a stream."""
        self.streams.pop(stream, None)
        self._queues.pop(stream, None)

    def ping(self) -> Callable[[], bool]:
        """Send a PING; the function says whether it came back (or the connection is gone).

        The other side answers in the order of what it reads, so all that was sent before was
        handled when the answer comes.
        """
        if self.open:
            self._pings_sent += 1
            self.h2.ping(self._pings_sent.to_bytes(8, "big"))
            self._flush()
        wanted = self._pings_sent
        return lambda: self._pings_back >= wanted or not self.open

    def close(self) -> None:
        """Close the socket."""
        self.open = False
        self._loop.remove(self._sock)
        self._sock.close()
        for message in self.streams.values():
            if not message.ended and message.reset is None:
                message.reset = int(ErrorCodes.CANCEL)

    # -- what arrives ---------------------------------------------------------------------------

    def _readable(self) -> None:
        if not self.open:
            return
        try:
            data = self._sock.recv(_READ)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            found = self.h2.receive_data(data)
        except ProtocolError:
            self._flush()
            self.close()
            return
        for event in found:
            self._take(event)
        self._flush()

    def _take(self, event: Any) -> None:
        match event:
            case events.RequestReceived():
                message = self.streams[event.stream_id] = Message(headers=_pairs(event.headers))
                if self.on_begin is not None:
                    self.on_begin(message)
            case events.ResponseReceived():
                if (known := self.streams.get(event.stream_id)) is not None:
                    known.headers = _pairs(event.headers)
            case events.DataReceived():
                if (known := self.streams.get(event.stream_id)) is not None:
                    known.frames.append(bytes(event.data))
                if event.flow_controlled_length:
                    self.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            case events.TrailersReceived():
                if (known := self.streams.get(event.stream_id)) is not None:
                    known.trailers = _pairs(event.headers)
            case events.StreamEnded():
                if (known := self.streams.get(event.stream_id)) is not None:
                    known.ended = True
                    if self.on_request is not None:
                        self.on_request(self, event.stream_id, known)
            case events.StreamReset():
                self._queues.pop(event.stream_id, None)
                known = self.streams.get(event.stream_id)
                if known is not None and not known.ended:
                    known.reset = int(event.error_code)
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                for stream in list(self._queues):
                    self._advance(stream)
            case events.PingAckReceived():
                self._pings_back = int.from_bytes(event.ping_data, "big")
            case events.ConnectionTerminated():
                self._flush()
                self.close()

    # -- what leaves ----------------------------------------------------------------------------

    def _advance(self, stream: int) -> None:
        queue = self._queues.get(stream)
        try:
            while queue:
                content, last = queue[0]
                if isinstance(content, tuple):
                    self.h2.send_headers(stream, content, end_stream=last)
                    queue.popleft()
                    continue
                size = min(len(content), self.h2.max_outbound_frame_size)
                if size and self.h2.local_flow_control_window(stream) < size:
                    return
                # Only a chunk above the frame size that the other side takes (16 KiB) is cut.
                rest = content[size:]
                self.h2.send_data(stream, content[:size], end_stream=last and not rest)
                if rest:
                    queue[0] = (rest, last)
                else:
                    queue.popleft()
        except ProtocolError:  # the other side has ended the stream meanwhile
            pass
        self._queues.pop(stream, None)

    def _flush(self) -> None:
        if not self.open:
            return
        data = self.h2.data_to_send()
        if not data:
            return
        try:
            self._sock.sendall(data)
        except OSError:
            self.close()


def _pairs(headers: Any) -> Pairs:
    return tuple((bytes(name), bytes(value)) for name, value in headers)
