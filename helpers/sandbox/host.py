"""What all VMs of a sandbox share: clock, stores, log, callouts, and the queue of things to do."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from helpers.sandbox.clock import Clock
from helpers.sandbox.context import Context
from helpers.sandbox.errors import GuestPanic, HostCallFailed
from helpers.sandbox.headers import as_text
from helpers.sandbox.outgoing import MOST_POSTS, Outgoing
from helpers.sandbox.records import Callouts, Happenings
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
#: Requests that plugins hold back.
MOST_HELD = 10_000
_MILLISECOND = 1_000_000
Line = tuple[int, bytes, str, str]


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
        self.outgoing = Outgoing(self)
        self.notes: deque[str] = deque(maxlen=MOST_NOTES)
        #: Requests that a plugin held back when `request` came back.
        self.held: list[Stream] = []
        #: Events that may still happen in this call of the sandbox, and until when (a reading
        #: of perf_counter; 0 until it matters).
        self.left = MOST_EVENTS
        self.until = 0.0
        self._posts: deque[Callable[[], None]] = deque()
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
        self.outgoing.drop(vm)

    # -- things to do ----------------------------------------------------------------------

    def post(self, work: Callable[[], None]) -> None:
        """Do `work` when no guest runs: the event loop's next turn."""
        self._posts.append(work)

    @property
    def posts_waiting(self) -> int:
        """How many events wait."""
        return len(self._posts)

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

    def hold(self, stream: Stream) -> None:
        """A plugin holds the request back, and may let it go at a tick."""
        if len(self.held) >= MOST_HELD:
            self.held = [one for one in self.held if not one.over]
        if len(self.held) >= MOST_HELD:
            # Envoy ends a stream on which nothing happens for five minutes.
            self.diagnose(f"{MOST_HELD:,} requests are held back: the oldest is ended")
            self.held.pop(0).disconnect()
            self.run_posts()
        self.held.append(stream)

    def _answer_held(self) -> None:
        """Upstream answers requests that a plugin held back and has let go."""
        for stream in self.held:
            if stream.due:
                try:
                    stream.respond()
                except HostCallFailed:
                    stream.disconnect()  # or each advance() would ask again
                    raise
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
