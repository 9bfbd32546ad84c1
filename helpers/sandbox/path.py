"""One direction of a stream through its filters, as Envoy's filter manager goes it.

A filter that stops at headers holds back everything behind it (StopAllIteration). One that stops
at data keeps what came so far, and what comes; when it goes on, what was kept goes to the next
filter (source/common/http/filter_manager.cc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from helpers.sandbox.context import Body
from helpers.sandbox.headers import HeaderMap

if TYPE_CHECKING:
    from helpers.sandbox.slot import Slot

RUN, ALL, DATA, TRAILERS = 0, 1, 2, 3
CONTINUE, BUFFER, WATERMARK = 0, 1, 2


class End(Protocol):
    """What stands behind the last filter: the upstream, or the client."""

    def headers(self, headers: HeaderMap, end: bool) -> None:
        """The headers arrived."""

    def data(self, data: bytes, end: bool) -> None:
        """A piece of the body arrived."""

    def trailers(self, trailers: HeaderMap) -> None:
        """The trailers arrived."""


class Gate:
    """Where one filter stands in one direction.

    Attributes:
        stop: RUN, or at what it stopped.
        bare: it stopped at headers that nothing follows.
        kept: the body that it keeps back; `whole`: its next callback sees all of that.
        ended: it has seen the end, or the end waits before it.
        trailers_wait: trailers stand before it; `trailers_seen`: it stopped at them.
    """

    __slots__ = ("bare", "ended", "kept", "stop", "trailers_seen", "trailers_wait", "whole")

    def __init__(self) -> None:
        self.stop = RUN
        self.kept: Body | None = None
        self.bare = self.ended = self.whole = self.trailers_seen = self.trailers_wait = False

    def take(self) -> bytes | None:
        """What was kept; None when nothing came."""
        kept, self.kept = self.kept, None
        self.whole = False
        return None if kept is None else kept.data


class Path:
    """See the module's first line.

    Args:
        side: 0 for the request, 1 for the response.
        slots: the filters in the order of this direction.
        end: what stands behind them.
    """

    dead = trailers_made = False
    map: HeaderMap | None = None
    trailer_map: HeaderMap | None = None
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

    def headers(self, at: int, end: bool) -> None:
        """The headers, from filter `at` on."""
        slots, found = self.slots, self.map
        assert found is not None
        for number in range(at, len(slots)):
            stops = slots[number].on_headers(self.side, found, end)
            if self.dead:
                return
            if stops:
                gate = self.gate(number)
                gate.stop, gate.bare = ALL, end
                return
        self.end.headers(found, end)

    def data(self, at: int, chunk: bytes, end: bool) -> None:
        """A piece of the body, from filter `at` on."""
        made_at = -1
        for number in range(at, len(self.slots)):
            gate = self.gate(number)
            if gate.stop == ALL:
                if gate.kept is None:
                    gate.kept = Body(chunk)
                else:
                    gate.kept.data += chunk
                gate.ended = end
                return
            before = gate.kept if gate.stop == DATA else None
            if before is not None and gate.whole:
                before.data += chunk
                body = before
            else:
                body = Body(chunk)
            self.trailers_made = False
            action = self.slots[number].on_body(self.side, body, end)
            if self.dead:
                return
            if self.trailers_made:
                end, made_at = False, number
            if before is not None and before is not body:
                body = Body(before.data + body.data)
            if action == CONTINUE:
                gate.stop, gate.kept, gate.whole = RUN, None, False
                chunk = body.data
                continue
            gate.stop, gate.ended = DATA, end
            gate.kept = body if action in (BUFFER, WATERMARK) else None
            gate.whole = action == BUFFER
            gate.trailers_seen = made_at >= 0
            return
        self.end.data(chunk, end)
        if made_at >= 0 and not self.dead:
            self.trailers(made_at + 1)

    def trailers(self, at: int) -> None:
        """The trailers, from filter `at` on."""
        found = self.trailer_map
        assert found is not None
        for number in range(at, len(self.slots)):
            gate = self.gate(number)
            if gate.stop == ALL:
                gate.trailers_wait = True
                return
            stops = self.slots[number].on_trailers(self.side, found)
            if self.dead:
                return
            if stops:
                gate.trailers_seen = True
                if gate.stop == RUN:
                    gate.stop = TRAILERS
                return
            if gate.stop == DATA:
                gate.stop = RUN
                kept = gate.take()
                if kept:
                    self.data(number + 1, kept, False)
                    if self.dead:
                        return
        self.end.trailers(found)

    def resume(self, slot: Slot) -> bool:
        """A filter that stopped goes on; False when it had not stopped."""
        number = self.slots.index(slot)
        gate = self.gate(number)
        stopped = gate.stop
        if stopped == RUN or self.dead:
            return False
        gate.stop = RUN
        if stopped == ALL:
            # What was held back is for this filter, too: it has seen the headers only.
            kept = gate.take()
            self.headers(number + 1, gate.bare)
            if not self.dead and (kept or (kept is not None and gate.ended)):
                self.data(number, kept, gate.ended)
            if not self.dead and gate.trailers_wait:
                gate.trailers_wait = False
                self.trailers(number)
            return True
        kept = gate.take()
        if kept or gate.ended:
            self.data(number + 1, kept or b"", gate.ended)
        if not self.dead and gate.trailers_seen:
            gate.trailers_seen = False
            self.trailers(number + 1)
        return True
