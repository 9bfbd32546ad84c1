"""What came of a request: a view on the stream, which a paused one keeps filling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.chain import lines
from helpers.sandbox.errors import GuestPanic
from helpers.sandbox.headers import Headers
from helpers.sandbox.records import Call, Callout, LocalReply, LogLine, Message, Reply

if TYPE_CHECKING:
    import pandas as pd

    from helpers.plots import PlotResult
    from helpers.sandbox.stream import Stream


class Exchange:
    """A request, its answer, and all that plugins did in between.

    Attributes:
        metrics: name to value after the request.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._happenings = stream.happenings

    @property
    def state(self) -> str:
        """"complete", "paused" (a plugin holds it), or "reset" (cut off before its end)."""
        stream = self._stream
        if not stream.over:
            return "paused"
        return "complete" if stream.client.done else "reset"

    @property
    def status(self) -> int:
        """The HTTP status that the client got; 0 when it got none."""
        return self._stream.status or 0

    @property
    def details(self) -> str:
        """The response code details: "via_upstream", "wasm_fail_stream", a plugin's own."""
        return self._stream.details or ""

    @property
    def sent(self) -> Message | None:
        """The request as the client sent it; None when the sandbox does not trace."""
        return None if self._stream.sent is None else self._stream.sent.message()

    @property
    def answered(self) -> Message | None:
        """The response as upstream sent it; None when it did not answer."""
        reply = self._stream.wanted
        if not self._stream.answered or not isinstance(reply, Reply):
            return None
        headers, pieces, trailers = reply.read()
        return Message(Headers(headers), b"".join(pieces),
                       Headers(trailers) if trailers else None)

    @property
    def upstream(self) -> Message | None:
        """The request as upstream got it; None when it never arrived."""
        return self._stream.upstream.message()

    @property
    def client(self) -> Message | None:
        """The response as the client got it; None when there was none."""
        return self._stream.client.message()

    @property
    def local_reply(self) -> LocalReply | None:
        """The answer that was given in upstream's place, if one was."""
        return self._stream.local

    @property
    def logs(self) -> tuple[LogLine, ...]:
        """What plugins logged, in order."""
        return lines(self._happenings.logs)

    @property
    def trace(self) -> tuple[Call, ...]:
        """Every crossing of the border; empty when the sandbox does not trace."""
        return tuple(call for call in self._happenings.trace if call is not None)

    @property
    def callouts(self) -> tuple[Callout, ...]:
        """The calls that plugins made to other services."""
        return tuple(self._happenings.of("callouts"))

    @property
    def panics(self) -> tuple[GuestPanic, ...]:
        """VMs that died meanwhile, and of what."""
        return tuple(self._happenings.of("panics"))

    @property
    def unimplemented(self) -> tuple[str, ...]:
        """What the plugin asked for and the sandbox does not carry out."""
        return tuple(self._happenings.of("unimplemented"))

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """What Envoy does without a word and a plugin author wants to know."""
        return tuple(self._happenings.of("diagnostics"))

    @property
    def metrics(self) -> dict[str, int]:
        """Metrics by name, as they are now; of a histogram how many values it has."""
        return self._stream.host.metrics.values()

    def trace_table(self) -> pd.DataFrame:
        """The trace as a table, one row a crossing of the border, in the order of their begin.

        Returns:
            A DataFrame, its index from 1 on as in `timeline`, with the columns
            begun_us (float64): microseconds since the exchange began;
            direction (str): "host -> VM" for a callback, "VM -> host" for a call that it makes;
            call, arguments (str): its name, and what it was given, cut where that is long;
            result (str): what it gave back; "trap" where the VM died in it;
            took_us (float64): microseconds, with the calls inside it;
            depth (int64): 0 for a callback, 1 for a call inside one, and so on;
            plugin (str), context (int64): whose VM, and the number of its context.
        """
        from helpers.sandbox import view

        return view.trace_table(self.trace)

    def timeline(self) -> PlotResult:
        """The trace as a picture: callbacks on one lane, host calls on the other."""
        from helpers.plots import trace  # matplotlib is slow to import

        return trace.timeline(self.trace)

    def check(self) -> Exchange:
        """This exchange, or the panic that happened in it.

        Raises:
            GuestPanic: a VM died.
        """
        if self._happenings.of("panics"):
            raise self._happenings.of("panics")[0]
        return self

    def __str__(self) -> str:
        from helpers.sandbox import view

        return view.text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from helpers.sandbox import view

        return view.html(self)
