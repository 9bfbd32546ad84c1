"""One request and its answer on their way through the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox import local, routing
from helpers.sandbox.context import Body
from helpers.sandbox.ends import ClientEnd, Side, UpstreamEnd
from helpers.sandbox.errors import HostCallFailed
from helpers.sandbox.headers import (
    HeaderMap,
    Headers,
    RequestHeaders,
    ResponseHeaders,
    ResponseTrailers,
    crumbs,
)
from helpers.sandbox.pairs import Pair
from helpers.sandbox.path import LIMIT_HTTP2, Path
from helpers.sandbox.records import Happenings, LocalReply, Reply, Upstream
from helpers.sandbox.slot import Slot

if TYPE_CHECKING:
    from helpers.sandbox.chain import Handle
    from helpers.sandbox.host import Host

FAIL_STREAM = "wasm_fail_stream"
_UNAVAILABLE, _UNAVAILABLE_GRPC = 503, 14
_NO_STATUS = "filter_removed_required_response_headers{missing_required_header:_:status}"
# What the connection manager takes out of each response.
_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding",
                  b"upgrade"})


class Stream:
    """See the module's first line.

    Args:
        headers: the request's, pseudo-headers first.
        upstream: what answers.
        protocol: "HTTP/1.1" or "HTTP/2": how the end of a body shows.
    """

    # Set when they are: until then the class has them.
    finished: int | None = None
    request_bytes = response_bytes = flags = 0
    #: The status that the client got, and that of what is on its way to it.
    status: int | None = None
    code: int | None = None
    details: str | None = None
    local: LocalReply | None = None
    answered = over = False
    #: The request came with x-forwarded-proto, as a connection manager sees to it.
    had_proto = True
    #: A plugin could change the request's headers; whether it was a gRPC request before that.
    touched = grpc = False
    filter_state: dict[bytes, bytes] | None = None
    #: What the client sent, before plugins changed the map in place: kept when it is traced.
    sent: Side | None = None

    def __init__(self, host: Host, handles: list[Handle], headers: HeaderMap, upstream: Upstream,
                 protocol: str, happenings: Happenings) -> None:
        self.host = host
        self.happenings = happenings
        self.protocol = protocol
        self.slots = slots = [Slot(handle, self) for handle in handles]
        self.upstream = UpstreamEnd(self)
        self.client = ClientEnd(self)
        self.decode = Path(0, slots, self.upstream)
        self.encode = Path(1, slots[::-1] if len(slots) > 1 else slots, self.client)
        self.decode.map = headers
        if protocol != "HTTP/1.1":
            self.decode.limit = self.encode.limit = LIMIT_HTTP2
        if host.recorder is not None:
            self.sent = Side()
            self.sent.headers(headers, False)
        self.wanted = upstream
        self.head = (b":method", b"HEAD") in headers.pairs
        self.begun = host.clock.now

    # -- the request's way -------------------------------------------------------------------

    def send_headers(self, end: bool) -> None:
        """The client sends its headers."""
        self.decode.complete = end
        self.decode.headers(0, end)

    def send_data(self, data: bytes, end: bool) -> None:
        """The client sends a piece of its body."""
        self.request_bytes += len(data)
        if self.sent is not None:
            self.sent.data(data, end)
        if not self.decode.dead:
            self.decode.complete = end
            body = Body(data)
            self.decode.data(0, body, end)
            body.data = b""  # whoever still looks at this piece sees what the codec left of it

    def send_trailers(self, trailers: list[Pair]) -> None:
        """The client sends its trailers."""
        if self.sent is not None:
            self.sent.trailers(HeaderMap(trailers))
        if not self.decode.dead:
            if self.protocol != "HTTP/1.1":
                trailers = crumbs(trailers)
            self.decode.complete = True
            self.decode.trailer_map = HeaderMap(trailers)
            self.decode.trailers(0)

    @property
    def due(self) -> bool:
        """Whether upstream has the whole request and has not answered yet."""
        return (self.upstream.done and not self.answered and self.encode.map is None
                and not self.over)

    def respond(self, reply: Reply | None = None) -> None:
        """Upstream answers."""
        if reply is None:
            wanted = self.wanted
            if not isinstance(wanted, Reply):
                message = self.upstream.message()
                assert message is not None
                try:
                    wanted = wanted(message)
                except Exception as error:
                    raise HostCallFailed(
                        f"upstream= raised {type(error).__name__}: {error}",
                        cause="it answers the request in the place of a service",
                        fix="let it take a Message and return a Reply") from error
                if not isinstance(wanted, Reply):
                    raise HostCallFailed(
                        f"upstream= answered {type(wanted).__name__}", cause="it is a Reply",
                        fix="upstream=Reply(status=200)")
            reply = wanted
        self.wanted = reply
        self.answered = True
        self.details = "via_upstream"
        self.code = reply.status
        found, pieces, tail = reply.read()
        if self.protocol != "HTTP/1.1":
            found, tail = crumbs(found), crumbs(tail)
        trailers = ResponseTrailers.of(tail.copy()) if tail and not self.head else None
        if self.head:
            pieces = []
        path = self.encode
        path.map = ResponseHeaders.of(found.copy())
        path.complete = not pieces and trailers is None
        path.headers(0, path.complete)
        if path.dead or not (pieces or trailers):
            return
        last = len(pieces) - 1 if trailers is None and self.protocol != "HTTP/1.1" else -1
        for number, piece in enumerate(pieces):
            if path.dead:
                return
            self.response_bytes += len(piece)
            path.complete = number == last
            body = Body(piece)
            path.data(0, body, path.complete)
            body.data = b""
        if path.dead:
            return
        path.complete = True
        if trailers is not None:
            path.trailer_map = trailers
            path.trailers(0)
        elif pieces and last < 0:
            path.data(0, Body(b""), True)

    # -- what plugins ask for ----------------------------------------------------------------

    def resume(self, kind: int, slot: Slot) -> None:
        """A plugin goes on with the request (0) or the response (1)."""
        path = self.encode if kind else self.decode
        if self.over:
            self.host.diagnose("a stream was resumed that is over")
        elif not path.resume(slot):
            self.host.diagnose(
                f"{slot.handle.name} resumed a {'response' if kind else 'request'} that it had "
                "not paused: out of a callback about headers or trailers Envoy 1.40 sends them "
                "twice, or ends with a segmentation fault")

    def touch(self) -> None:
        """A plugin is about to change the request's headers."""
        self.touched = True
        self.grpc = local.is_grpc(self.decode.map)

    def new_trailers(self, side: int) -> HeaderMap:
        """Trailers that a plugin makes."""
        path = self.encode if side else self.decode
        path.trailer_map = ResponseTrailers() if side else HeaderMap()
        return path.trailer_map

    def unroutable(self, headers: HeaderMap) -> bool:
        """Whether the router answers by itself; what it changes, it changes."""
        assert isinstance(headers, RequestHeaders)
        wrong = routing.refusal(headers, self.had_proto)
        if wrong is None:
            return False
        status, details, body = wrong
        self.host.diagnose(f"the router refuses the request as plugins left it: {details}")
        # The router notes its code before the filters see the reply; a filter's own comes after.
        self.code = status
        self.local_reply(status, details, body, [], None)
        return True

    def unfit(self, headers: HeaderMap) -> bool:
        """Whether the response cannot be sent; what belongs to one connection is taken out."""
        status = headers.get(b":status")
        if status is None or not status.isdigit():
            self.local_reply(502, _NO_STATUS, b"missing required header: :status", [], None)
            return True
        self.code = int(status[:9])
        for name, _ in headers.pairs:
            if name in _HOP:
                headers.pairs = [pair for pair in headers.pairs if pair[0] not in _HOP]
                break
        return False

    def fail(self, slot: Slot) -> None:
        """A plugin failed under this stream."""
        self.local_reply(_UNAVAILABLE, FAIL_STREAM, b"", [], _UNAVAILABLE_GRPC, slot)

    def close(self) -> None:
        """A plugin closes the stream: the client sees it reset."""
        if not self.over:
            self.details = self.details or "wasm_close_stream"
            self._reset()

    def disconnect(self) -> None:
        """The client went away."""
        if not self.over:
            self.details = ("downstream_remote_disconnect" if self.protocol == "HTTP/1.1"
                            else "http2.remote_reset")
            self._reset()

    def local_reply(self, code: int, details: str, body: bytes, added: list[Pair],
                    grpc_status: int | None, slot: Slot | None = None) -> None:
        """Answer in upstream's place (source/common/http/filter_manager.cc, sendLocalReply)."""
        if self.over:
            name = slot.handle.name if slot is not None else "Envoy"
            self.host.diagnose(f"{name} asked for a local reply {code} after the answer: it is "
                               "ignored")
            return
        reply = LocalReply(code, details, body, Headers(added), grpc_status)
        self.decode.dead = True
        if self.encode.map is not None and self.client.found is not None:
            # The client has the headers already: nothing can be said any more.
            self.details = details
            self._reset()
            return
        self.local = reply
        self.details = details
        headers, content = local.message(
            reply, self.decode.map, head=self.head, grpc=self.grpc if self.touched else None)
        if self.encode.map is None:
            path = self.encode
            path.map = headers
            path.complete = not content
            path.headers(0, path.complete)
            if content and not path.dead:
                path.complete = True
                path.data(0, Body(content), True)
            return
        # The answer of upstream is on its way through the filters: it is dropped, and this one
        # goes to the client past them.
        self.encode.dead = True
        self.encode.map = headers
        self.client.headers(headers, not content)
        if content:
            self.client.data(content, True)

    # -- the end -----------------------------------------------------------------------------

    def answer_headers(self) -> HeaderMap | None:
        """The answer's headers as the access log has them."""
        return self.encode.map

    def answer_trailers(self) -> HeaderMap | None:
        """The answer's trailers as the access log has them."""
        return self.encode.trailer_map

    def _reset(self) -> None:
        self.decode.dead = self.encode.dead = True
        self._over()
        self.finish()

    def answered_whole(self) -> None:
        """The client has all of the response."""
        if not self.over:
            self.decode.dead = True
            self._over()
            if self.decode.complete:
                # When what came in with it is worked off, and before anything else.
                self.host.post_first(self.finish)
            else:
                self.finish()  # Envoy breaks the request off

    def _over(self) -> None:
        self.over = True
        for name, value in self.client.found or ():
            if name == b":status":
                self.status = int(value) if value.isdigit() and len(value) < 10 else 0
                break

    def finish(self) -> None:
        """Log, done, delete: in Envoy's order, or the specification's (done first)."""
        self.finished = self.host.clock.now
        if self.host.spec:
            for slot in self.slots:
                slot.done()
                slot.log()
                slot.delete()
        else:
            for slot in self.slots:
                slot.log()
            for slot in self.slots:
                slot.done()
                slot.delete()
        # What is left is a record: let go of what holds it in a circle.
        del self.upstream.stream, self.client.stream
        for slot in self.slots:
            slot.release()
