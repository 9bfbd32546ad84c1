"""One real Envoy between a scripted HTTP/2 client and scripted HTTP/2 servers."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from h2.errors import ErrorCodes

from helpers.bare_envoy import config, refused
from helpers.bare_envoy.access import AccessLog
from helpers.bare_envoy.errors import NoAnswer
from helpers.bare_envoy.process import Process
from helpers.bare_envoy.types import (
    AnswerLike,
    BodyLike,
    Callout,
    Chain,
    HeadersLike,
    Log,
    Message,
    Refused,
    Reply,
    Seen,
    chunks,
    pairs,
    raw,
)
from helpers.bare_envoy.wires import Wires
from helpers.errors import BadInput

_SETTLE_SECONDS = 10.0
_REFUSED = ("config_fail", "update_rejected")
_PAUSED = "a plugin paused the request and nothing resumed it, or an answer is missing"
_LOUD = ("warning", "error", "critical")


class BareEnvoy:
    """A running Envoy with one listener for each chain; a context manager.

    Plugins come by ECDS from a file each, as in a sidecar: Envoy goes on when it refuses one,
    names it in its log, and answers 500 on that chain. `refused` lists them after the start.

    One connection a chain is kept. Everything runs in the caller's thread, so that the scripted
    servers answer only inside of `request` and `wait`. Not for several threads; and the thread
    that makes it must outlive it, because on Linux Envoy ends with the thread that started it.

    Args:
        chains: the plugins of each listener.
        node_metadata: what plugins read as `node.metadata`.
        callout_clusters: the names of the clusters that plugins may call; a mapping also says
            what each answers unless a request says otherwise (without: the stream is reset).
        log_level: of Envoy's logger "wasm", which is also what plugins see as the log level.
        concurrency: workers. With more than one, the kernel chooses the worker of a chain.

    Raises:
        EnvoyEnded: Envoy does not start; `detail` has its words.
    """

    def __init__(
        self,
        chains: Sequence[Chain],
        *,
        node_metadata: Mapping[str, Any] | None = None,
        callout_clusters: Sequence[str] | Mapping[str, AnswerLike] = (),
        log_level: str = "trace",
        concurrency: int = 1,
    ) -> None:
        given = callout_clusters
        self._defaults: dict[str, AnswerLike] = (
            dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)
        )
        if config.UPSTREAM in self._defaults:
            raise BadInput(f"a callout cluster may not be called {config.UPSTREAM!r}",
                           cause="that is the cluster of the route", fix="give it another name")
        self._folder = Path(tempfile.mkdtemp(prefix="bare-envoy-"))
        self._closing = contextlib.ExitStack()
        weakref.finalize(self, self._closing.close)  # at the latest when Python ends
        try:
            self._start(chains, dict(node_metadata or {}), log_level, concurrency)
        except BaseException:
            self.close()
            raise

    def _start(
        self, chains: Sequence[Chain], metadata: dict[str, Any], level: str, concurrency: int
    ) -> None:
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._callouts: list[Callout] = []
        self._wires = Wires(self._defaults)
        self._closing.callback(self._wires.close)
        for name in self._defaults:
            self._wires.servers[name].on_arrival = self._called_out
        document = config.document(
            chains,
            folder=self._folder,
            metadata=metadata,
            servers={name: server.port for name, server in self._wires.servers.items()},
        )
        self._access = AccessLog(self._folder / "access.log")
        self._closing.callback(self._access.close)
        self._process = Process(self._folder, document, log_level=level, concurrency=concurrency)
        self._closing.callback(self._process.close)
        self._process.wait_live()
        self._wires.ports = self._process.ports()
        self._wires.warm_up(self._process)
        # A worker takes a connection only after it has configured its plugins.
        for number in range(len(chains)):
            client = self._wires.client(config.listener(number), self._process)
            self._wires.settle(client, self._process, _SETTLE_SECONDS)
        #: The lines of the start: the VM that is tried out first, then each thread's own.
        self.start_logs: tuple[Log, ...] = tuple(self._process.log.read())
        #: Plugins that Envoy did not take, with its words.
        self.refused: tuple[Refused, ...] = refused.find(
            chains, self.stats(refused.STATS), self.start_logs
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End Envoy by its pid, close all sockets and remove the temporary folder."""
        self._closing.close()

    @property
    def pid(self) -> int:
        """Envoy's process id."""
        return self._process.pid

    def request(
        self,
        *,
        chain: int = 0,
        method: str | bytes = "GET",
        path: str | bytes = "/",
        authority: str | bytes = "sandbox",
        scheme: str | bytes = "http",
        headers: HeadersLike = None,
        body: BodyLike = None,
        trailers: HeadersLike = None,
        upstream: AnswerLike = Reply(),  # noqa: B008 - frozen
        callouts: Mapping[str, AnswerLike] | None = None,
        hang_up: bool = False,
        deadline: float = 10.0,
    ) -> Seen:
        """Send one request and see what both sides and the log got of it.

        Args:
            headers: sent as they are, after the four pseudo-headers.
            body: each entry of a list is one DATA frame, up to 16 KiB; longer ones are cut.
            upstream: what the upstream answers; a function gets the `Message`.
            callouts: what callout clusters answer to this request.
            hang_up: reset the stream once Envoy has handled all that was sent.
            deadline: seconds until the response must be complete.

        Raises:
            NoAnswer: nothing came in time; the stream was cancelled, and the error's `seen` says
                what had happened until then.
            EnvoyEnded: Envoy ended.
            BadInput: no such chain or cluster.
        """
        client = self._wires.client(self._known(chain), self._process)
        self._prepare(upstream, callouts)
        until = time.monotonic() + deadline
        stream = client.begin()
        message = client.streams[stream]
        # In the order in which Envoy's HTTP/1 codec, and so a plugin in a mesh, has them.
        pseudo = ((b":authority", raw(authority)), (b":path", raw(path)),
                  (b":method", raw(method)), (b":scheme", raw(scheme)))
        client.send(stream, (*pseudo, *pairs(headers)), chunks(body), pairs(trailers) or None)
        in_time = True
        if hang_up:
            self._wires.settle(client, self._process, deadline, upstream=True)
        else:
            in_time = self._wires.loop.until(lambda: message.over, until)
        if not message.ended or client.unsent(stream):
            client.reset(stream, ErrorCodes.CANCEL)
        if not client.open:
            self._process.check("during a request")
        self._wires.settle(client, self._process, _SETTLE_SECONDS)
        client.forget(stream)
        seen = self._seen(message)
        if not in_time:
            raise self._late(f"no response within {deadline:g} s", _PAUSED, seen)
        return seen

    def wait(self, seconds: float) -> tuple[Log, ...]:
        """Let real time pass, with the scripted servers at work; the plugins' lines meanwhile.

        Raises:
            EnvoyEnded: Envoy ended.
        """
        self._prepare(None, None)
        self._wires.loop.until(lambda: False, time.monotonic() + seconds)
        self._process.check("while it was waited for")
        return tuple(filter(_plugins_own, self._process.log.read()))

    def metrics(self, prefix: str = "") -> dict[str, int]:
        """The plugins' counters and gauges whose name begins with `prefix`.

        They are the sum over all VMs of this Envoy, those of the start included.
        """
        found = self.stats(rf"^wasmcustom\.{re.escape(prefix)}")
        return {name.removeprefix("wasmcustom."): value for name, value in found.items()}

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose name matches the regular expression."""
        found: dict[str, int] = {}
        for line in self._process.get(f"/stats?filter={quote(pattern)}").splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found

    def log_lines(self) -> list[Log]:
        """All lines since the start, Envoy's own trace of calls included; the last 50,000."""
        return self._process.log.lines()

    # -- inside -----------------------------------------------------------------------------

    def _known(self, chain: int) -> str:
        name = config.listener(chain)
        if name not in self._wires.ports:
            raise BadInput(f"there is no chain {chain}",
                           cause=f"this Envoy has {len(self._wires.ports) - 1}",
                           fix="count from 0")
        return name

    def _prepare(
        self, upstream: AnswerLike, callouts: Mapping[str, AnswerLike] | None
    ) -> None:
        answers = {**self._defaults, **(callouts or {})}
        if unknown := set(answers) - set(self._defaults):
            raise BadInput(f"there is no callout cluster {', '.join(sorted(unknown))}",
                           cause=f"this Envoy has {', '.join(self._defaults) or 'none'}",
                           fix="name it in callout_clusters")
        while self._wires.loop.turn(0):  # what Envoy did since the last time
            pass
        for name, server in self._wires.servers.items():
            server.clear()
            server.answer = answers.get(name, upstream)
        self._callouts.clear()
        #: The plugins' lines between the last request or wait and this one: of ticks.
        self.idle_logs = tuple(filter(_plugins_own, self._process.log.read()))

    def _called_out(self, cluster: str, message: Message) -> None:
        self._callouts.append(Callout(cluster, message))

    def _seen(self, message: Message) -> Seen:
        lines = self._process.log.read()
        flags, details = self._access.next(
            time.monotonic() + _SETTLE_SECONDS,
            lambda: self._late(f"Envoy wrote no access log line within {_SETTLE_SECONDS:g} s",
                               "the stream has not ended for Envoy"),
        )
        status = message.get(":status")
        arrived = self._wires.upstream.seen
        return Seen(
            status=int(status) if status is not None and status.isdigit() else None,
            client=message,
            upstream=arrived[0] if arrived else None,
            logs=tuple(filter(_plugins_own, lines)),
            envoy=tuple(line for line in lines if not line.by_plugin and line.level in _LOUD),
            flags=flags,
            details=details,
            callouts=tuple(self._callouts),
        )

    def _late(self, what: str, cause: str, seen: Seen | None = None) -> NoAnswer:
        self._process.check("during a request")
        error = NoAnswer(what, cause=cause, fix="Envoy's last lines are below",
                         detail=self._process.log.last())
        error.seen = seen
        return error


def _plugins_own(line: Log) -> bool:
    """Whether a plugin wrote it where requests are: each thread has a VM of its own."""
    return line.by_plugin and not line.main
