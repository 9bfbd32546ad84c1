"""What all VMs of a sandbox share: clock, stores, log, callouts, and the queue of things to do."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from helpers.sandbox import grpc
from helpers.sandbox.clock import Clock, Timer
from helpers.sandbox.context import Context
from helpers.sandbox.errors import GuestPanic, HostCallFailed
from helpers.sandbox.headers import (
    HeaderMap,
    Headers,
    ResponseHeaders,
    ResponseTrailers,
    as_text,
)
from helpers.sandbox.pairs import Pair
from helpers.sandbox.records import Callout, Callouts, Happenings, Reply
from helpers.sandbox.shared import Metrics, Queue, SharedData, SharedQueues

if TYPE_CHECKING:
    from helpers.sandbox.stream import Stream
    from helpers.sandbox.trace import Recorder
    from helpers.sandbox.vm import Vm

UNIMPLEMENTED = 12
_MOST_LINE = 1024 * 1024
#: Log lines that one exchange, and the whole sandbox, keep.
MOST_LINES = 100_000
KEPT_LINES = 10_000
MOST_NOTES = 1_000
MOST_LOG_BYTES = 64 * 1024 * 1024
_LONG_LINE = 1024
_MOST_NOTE = 600
_MOST_UNIMPLEMENTED = 100
#: What happens in one call of the sandbox: a queue whose reader fills it again, or a tick that
#: asks for the next at once, would never end. And the seconds that it may take.
MOST_EVENTS = 100_000
MOST_SECONDS = 60.0
#: Events that wait, and callouts under way, with the bytes that they carry.
MOST_POSTS = 200_000
MOST_CALLS = 10_000
MOST_CALL_BYTES = 64 * 1024 * 1024
_BROKEN_CONNECTION = 11
_MILLISECOND = 1_000_000
Line = tuple[int, bytes, str, str]


def _made_up(status: int, words: str) -> Reply:
    return Reply(status, {"content-length": str(len(words)), "content-type": "text/plain"}, words)


# What Envoy's own client says in the place of a service (source/common/router/router.cc), as
# tried with Envoy 1.40: to a plugin these are answers, not failures.
_HUNG_UP = _made_up(503, "upstream connect error or disconnect/reset before headers. "
                    "reset reason: remote reset")
_TOO_LATE = _made_up(504, "upstream request timeout")
_REASONS = {id(_HUNG_UP): b"upstream_reset_before_response_started{remote_reset}",
            id(_TOO_LATE): b"response_timeout"}


class Host:
    """See the module's first line. Arguments are those of `helpers.sandbox.Sandbox`."""

    def __init__(self, *, clock: Clock, deadline: float, memory_limit: int, log_level: int,
                 callouts: Callouts, foreign: Mapping[str, Callable[[bytes], bytes | None]],
                 given: Mapping[str, Any], node: Mapping[str, Any], spec: bool) -> None:
        self.clock = clock
        self.deadline = deadline
        self.memory_limit = memory_limit
        self.log_level = log_level
        self.callouts: Callouts = callouts
        self.foreign = foreign
        self.given = given
        self.node = node
        self.spec = spec
        self.shared_data = SharedData()
        self.queues = SharedQueues()
        self.metrics = Metrics()
        self.recorder: Recorder | None = None
        self.configuration_in_force: bytes | None = None
        self.happenings = Happenings()
        self.lines: deque[Line] = deque(maxlen=KEPT_LINES)
        self.panics: list[GuestPanic] = []
        self.waiting: dict[int, Context] = {}
        self.notes: deque[str] = deque(maxlen=MOST_NOTES)
        #: Events that may still happen in this call of the sandbox, and until when (a reading
        #: of perf_counter; 0 until it matters).
        #: Requests that a plugin held back when `request` came back.
        self.held: list[Stream] = []
        self.left = MOST_EVENTS
        self.until = 0.0
        self._posts: deque[Callable[[], None]] = deque()
        self._calls = [0, 0]
        self._call_bytes: dict[int, int] = {}
        self._long_lines = 0

    # -- notes ---------------------------------------------------------------------------

    def log(self, level: int, data: bytes, vm: Vm) -> None:
        """Keep one line of a plugin, unless the logger's level is above it."""
        if level >= 4:
            vm.complaint = as_text(data[:_MOST_LINE])
        if level < self.log_level:
            return
        context = vm.effective or vm.current
        plugin = context.plugin.name if context is not None else vm.plugin
        stream = context.stream if context is not None else None
        where: Happenings = stream.happenings if stream is not None else self.happenings
        if len(data) > _MOST_LINE:
            self.diagnose(f"a log line of {len(data):,} bytes was cut after {_MOST_LINE:,}")
            data = data[:_MOST_LINE]
        line = (level, data, vm.callback, plugin)
        if len(where.logs) >= MOST_LINES:
            self.diagnose(f"more than {MOST_LINES:,} log lines in one exchange: the rest is lost")
            return
        if len(data) > _LONG_LINE and not self._room_for(len(data)):
            return
        where.logs.append(line)
        self.lines.append(line)

    def _room_for(self, size: int) -> bool:
        """Whether a long line is kept: they may have so many bytes in all that is kept."""
        if self._long_lines + size > MOST_LOG_BYTES:
            kept = sum(len(line[1]) for line in self.happenings.logs if len(line[1]) > _LONG_LINE)
            if kept + size > MOST_LOG_BYTES:
                self.diagnose(f"more than {MOST_LOG_BYTES:,} bytes of long log lines: the rest "
                              "is lost")
                return False
            # The lines of earlier exchanges made it full: the sandbox keeps short ones of them.
            short = [line for line in self.lines if len(line[1]) <= _LONG_LINE]
            self.lines.clear()
            self.lines.extend(short)
            self._long_lines = kept
        self._long_lines += size
        return True

    def diagnose(self, text: str) -> None:
        """Note something that Envoy does silently and a plugin author wants to know."""
        notes = self.happenings.of("diagnostics")
        if len(notes) < MOST_NOTES and (not notes or notes[-1] != text):
            text = text if len(text) <= _MOST_NOTE else f"{text[:_MOST_NOTE]}…"
            if text not in notes[-3:]:
                notes.append(text)
                self.notes.append(text)

    def note_unimplemented(self, name: str) -> None:
        """Note something that the sandbox does not carry out."""
        noted = self.happenings.of("unimplemented")
        if len(noted) < _MOST_UNIMPLEMENTED and name not in noted:
            noted.append(name)

    def unimplemented(self, name: str) -> int:
        """Note it, and the status that the guest gets."""
        self.note_unimplemented(name)
        return UNIMPLEMENTED

    def died(self, vm: Vm, panic: GuestPanic) -> None:
        """A VM is dead: its timers stop and its contexts are told nothing any more."""
        self.panics.append(panic)
        del self.panics[:-KEPT_LINES]
        self.happenings.of("panics").append(panic)
        vm.deferred.clear()
        for context in list(vm.contexts.values()):
            if context.root is context and context.tick is not None:
                context.tick.cancel()
        for number, root in list(self.waiting.items()):
            if root.vm is vm:
                self.forget_call(number)

    # -- things to do ----------------------------------------------------------------------

    def post(self, work: Callable[[], None]) -> None:
        """Do `work` when no guest runs: the event loop's next turn."""
        self._posts.append(work)

    def post_first(self, work: Callable[[], None]) -> None:
        """Do `work` before all that waits."""
        self._posts.appendleft(work)

    def run_posts(self) -> None:
        """Do all that was posted, and what it posts in turn."""
        while self._posts:
            if self.spent():
                self.diagnose(f"{len(self._posts):,} events wait and are not done: this call of "
                              f"the sandbox had {MOST_EVENTS:,}, or took {MOST_SECONDS:g} seconds")
                return
            self._posts.popleft()()

    def spent(self) -> bool:
        """Count one event more; whether it is one too many for this call of the sandbox."""
        left = self.left = self.left - 1
        if left & 7:
            return left < 0
        now = time.perf_counter()
        if not self.until:
            self.until = now + MOST_SECONDS
        elif now > self.until:
            self.left = -1
        return self.left < 0

    def advance(self, until: int) -> None:
        """Move the clock to `until`, doing what is due on the way."""
        self.run_posts()
        while not self.spent():
            if not self.clock.step(until):
                self.clock.now = max(self.clock.now, until)
                return
            self.run_posts()
            if self.held:
                self._answer_held()
        self.diagnose(f"{MOST_EVENTS:,} events in one advance(), or {MOST_SECONDS:g} seconds of "
                      "them: the clock stands before the moment that was asked for, by "
                      f"{(until - self.clock.now) / 1e9:g} seconds")

    def _answer_held(self) -> None:
        """Upstream answers requests that a plugin held back and has let go."""
        for stream in self.held:
            if stream.due:
                stream.respond()
                self.run_posts()
        self.held = [stream for stream in self.held if not stream.over]

    def set_tick(self, root: Context, milliseconds: int) -> int:
        """(Re)start a plugin's timer; 0 stops it."""
        if root.tick is not None:
            root.tick.cancel()
            root.tick = None
        root.tick_period = milliseconds
        if milliseconds:
            self._arm(root)
        return 0

    def _arm(self, root: Context) -> None:
        def fire() -> None:
            root.tick = None
            if root.vm.failed is None and root.tick_period:
                root.vm.call("proxy_on_tick", root, root.id)
                # The callback may have chosen another period, and so armed it already.
                if root.tick is None and root.tick_period and root.vm.failed is None:
                    self._arm(root)

        root.tick = self.clock.after(root.tick_period * _MILLISECOND, fire)

    def post_queue_ready(self, queue: Queue) -> bool:
        """Tell the queue's owner of one item more; False when too much waits already."""
        if len(self._posts) >= MOST_POSTS:
            return False
        owner: Context = queue.owner

        def tell() -> None:
            owner.vm.call("proxy_on_queue_ready", owner, owner.id, queue.number)

        self.post(tell)
        return True

    def delete_root(self, root: Context) -> None:
        """A root that waited for `proxy_done` goes."""
        root.vm.call("proxy_on_delete", root, root.id)
        root.vm.contexts.pop(root.id, None)

    # -- callouts --------------------------------------------------------------------------

    def begin_call(self, context: Context, cluster: str, headers: HeaderMap, body: bytes,
                   trailers: list[Pair], timeout: int, *, kind: int = 0) -> int | None:
        """Send a call; its answer comes to the root later. The call's id.

        `kind` is 0 for HTTP, or grpc.CALL.

        None when too many are under way, or carry too much.
        """
        size = len(body) + headers.size()
        if (len(self.waiting) >= MOST_CALLS or len(self._posts) >= MOST_POSTS
                or size + sum(self._call_bytes.values()) > MOST_CALL_BYTES):
            self.diagnose(f"proxy_http_call: {len(self.waiting):,} calls are under way, and this "
                          "one is too much: Envoy, too, has circuit breakers")
            return None
        # Envoy keeps the kind of call in the two low bits, and counts each kind by itself.
        self._calls[kind] += 4
        number, root = self._calls[kind] | kind, context.root
        made = Callout(cluster, Headers(headers.pairs), body, Headers(trailers) if trailers
                       else None, timeout / 1000, context.plugin.name)
        self.waiting[number] = root
        if size > _LONG_LINE:
            self._call_bytes[number] = size
        stream = context.stream
        noted = (stream.happenings if stream is not None else self.happenings).of("callouts")
        if len(noted) < MOST_CALLS and (size <= _LONG_LINE or size + sum(
                len(one.body) for one in noted) <= MOST_CALL_BYTES):
            noted.append(made)
        else:
            self.diagnose("so many callouts in one exchange that it does not keep them all")
        self.post(lambda: self._ask(number, made))
        return number

    def _ask(self, number: int, made: Callout) -> None:
        answer = self.callouts.get(made.cluster)
        if callable(answer):
            try:
                answer = answer(made)
            except Exception as error:
                self.forget_call(number)
                raise HostCallFailed(
                    f"the function for cluster {made.cluster!r} raised "
                    f"{type(error).__name__}: {error}",
                    cause="it answers the plugin's callout in place of a service",
                    fix="let it return a Reply, or None for a call that fails") from error
        if answer is not None and not isinstance(answer, Reply):
            self.forget_call(number)
            raise HostCallFailed(
                f"cluster {made.cluster!r} answered {type(answer).__name__}",
                cause="an answer is a Reply, or None for a call that fails",
                fix='callouts={"auth": Reply(status=200)}')
        limit: Timer | None = None
        if made.timeout:
            late = None if self.spec else _TOO_LATE
            limit = self.clock.after(int(made.timeout * 1e9), lambda: self._answer(number, late))
        if answer is None:
            self._answer(number, None if self.spec else _HUNG_UP)
        elif answer.delay <= 0:
            self._answer(number, answer)
        elif answer.delay != float("inf"):
            reply = answer
            self.clock.after(int(reply.delay * 1e9), lambda: self._answer(number, reply))
        if limit is not None and number not in self.waiting:
            limit.cancel()

    def forget_call(self, number: int) -> Context | None:
        """It is not under way any more; who made it, if it was."""
        self._call_bytes.pop(number, None)
        return self.waiting.pop(number, None)

    def _answer(self, number: int, answer: Reply | None) -> None:
        root = self.forget_call(number)
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
            if not self.spec and answer not in (_HUNG_UP, _TOO_LATE):
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

