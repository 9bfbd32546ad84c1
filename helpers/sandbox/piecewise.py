"""A request that is sent piece by piece."""

from __future__ import annotations

from collections.abc import Callable

from helpers.sandbox.errors import SandboxMisuse
from helpers.sandbox.exchange import Exchange
from helpers.sandbox.headers import Given, given_pairs
from helpers.sandbox.records import Reply
from helpers.sandbox.stream import Stream


class Steps:
    """A request piece by piece.

    Each method sends one piece and lets happen what follows from it at once. `exchange` shows
    how it stands.
    """

    def __init__(self, alone: Callable[[Callable[[], None]], None], stream: Stream) -> None:
        self._alone = alone
        self._stream = stream
        self._sent = "nothing"
        self.exchange = Exchange(stream)

    def headers(self, end: bool = False) -> Exchange:
        """Send the request's headers; `end` says that no body follows."""
        self._order("headers", "nothing", "the end" if end else "headers")
        return self._do(lambda: self._stream.send_headers(end))

    def data(self, data: bytes, end: bool = False) -> Exchange:
        """Send a piece of the body."""
        self._order("data", "headers", "the end" if end else "headers")
        return self._do(lambda: self._stream.send_data(data, end))

    def trailers(self, trailers: Given) -> Exchange:
        """Send trailers: they end the request."""
        pairs = given_pairs(trailers, "trailers")
        self._order("trailers", "headers", "the end")
        return self._do(lambda: self._stream.send_trailers(pairs))

    def respond(self, reply: Reply | None = None) -> Exchange:
        """Let upstream answer, with `reply` or what was given at the start.

        Raises:
            SandboxMisuse: the whole request has not arrived there.
        """
        if not self._stream.due:
            raise SandboxMisuse("upstream cannot answer now", cause="the request has not arrived "
                                "there as a whole, or was answered", fix="look at .exchange")
        return self._do(lambda: self._stream.respond(reply))

    def disconnect(self) -> Exchange:
        """The client goes away."""
        return self._do(self._stream.disconnect)

    def _order(self, what: str, wanted: str, then: str) -> None:
        if self._sent != wanted:
            raise SandboxMisuse(f"{what} cannot be sent now", cause=f"{self._sent} was sent last",
                                fix="headers first, then data, then trailers")
        self._sent = then

    def _do(self, work: Callable[[], None]) -> Exchange:
        host = self._stream.host

        def with_posts() -> None:
            host.happenings = self._stream.happenings
            work()
            host.run_posts()

        self._alone(with_posts)
        return self.exchange
