"""Calls of plugins to other services, on their way: the caller's answers, and Envoy's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox import grpc
from helpers.sandbox.errors import HostCallFailed
from helpers.sandbox.headers import HeaderMap, Headers, ResponseHeaders, ResponseTrailers
from helpers.sandbox.records import Callout, Reply

if TYPE_CHECKING:
    from helpers.sandbox.clock import Timer
    from helpers.sandbox.context import Context
    from helpers.sandbox.host import Host
    from helpers.sandbox.pairs import Pair
    from helpers.sandbox.vm import Vm

#: Callouts under way, and events that wait, with the bytes that the calls carry.
MOST_CALLS = 10_000
MOST_POSTS = 200_000
MOST_CALL_BYTES = 64 * 1024 * 1024
_LARGE = 1024
_BROKEN_CONNECTION = 11


def _made_up(status: int, words: str) -> Reply:
    return Reply(status, {"content-length": str(len(words)), "content-type": "text/plain"}, words)


# What Envoy's own client says in the place of a service (source/common/router/router.cc), as
# tried with Envoy 1.40: to a plugin these are answers, not failures.
_HUNG_UP = _made_up(503, "upstream connect error or disconnect/reset before headers. "
                    "reset reason: remote reset")
_TOO_LATE = _made_up(504, "upstream request timeout")
_REASONS = {id(_HUNG_UP): b"upstream_reset_before_response_started{remote_reset}",
            id(_TOO_LATE): b"response_timeout"}


class Outgoing:
    """See the module's first line.

    Attributes:
        waiting: the root that is told of each call's end, by the call's id.
    """

    def __init__(self, host: Host) -> None:
        self.waiting: dict[int, Context] = {}
        self._host = host
        self._numbers = [0, 0]
        self._bytes: dict[int, int] = {}

    def drop(self, vm: Vm) -> None:
        """The VM is dead: nobody is left to hear of its calls."""
        for number, root in list(self.waiting.items()):
            if root.vm is vm:
                self.forget(number)

    def begin(self, context: Context, cluster: str, headers: HeaderMap, body: bytes,
              trailers: list[Pair], timeout: int, *, kind: int = 0) -> int | None:
        """Send a call; its answer comes to the root later. The call's id.

        `kind` is 0 for HTTP, or grpc.CALL.

        None when too many are under way, or carry too much.
        """
        size = len(body) + headers.size()
        if (len(self.waiting) >= MOST_CALLS or self._host.posts_waiting >= MOST_POSTS
                or size + sum(self._bytes.values()) > MOST_CALL_BYTES):
            self._host.diagnose(f"proxy_http_call: {len(self.waiting):,} calls are under way, and "
                                "this one is too much: Envoy, too, has circuit breakers")
            return None
        # Envoy keeps the kind of call in the two low bits, and counts each kind by itself.
        self._numbers[kind] += 4
        number, root = self._numbers[kind] | kind, context.root
        made = Callout(cluster, Headers(headers.pairs), body, Headers(trailers) if trailers
                       else None, timeout / 1000, context.plugin.name)
        self.waiting[number] = root
        if size > _LARGE:
            self._bytes[number] = size
        stream = context.stream
        noted = (stream.happenings if stream is not None else self._host.happenings).of("callouts")
        if len(noted) < MOST_CALLS and (size <= _LARGE or size + sum(
                len(one.body) for one in noted) <= MOST_CALL_BYTES):
            noted.append(made)
        else:
            self._host.diagnose("so many callouts in one exchange that it does not keep them all")
        self._host.post(lambda: self._ask(number, made))
        return number

    def _ask(self, number: int, made: Callout) -> None:
        answer = self._host.callouts.get(made.cluster)
        if callable(answer):
            try:
                answer = answer(made)
            except Exception as error:
                self.forget(number)
                raise HostCallFailed(
                    f"the function for cluster {made.cluster!r} raised "
                    f"{type(error).__name__}: {error}",
                    cause="it answers the plugin's callout in place of a service",
                    fix="let it return a Reply, or None for a call that fails") from error
        if answer is not None and not isinstance(answer, Reply):
            self.forget(number)
            raise HostCallFailed(
                f"cluster {made.cluster!r} answered {type(answer).__name__}",
                cause="an answer is a Reply, or None for a call that fails",
                fix='callouts={"auth": Reply(status=200)}')
        limit: Timer | None = None
        if made.timeout:
            late = None if self._host.spec else _TOO_LATE
            limit = self._host.clock.after(int(made.timeout * 1e9),
                                           lambda: self._answer(number, late))
        if answer is None:
            self._answer(number, None if self._host.spec else _HUNG_UP)
        elif answer.delay <= 0:
            self._answer(number, answer)
        elif answer.delay != float("inf"):
            reply = answer
            self._host.clock.after(int(reply.delay * 1e9), lambda: self._answer(number, reply))
        if limit is not None and number not in self.waiting:
            limit.cancel()

    def forget(self, number: int) -> Context | None:
        """It is not under way any more; who made it, if it was."""
        self._bytes.pop(number, None)
        return self.waiting.pop(number, None)

    def _answer(self, number: int, answer: Reply | None) -> None:
        root = self.forget(number)
        if root is None or root.vm.failed is not None:
            return  # answered before, or nobody is left to hear it
        if number & grpc.KIND:
            grpc.deliver(root, number, answer, _REASONS.get(id(answer), b"via_upstream"))
            return
        count = size = trailing = 0
        if answer is None or answer.cut:
            root.call_status = (_BROKEN_CONNECTION, b"reset")
        else:
            found, pieces, tail = answer.read()
            headers, body = ResponseHeaders.of(found.copy()), b"".join(pieces)
            if not self._host.spec and answer not in (_HUNG_UP, _TOO_LATE):
                # The router of Envoy's client says how long the service took, in milliseconds.
                headers.put(b"x-envoy-upstream-service-time", b"%d" % (answer.delay * 1000))
            trailers = ResponseTrailers.of(tail.copy()) if tail else None
            root.call = (headers, body, trailers)
            count, size, trailing = len(headers), len(body), len(trailers or ())

        def forget() -> None:
            root.call = None
            root.call_status = (root.call_status[0], b"")

        # What the callback asks for comes after that.
        root.vm.deferred.append(forget)
        try:
            root.vm.call("proxy_on_http_call_response", root, root.id, number, count, size,
                         trailing)
        finally:
            forget()
