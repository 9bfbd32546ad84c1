"""One direction of a stream through its filters, as Envoy's filter manager goes it.

A filter that stops at headers holds back everything behind it (StopAllIteration). One that stops
at data or trailers holds back what it has seen. All filters of a direction share one buffer: what
a filter keeps is put behind what is in it, and goes to the next filter when this one goes on
(source/common/http/filter_manager.cc, also for what looks odd below).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from helpers.sandbox.context import Body
from helpers.sandbox.headers import HeaderMap

if TYPE_CHECKING:
    from helpers.sandbox.slot import Slot

#: Where a filter stands: it lets through, it stopped at data or trailers, or at headers.
RUN, ONE, ALL = 0, 1, 2
CONTINUE, BUFFER, WATERMARK = 0, 1, 2
#: What Envoy keeps back when nobody sets another limit: `per_connection_buffer_limit_bytes` over
#: HTTP/1, the window of a stream over HTTP/2.
LIMIT, LIMIT_HTTP2 = 1024 * 1024, 16 * 1024 * 1024


class End(Protocol):
    """What stands behind the last filter: the upstream, or the client."""

    def headers(self, headers: HeaderMap, end: bool) -> None:
        """The headers arrived."""

    def data(self, data: bytes, end: bool) -> None:
        """A piece of the body arrived."""

    def trailers(self, trailers: HeaderMap) -> None:
        """The trailers arrived."""

    def too_large(self) -> None:
        """More was kept back than Envoy keeps."""


class Gate:
    """Where one filter stands in one direction.

    Attributes:
        stop: RUN, ONE or ALL.
        ended: it has seen the end: nothing more goes there.
        again: it goes on, and has not seen what was held back before it.
    """

    __slots__ = ("again", "ended", "stop")

    def __init__(self) -> None:
        self.stop = RUN
        self.again = self.ended = False


class Path:
    """See the module's first line.

    Args:
        side: 0 for the request, 1 for the response.
        slots: the filters in the order of this direction.
        end: what stands behind them.

    Attributes:
        at: the filter that the headers have reached.
        kept: the common buffer; None until something was kept. limit: how much it may hold.
        complete: the end of the message has arrived, if not everywhere.
        dead: nothing goes this way any more.
    """

    dead = complete = streaming = False
    at = 0
    limit = LIMIT
    map: HeaderMap | None = None
    trailer_map: HeaderMap | None = None
    kept: Body | None = None
    gates: list[Gate] | None = None

    def __init__(self, side: int, slots: list[Slot], end: End) -> None:
        self.side = side
        self.slots = slots
        self.end = end

    def gate(self, number: int) -> Gate:
        """Where filter `number` stands. Most streams stop nowhere and need no gates."""
        if self.gates is None:
            self.gates = [Gate() for _ in self.slots]
        return self.gates[number]

    def headers(self, first: int, end: bool) -> None:
        """The headers, from filter `first` on."""
        slots, found = self.slots, self.map
        assert found is not None
        for number in range(first, len(slots)):
            self.at = number
            stops = slots[number].on_headers(self.side, found, end)
            if self.dead:
                return
            if stops:
                gate = self.gate(number)
                gate.stop, gate.ended = ALL, end
                return
            if self.at != number:
                return  # it went on by itself in its callback: they are past it already
            if self.gates is not None:
                self.gates[number].ended = end
        self.at = len(slots)
        self.end.headers(found, end)

    def data(self, first: int, body: Body, end: bool) -> None:
        """A piece of the body, from filter `first` on."""
        side, slots, gates = self.side, self.slots, self.gates
        had_trailers, made_at = self.trailer_map is not None, -1
        for number in range(first, len(slots)):
            last = end and self.trailer_map is None
            if gates is not None:
                gate = gates[number]
                if gate.stop == ALL:
                    self.streaming = True
                    self._keep(body)
                    return
                if gate.ended:
                    return
                gate.ended = last
            action = slots[number].on_body(side, body, last)
            if self.dead:
                return
            if made_at < 0 and not had_trailers and self.trailer_map is not None:
                made_at = number
            gates = self.gates
            if action == CONTINUE and (gates is None or gates[number].stop == RUN):
                continue
            gate = self.gate(number)
            gate.ended = last
            if action == CONTINUE:
                self._keep(body)
                self._go_on(number)
            else:
                gate.stop = ONE
                if action <= WATERMARK:
                    self.streaming = action == WATERMARK
                    self._keep(body)
                elif self.complete and self.trailer_map is None and self.kept is None:
                    self.kept = Body(b"")
            if side:
                return
            break  # trailers that a filter made go on, even before the data that it kept
        else:
            data, body.data = body.data, b""
            self.end.data(data, end and self.trailer_map is None)
        if made_at >= 0 and not self.dead:
            self.trailers(made_at + 1)

    def trailers(self, first: int) -> None:
        """The trailers, from filter `first` on."""
        found = self.trailer_map
        assert found is not None
        for number in range(first, len(self.slots)):
            if self.gates is not None and self.gates[number].stop == ALL:
                return
            stops = self.slots[number].on_trailers(self.side, found)
            if self.dead:
                return
            if stops:
                gate = self.gate(number)
                gate.ended = True
                if gate.stop == RUN:
                    gate.stop = ONE
                return
            if self.gates is not None:
                gate = self.gates[number]
                gate.ended = True
                if gate.stop == ONE:
                    self._go_on(number)
                    return
        self.end.trailers(found)

    def keep(self, body: Body) -> bool:
        """Put a piece into the buffer, unless it is the buffer; whether that was too much."""
        kept = self.kept
        if kept is body:
            return False
        if kept is None:
            kept = self.kept = Body(b"")
        kept.data += body.data
        body.data = b""
        return len(kept.data) > self.limit and not self.streaming

    def _keep(self, body: Body) -> None:
        if self.keep(body):
            self.end.too_large()

    def resume(self, slot: Slot) -> bool:
        """A filter goes on; False when it had not stopped, or nothing has come this way yet."""
        if self.dead or self.map is None:
            return False
        number = self.slots.index(slot)
        stopped = self.gates is not None and self.gates[number].stop != RUN
        self._go_on(number)
        return stopped

    def _go_on(self, number: int) -> None:
        gate = self.gate(number)
        gate.again = gate.stop == ALL
        gate.stop = RUN
        if self.at == number:
            self.headers(number + 1, self.complete and self.kept is None
                         and self.trailer_map is None)
        had_trailers = self.trailer_map is not None
        if self.kept is not None and not self.dead:
            self.data(number + (not gate.again), self.kept, self.complete and not had_trailers)
        if had_trailers and not self.dead:
            self.trailers(number + (not gate.again))
        gate.again = False
