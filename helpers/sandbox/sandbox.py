"""The sandbox: load plugins, send requests, move the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from helpers.errors import BadInput
from helpers.sandbox import engine
from helpers.sandbox.chain import Handle, Vms, lines
from helpers.sandbox.clock import Clock
from helpers.sandbox.errors import GuestPanic, HostCallFailed, SandboxClosed, SandboxMisuse
from helpers.sandbox.exchange import Exchange
from helpers.sandbox.headers import Given, as_bytes, given_pairs, request_map
from helpers.sandbox.host import MOST_EVENTS, MOST_SECONDS, Host
from helpers.sandbox.interrupts import Interrupts
from helpers.sandbox.pairs import Pair
from helpers.sandbox.piecewise import Steps
from helpers.sandbox.plugin import Config, Plugin
from helpers.sandbox.records import (
    LEVELS,
    Callouts,
    Happenings,
    LogLine,
    Reply,
    Upstream,
    chunks,
)
from helpers.sandbox.stream import Stream
from helpers.sandbox.trace import Recorder

PROTOCOLS = ("HTTP/1.1", "HTTP/2")
_OK = Reply()
_MEMORY = 256 * 1024 * 1024
_PAGE, _MOST_MEMORY = 64 * 1024, 4 * 1024 * 1024 * 1024
_T = TypeVar("_T")


class Sandbox:
    """A proxy-wasm host for HTTP plugins in this process, that does what Envoy 1.40 does.

    Args:
        module: a .wasm file, its bytes, or a Plugin; or a list of Plugins, a chain in the order
            in which a request meets them.
        plugin_config, vm_config, name, root_id, vm_id, env, fail_policy: of a single module;
            see Plugin.
        node_metadata: what `node.metadata.NAME` answers.
        properties: further properties, by dotted path ("source.address") or nested.
        mode: "envoy", or "spec" where the specification differs.
        log_level: lines below it are dropped, as Envoy's wasm logger drops them.
        callouts: answers to `proxy_http_call` by cluster: a Reply, a function that takes a
            Callout and gives one, or None for a service that hangs up: Envoy answers 503 then.
        foreign: foreign functions by name; each takes and gives bytes.
        now: the clock's first moment, in seconds since the epoch; it stands until `advance`.
        deadline: seconds that one callback may run.
        memory_limit: bytes that a guest's memory may reach.
        trace: record each call between host and VM; without it the sandbox is faster.
        cache: keep compiled modules on disk for the next process.

    Raises:
        BadInput: an argument is of another kind.
        BadModule: a module cannot be read, is damaged, or has no proxy-wasm marker.
        LinkFailed: a module needs what no host gives, or has no allocator.
        StartFailed, ConfigureFailed: a plugin does not want to run, or broke at the start.
    """

    def __init__(
        self, module: str | Path | bytes | Plugin | Sequence[Plugin], *,
        plugin_config: Config = None, vm_config: Config = None, name: str = "sandbox",
        root_id: str = "", vm_id: str = "", env: Mapping[str, str] | None = None,
        fail_policy: str = "closed", node_metadata: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None, mode: str = "envoy",
        log_level: str = "trace", callouts: Callouts | None = None,
        foreign: Mapping[str, Callable[[bytes], bytes | None]] | None = None,
        now: float | None = None, deadline: float = 1.0, memory_limit: int = _MEMORY,
        trace: bool = True, cache: bool = True,
    ) -> None:
        level = "warn" if log_level == "warning" else log_level
        _one_of("mode", mode, ("envoy", "spec"))
        _one_of("log_level", level, (*LEVELS, "off"))
        if not 0 < deadline <= 3600:
            raise BadInput(f"deadline={deadline!r} is no time",
                           cause="it is seconds, above 0 and at most 3600", fix="deadline=1.0")
        if not isinstance(memory_limit, int) or not _PAGE <= memory_limit <= _MOST_MEMORY:
            raise BadInput(f"memory_limit={memory_limit!r} is no size",
                           cause=f"it is bytes, from {_PAGE:,} (a page) to {_MOST_MEMORY:,}",
                           fix=f"memory_limit={_MEMORY:_}")
        begin = time.time() if now is None else now
        if not 0 <= begin < 2**33:
            raise BadInput(f"now={now!r} is no time", cause="it is seconds since the epoch, as "
                           "time.time() gives them", fix="now=0")
        if isinstance(module, (str, Path, bytes)):
            chain = [Plugin(module, plugin_config, name, root_id, vm_id, vm_config, env or {},
                            fail_policy)]
        else:
            chain = [module] if isinstance(module, Plugin) else list(module)
        if not chain or not all(isinstance(one, Plugin) for one in chain):
            raise BadInput("the chain holds no Plugin, or something else",
                           cause="a chain is a list of Plugin(module, …)",
                           fix='Sandbox([Plugin("one.wasm"), Plugin("two.wasm")])')
        self._lock = threading.Lock()
        self._owner = 0
        self._closed = False
        self.host = Host(
            clock=Clock(int(begin * 1e9)), deadline=deadline,
            memory_limit=memory_limit, log_level=(*LEVELS, "off").index(level),
            callouts=callouts or {}, foreign=foreign or {}, given=properties or {},
            node={"id": "sandbox", "cluster": "sandbox", "metadata": dict(node_metadata or {})},
            spec=mode == "spec")
        if trace:
            self.host.recorder = Recorder(self.host)
        self._vms = Vms(self.host)
        self._interrupts = Interrupts(self._vms, public=engine.chosen()[0] == "public")
        self._request_id = 0
        try:
            self._alone(lambda: self._load(chain, cache))
        except BaseException as error:
            self._vms.close()
            self._closed = True
            if hasattr(error, "what"):
                error.logs = self.logs  # type: ignore[attr-defined]
            raise

    def _load(self, chain: Sequence[Plugin], cache: bool) -> None:
        handles = [Handle(one, self._vms, cache=cache) for one in chain]
        self._handles = [each for each, one in zip(handles, chain, strict=True) if not one.service]
        self.host.run_posts()

    def request(
        self, method: str = "GET", path: str = "/", headers: Given = None,
        body: bytes | str | Sequence[bytes | str] | None = None, trailers: Given = None,
        upstream: Upstream = _OK, *, authority: str = "sandbox", scheme: str = "http",
        protocol: str = "HTTP/1.1", add_headers: bool = True,
    ) -> Exchange:
        """Send one request through the chain and let it run to its end, or to a pause.

        Args:
            body: bytes or text, or a list of them: a chunk each.
            upstream: what answers when the request arrives: a Reply, or a function that takes
                the Message and gives one.
            protocol: with "HTTP/1.1" the end of a body comes by itself behind it, with "HTTP/2"
                with its last chunk, as Envoy's codecs tell it.
            add_headers: x-forwarded-proto and x-request-id, as Envoy's connection manager adds
                them when they are missing.

        Raises:
            SandboxClosed, SandboxMisuse, BadInput; HostCallFailed: a function that you gave
            raised.
        """
        self._refuse_entry()
        with self._lock:
            try:
                self._begin()
                stream = self._stream(method, path, headers, authority, scheme, protocol,
                                      upstream, add_headers)
                if body or trailers:
                    self._send(stream, chunks(body), given_pairs(trailers, "trailers"))
                else:
                    stream.send_headers(True)
                self._drive(stream)
                if not stream.over:
                    self.host.hold(stream)
            except HostCallFailed:
                stream.disconnect()  # nobody will ever go on with it
                self.host.run_posts()
                raise
            finally:
                self._owner = 0
                self._interrupts.end()
        if self._interrupts.error is not None:
            self._interrupts.raise_error()
        return Exchange(stream)

    def start(
        self, method: str = "GET", path: str = "/", headers: Given = None, *,
        upstream: Upstream = _OK, authority: str = "sandbox", scheme: str = "http",
        protocol: str = "HTTP/2", add_headers: bool = True,
    ) -> Steps:
        """A request that is sent piece by piece; see Steps. Nothing is sent yet."""
        return self._alone(lambda: Steps(self._alone, self._stream(
            method, path, headers, authority, scheme, protocol, upstream, add_headers)))

    def advance(self, seconds: float) -> tuple[LogLine, ...]:
        """Move the clock; ticks, callouts and timeouts that are due happen. What was logged.

        Raises:
            BadInput: the clock does not go backwards.
        """
        if not 0 <= seconds < 1e9:
            raise BadInput(f"seconds={seconds!r}", cause="the clock goes forwards only",
                           fix="sandbox.advance(0.1)")
        happened = Happenings()

        def work() -> None:
            self.host.happenings = happened
            self.host.advance(self.host.clock.now + int(seconds * 1e9))

        self._alone(work)
        return lines(happened.logs)

    def queue(self, vm_id: str, name: str) -> tuple[bytes, ...]:
        """What waits in a shared queue; empty when there is no such queue."""
        found = self.host.queues.resolve(vm_id, as_bytes(name))
        return tuple(found.items) if found else ()

    def shared_data(self, vm_id: str = "") -> dict[bytes, bytes]:
        """What VMs of this vm_id share."""
        return self.host.shared_data.of(vm_id)

    @property
    def logs(self) -> tuple[LogLine, ...]:
        """The last 10,000 lines since the sandbox was made, those of the start among them."""
        return lines(list(self.host.lines))

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """The last 1,000 notes since the sandbox was made; see Exchange.diagnostics."""
        return tuple(self.host.notes)

    @property
    def metrics(self) -> dict[str, int]:
        """Metrics by name; of a histogram how many values it has."""
        return self.host.metrics.values()

    @property
    def panics(self) -> tuple[GuestPanic, ...]:
        """VMs that died, and of what."""
        return tuple(self.host.panics)

    def close(self) -> None:
        """End the plugins and give their memory back. Closing twice is harmless."""
        if self._closed:
            return
        self._alone(self._end)

    def _end(self) -> None:
        self.host.happenings = Happenings()
        try:
            self._vms.close()
        finally:
            self._closed = True

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _refuse_entry(self) -> None:
        """A call out of a function for a callout, while the very sandbox waits for it."""
        if self._owner == threading.get_ident():
            raise SandboxMisuse(
                "the sandbox was called from inside one of its own callbacks",
                cause="a plugin is never entered twice; a function for a callout or an upstream "
                "runs while a request is under way",
                fix="give that function a Sandbox of its own")
    def _begin(self) -> None:
        """This thread has the sandbox."""
        if self._closed:
            raise SandboxClosed("the sandbox is closed", cause="close() was called, or its "
                                "`with` block ended", fix="make a new one: Sandbox(module)")
        self.host.left, self.host.until = MOST_EVENTS, 0.0
        self._owner = threading.get_ident()
        self._interrupts.begin()

    def _alone(self, work: Callable[[], _T]) -> _T:
        """Do it with the sandbox to oneself; a second thread waits.

        What `request` does, too. Nothing but plain statements stand where a Ctrl-C would leave
        the lock taken: `with` on a lock is safe, a context manager in Python is not.
        """
        self._refuse_entry()
        with self._lock:
            try:
                self._begin()
                made = work()
            finally:
                self._owner = 0
                self._interrupts.end()
        if self._interrupts.error is not None:
            self._interrupts.raise_error()
        return made

    def _send(self, stream: Stream, pieces: list[bytes], tail: list[Pair]) -> None:
        """The request with its body and trailers, as the codec of its protocol tells them."""
        stream.send_headers(not pieces and not tail)
        last = len(pieces) - 1 if not tail and stream.protocol != "HTTP/1.1" else -1
        for number, piece in enumerate(pieces):
            stream.send_data(piece, number == last)
        if tail:
            stream.send_trailers(tail)
        elif pieces and last < 0:
            stream.send_data(b"", True)

    def _stream(self, method: str, path: str, headers: Given, authority: str, scheme: str,
                protocol: str, upstream: Upstream, add_headers: bool) -> Stream:
        if protocol not in PROTOCOLS:
            _one_of("protocol", protocol, PROTOCOLS)
        pseudo, forwarded = _request_line(authority, path, method, scheme)
        added: Sequence[Pair] = ()
        if add_headers:
            self._request_id += 1
            added = (forwarded,
                     (b"x-request-id", b"00000000-0000-4000-8000-%012x" % self._request_id))
        made = request_map(pseudo, headers, added, http2=protocol != "HTTP/1.1")
        happenings = self.host.happenings = Happenings()
        if self.host.recorder is not None:
            self.host.recorder.begin()
        stream = Stream(self.host, self._handles, made, upstream, protocol, happenings)
        if not add_headers:
            stream.had_proto = made.get(b"x-forwarded-proto") is not None
        return stream

    def _drive(self, stream: Stream) -> None:
        """Let all happen that can: callouts first, then upstream's answer."""
        host = self.host
        while host.left > 0:
            host.run_posts()
            if stream.upstream.done and stream.due:
                stream.respond()
            elif stream.over and stream.finished is not None:
                return
            elif not stream.over and host.outgoing.waiting:
                # The stream waits for an answer that takes time on our clock.
                at = host.clock.next()
                if at is None:
                    return
                host.clock.step(at)
                if host.spent():
                    break
            elif not stream.over:
                return
        host.diagnose(f"{MOST_EVENTS:,} events in one request, or {MOST_SECONDS:g} seconds of "
                      "them, and no end: it stands as it is")


@lru_cache(maxsize=1024)
def _request_line(authority: str, path: str, method: str,
                  scheme: str) -> tuple[list[Pair], Pair]:
    """Pseudo-headers, and x-forwarded-proto. Tests and benches send the same line many times."""
    told = as_bytes(scheme)
    return [(b":authority", as_bytes(authority)), (b":path", as_bytes(path)),
            (b":method", as_bytes(method)), (b":scheme", told)], (b"x-forwarded-proto", told)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise BadInput(f"{name}={value!r} is unknown", cause=f"it is one of {', '.join(known)}",
                       fix=f'{name}="{known[0]}"')
