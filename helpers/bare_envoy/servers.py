"""The scripted HTTP/2 servers behind Envoy: the upstream, and one for each callout cluster."""

from __future__ import annotations

import socket
from collections.abc import Callable

from h2.errors import ErrorCodes

from helpers.bare_envoy.types import (
    Answer,
    AnswerLike,
    Message,
    ReplyLike,
    chunks,
    pairs,
)
from helpers.bare_envoy.wire import Loop, Peer


class Server:
    """Listens on a port that the kernel chooses and answers each request from its script.

    Attributes:
        answer: what the next request gets; a function is called with the request's `Message`
            once it is complete.
        seen: the requests since `clear`, in order of arrival.
    """

    def __init__(self, loop: Loop, name: str) -> None:
        self.name = name
        self.answer: AnswerLike = None
        self.seen: list[Message] = []
        self.on_arrival: Callable[[str, Message], None] | None = None
        self.touched: set[Peer] = set()
        self._loop = loop
        self._peers: list[Peer] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        loop.add(self._socket, self._accept)

    def clear(self) -> None:
        """Forget the requests that came, and connections that were closed."""
        self.seen.clear()
        self.touched.clear()
        self._peers = [peer for peer in self._peers if peer.open]

    def close(self) -> None:
        """Close all sockets."""
        self._loop.remove(self._socket)
        self._socket.close()
        for peer in self._peers:
            peer.close()

    def _accept(self) -> None:
        sock, _ = self._socket.accept()
        peer = Peer(self._loop, sock, client=False)
        peer.on_begin = self._begin
        peer.on_request = self._respond
        self._peers.append(peer)

    def _begin(self, message: Message) -> None:
        self.seen.append(message)
        if self.on_arrival is not None:
            self.on_arrival(self.name, message)

    def _respond(self, peer: Peer, stream: int, message: Message) -> None:
        given = self.answer
        answer: Answer = given(message) if callable(given) else given
        self.touched.add(peer)
        if answer is None:
            peer.reset(stream, ErrorCodes.INTERNAL_ERROR)
        elif not isinstance(answer, str):
            _send(peer, stream, answer)
        peer.streams.pop(stream, None)


def _send(peer: Peer, stream: int, reply: ReplyLike) -> None:
    headers = ((b":status", str(reply.status).encode()), *pairs(reply.headers))
    peer.send(stream, headers, chunks(reply.body), pairs(reply.trailers) or None)
