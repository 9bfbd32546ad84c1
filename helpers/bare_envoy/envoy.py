"""One real Envoy between a scripted HTTP/2 client and scripted HTTP/2 servers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from h2.errors import ErrorCodes

from helpers.bare_envoy import config
from helpers.bare_envoy.errors import EnvoyEnded, NoAnswer
from helpers.bare_envoy.process import Process, kept
from helpers.bare_envoy.servers import Server
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
from helpers.bare_envoy.wire import Loop, Peer
from helpers.errors import BadInput

_SETTLE_SECONDS = 10.0
_REFUSED = ("config_fail", "update_rejected")
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
        # Also when nobody calls close(): at the latest when Python ends.
        weakref.finalize(self, self._closing.close)
        try:
            self._start(chains, dict(node_metadata or {}), log_level, concurrency)
        except BaseException:
            self.close()
            raise

    def _start(
        self, chains: Sequence[Chain], metadata: dict[str, Any], level: str, concurrency: int
    ) -> None:
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._loop = Loop()
        self._closing.callback(self._loop.close)
        self._clients: dict[str, Peer] = {}
        self._callouts: list[Callout] = []
        self._servers: dict[str, Server] = {}
        for name in (config.UPSTREAM, *self._defaults):
            server = self._servers[name] = Server(self._loop, name)
            self._closing.callback(server.close)
        self._upstream = self._servers[config.UPSTREAM]
        for name in self._defaults:
            self._servers[name].on_arrival = self._called_out
        document = config.document(
            chains,
            folder=self._folder,
            metadata=metadata,
            servers={name: server.port for name, server in self._servers.items()},
        )
        self._access = kept(self._folder / "access.log")
        self._closing.callback(os.close, self._access)
        self._access_rest = b""
        self._process = Process(
            self._folder, document, log_level=level, concurrency=concurrency
        )
        self._closing.callback(self._process.close)
        self._closing.callback(self._hang_up)
        self._process.wait_live()
        self._ports = self._process.ports()
        self._warm_up()
        # A worker takes a connection only after it has configured its plugins.
        for number in range(len(chains)):
            self._settle(self._client(config.listener(number)), _SETTLE_SECONDS)
        #: The lines of the start: the VM that is tried out first, then each thread's own.
        self.start_logs: tuple[Log, ...] = tuple(self._lines())
        #: Plugins that Envoy did not take, with its words.
        self.refused: tuple[Refused, ...] = self._find_refused(chains)

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
        client = self._client(self._known(chain))
        self._prepare(upstream, callouts)
        self._lines()
        until = time.monotonic() + deadline
        stream = client.begin()
        message = client.streams[stream]
        pseudo = ((b":method", raw(method)), (b":scheme", raw(scheme)),
                  (b":authority", raw(authority)), (b":path", raw(path)))
        client.send(stream, (*pseudo, *pairs(headers)), chunks(body), pairs(trailers) or None)

        def over() -> bool:
            return message.ended or message.reset is not None

        in_time = True
        if hang_up:
            self._settle(client, deadline)
        else:
            in_time = self._loop.until(over, until)
        if not message.ended or client.unsent(stream):
            client.reset(stream, ErrorCodes.CANCEL)
        self._process_check(over())
        self._settle(client, _SETTLE_SECONDS)
        client.forget(stream)
        seen = self._seen(message)
        if in_time:
            return seen
        failure = NoAnswer(
            f"no response within {deadline:g} s",
            cause="a plugin paused the request and nothing resumed it, or an answer is missing",
            fix="Envoy's last lines are below",
            detail=self._process.log.last(),
        )
        failure.seen = seen
        raise failure

    def wait(self, seconds: float) -> tuple[Log, ...]:
        """Let real time pass, with the scripted servers at work; the plugins' lines meanwhile.

        Raises:
            EnvoyEnded: Envoy ended.
        """
        self._prepare(None, None)
        self._lines()
        self._loop.until(lambda: False, time.monotonic() + seconds)
        self._process.check("while it was waited for")
        return tuple(line for line in self._lines() if line.by_plugin and not line.main)

    def metrics(self, prefix: str = "") -> dict[str, int]:
        """The plugins' counters and gauges whose name begins with `prefix`.

        They are the sum over all VMs of this Envoy, those of the start included.
        """
        found = self.stats(rf"^wasmcustom\.{re.escape(prefix)}")
        return {name.removeprefix("wasmcustom."): value for name, value in found.items()}

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose name matches the regular expression."""
        from urllib.parse import quote

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
        if name not in self._ports:
            raise BadInput(f"there is no chain {chain}",
                           cause=f"this Envoy has {len(self._ports) - 1}", fix="count from 0")
        return name

    def _client(self, listener: str) -> Peer:
        known = self._clients.get(listener)
        if known is not None and known.open:
            return known
        try:
            sock = socket.create_connection(("127.0.0.1", self._ports[listener]), timeout=10)
        except OSError as error:
            self._process.check("before a request")
            raise EnvoyEnded(
                f"Envoy takes no connection on {listener}",
                cause=str(error),
                fix="its last words are below",
                detail=self._process.log.last(),
            ) from error
        peer = self._clients[listener] = Peer(self._loop, sock, client=True)
        return peer

    def _prepare(
        self, upstream: AnswerLike, callouts: Mapping[str, AnswerLike] | None
    ) -> None:
        for server in self._servers.values():
            server.clear()
        self._callouts.clear()
        self._upstream.answer = upstream
        answers = {**self._defaults, **(callouts or {})}
        if unknown := set(answers) - set(self._defaults):
            raise BadInput(
                f"there is no callout cluster {', '.join(sorted(unknown))}",
                cause=f"this Envoy has {', '.join(self._defaults) or 'none'}",
                fix="name it in callout_clusters",
            )
        for name, answer in answers.items():
            self._servers[name].answer = answer

    def _called_out(self, cluster: str, message: Message) -> None:
        self._callouts.append(Callout(cluster, message))

    def _settle(self, client: Peer, seconds: float) -> None:
        """Wait until Envoy has handled all that was sent to it, answers to callouts included."""
        until = time.monotonic() + seconds
        while True:
            asked = [client.ping()]
            for server in self._servers.values():
                if server is not self._upstream:
                    asked += [peer.ping() for peer in server.touched if peer.open]
                server.touched.clear()
            if not self._loop.until(lambda: all(back() for back in asked), until):  # noqa: B023
                self._process.check("during a request")
                raise NoAnswer(
                    f"Envoy's worker did not answer a PING within {seconds:.0f} s",
                    cause="a plugin does not return, or the machine is very busy",
                    fix="its last lines are below",
                    detail=self._process.log.last(),
                )
            while self._loop.turn(0):  # what Envoy wrote to the servers before it answered
                pass
            if len(asked) == 1 and not any(
                server.touched for server in self._servers.values() if server is not self._upstream
            ):
                return

    def _process_check(self, over: bool) -> None:
        if not over or not self._process.alive():
            self._process.check("during a request")

    def _seen(self, message: Message) -> Seen:
        lines = self._lines()
        _, flags, details = self._access_line()
        status = message.get(":status")
        return Seen(
            status=int(status) if status is not None and status.isdigit() else None,
            client=message,
            upstream=self._upstream.seen[0] if self._upstream.seen else None,
            logs=tuple(line for line in lines if line.by_plugin and not line.main),
            envoy=tuple(line for line in lines if not line.by_plugin and line.level in _LOUD),
            flags=flags,
            details=details,
            callouts=tuple(self._callouts),
        )

    def _access_line(self) -> tuple[str, str, str]:
        until = time.monotonic() + _SETTLE_SECONDS
        while b"\n" not in self._access_rest:
            if block := os.read(self._access, 1 << 16):
                self._access_rest += block
                continue
            if time.monotonic() > until:
                self._process.check("during a request")
                raise NoAnswer(
                    f"Envoy wrote no access log line within {_SETTLE_SECONDS:.0f} s",
                    cause="the stream has not ended for Envoy",
                    fix="its last lines are below",
                    detail=self._process.log.last(),
                )
            time.sleep(0.0003)
        line, _, self._access_rest = self._access_rest.partition(b"\n")
        code, flags, details = line.decode("utf-8", "surrogateescape").split("\t")
        return code, flags.strip("-"), "" if details == "-" else details

    def _lines(self) -> list[Log]:
        return self._process.log.read()

    def _warm_up(self) -> None:
        """Open Envoy's connections to all servers, so that no request waits for one."""
        client = self._client(config.WARM)
        for number, server in enumerate(self._servers.values()):
            server.answer = Reply()
            stream = client.begin()
            message = client.streams[stream]
            client.send(stream, (
                (b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"warm"),
                (b":path", f"/{number}".encode()),
            ), (), None)
            if not self._loop.until(lambda: message.ended, time.monotonic() + 20):  # noqa: B023
                self._process.check("while it started")
                raise NoAnswer("Envoy does not reach the scripted servers",
                               cause="the machine is very busy", detail=self._process.log.last())
            client.forget(stream)
        self._settle(client, _SETTLE_SECONDS)

    def _find_refused(self, chains: Sequence[Chain]) -> tuple[Refused, ...]:
        stats = self.stats(r"^extension_config_discovery\.")
        lines = self.start_logs
        found: list[Refused] = []
        for number, chain in enumerate(chains):
            for position, plugin in enumerate(chain.plugins):
                name = config.resource(number, position)
                if not any(value for key, value in stats.items()
                           if f".{name}." in key and key.endswith(_REFUSED)):
                    continue
                said = [str(line) for line in lines
                        if line.level in _LOUD and (name in line.text or line.by_plugin
                                                    or line.logger == "wasm")]
                found.append(Refused(number, position, plugin.name, "\n".join(said)))
        return tuple(found)

    def _hang_up(self) -> None:
        for client in self._clients.values():
            client.close()
