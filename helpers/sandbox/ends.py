"""What stands behind the last filter of each direction, and what arrived there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.headers import HeaderMap, Headers
from helpers.sandbox.pairs import Pair
from helpers.sandbox.records import Message

if TYPE_CHECKING:
    from helpers.sandbox.stream import Stream


class Side:
    """What arrived at one end."""

    found: list[Pair] | None = None
    trailers_found: list[Pair] | None = None
    done = False
    stream: Stream

    def __init__(self, stream: Stream | None = None) -> None:
        self.body: list[bytes] = []
        if stream is not None:
            self.stream = stream

    def headers(self, headers: HeaderMap, end: bool) -> None:
        self.found = headers.pairs.copy()
        if end:
            self._finish()

    def data(self, data: bytes, end: bool) -> None:
        if self.done:
            return
        if data:
            self.body.append(data)
        if end:
            self._finish()

    def trailers(self, trailers: HeaderMap) -> None:
        if self.done:
            return
        # Without a trailer in them they are the end and no more.
        self.trailers_found = trailers.pairs.copy() or None
        self._finish()

    def _finish(self) -> None:
        self.done = True

    def message(self) -> Message | None:
        if self.found is None:
            return None
        trailers = self.trailers_found
        return Message(Headers(self.found), b"".join(self.body),
                       None if trailers is None else Headers(trailers), self.done)


class UpstreamEnd(Side):
    """Behind the request's last filter: the router, and the upstream."""

    def headers(self, headers: HeaderMap, end: bool) -> None:
        stream = self.stream
        if stream.touched and stream.unroutable(headers):
            return
        super().headers(headers, end)

    def too_large(self) -> None:
        self.stream.local_reply(413, "request_payload_too_large", b"Payload Too Large", [], None)


class ClientEnd(Side):
    """Behind the response's last filter: the connection manager, and the client."""

    def headers(self, headers: HeaderMap, end: bool) -> None:
        if self.stream.unfit(headers):
            return
        super().headers(headers, end)

    def too_large(self) -> None:
        self.stream.local_reply(500, "response_payload_too_large", b"Internal Server Error", [],
                                None)

    def _finish(self) -> None:
        self.done = True
        self.stream.answered_whole()
