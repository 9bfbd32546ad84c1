"""The connections on both sides of Envoy, and how to know that it has handled all of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping

from helpers.bare_envoy import config
from helpers.bare_envoy.errors import EnvoyEnded, NoAnswer
from helpers.bare_envoy.process import Process
from helpers.bare_envoy.servers import Server
from helpers.bare_envoy.types import Pairs, Reply
from helpers.bare_envoy.wire import Loop, Peer

_WARM: Pairs = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"warm"))


class Wires:
    """The scripted servers, and a client connection for each listener.

    Attributes:
        servers: by cluster, `config.UPSTREAM` first.
        ports: of the listeners, by name; set once Envoy has bound them.
    """

    def __init__(self, clusters: Iterable[str]) -> None:
        self.loop = Loop()
        self.servers: dict[str, Server] = {}
        self.ports: Mapping[str, int] = {}
        self._clients: dict[str, Peer] = {}
        for name in (config.UPSTREAM, *clusters):
            self.servers[name] = Server(self.loop, name)

    @property
    def upstream(self) -> Server:
        """The server of the route."""
        return self.servers[config.UPSTREAM]

    def client(self, listener: str, process: Process) -> Peer:
        """The connection to a listener; a new one when Envoy has closed the last.

        Raises:
            EnvoyEnded: it takes none.
        """
        known = self._clients.get(listener)
        if known is not None and known.open:
            return known
        try:
            sock = socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=10)
        except OSError as error:
            process.check("before a request")
            raise EnvoyEnded(
                f"Envoy takes no connection on {listener}",
                cause=str(error),
                fix="its last words are below",
                detail=process.log.last(),
            ) from error
        peer = self._clients[listener] = Peer(self.loop, sock, client=True)
        return peer

    def settle(self, client: Peer, process: Process, seconds: float, *,
               upstream: bool = False) -> None:
        """Wait until Envoy has handled all that was sent to it, answers to callouts included.

        A worker answers a PING after what it read before; a plugin's log, done and delete for
        a stream have run by then. An answer to a callout can start new work, hence the rounds.

        Args:
            upstream: also wait for what upstream's answer leads to, should it come.

        Raises:
            NoAnswer: not within `seconds`.
            EnvoyEnded: Envoy ended.
        """
        until = time.monotonic() + seconds
        callouts = [server for server in self.servers.values()
                    if upstream or server is not self.upstream]
        while True:
            asked = [client.ping()]
            for server in callouts:
                asked += [peer.ping() for peer in server.touched if peer.open]
                server.touched.clear()
            if not self.loop.until(lambda: all(back() for back in asked), until):  # noqa: B023
                process.check("during a request")
                raise NoAnswer(
                    f"Envoy's worker did not answer a PING within {seconds:g} s",
                    cause="a plugin does not return, or the machine is very busy",
                    fix="its last lines are below",
                    detail=process.log.last(),
                )
            while self.loop.turn(0):  # what Envoy wrote to the servers before it answered
                pass
            if len(asked) == 1 and not any(server.touched for server in callouts):
                return

    def warm_up(self, process: Process, seconds: float = 20.0) -> None:
        """Let Envoy open its connections to all servers, so that no request waits for one."""
        client = self.client(config.WARM, process)
        for number, server in enumerate(self.servers.values()):
            server.answer = Reply()
            stream = client.begin()
            message = client.streams[stream]
            client.send(stream, (*_WARM, (b":path", f"/{number}".encode())), (), None)
            if not self.loop.until(lambda: message.ended, time.monotonic() + seconds):  # noqa: B023
                process.check("while it started")
                raise NoAnswer("Envoy does not reach the scripted servers",
                               cause="the machine is very busy", detail=process.log.last())
            client.forget(stream)
        self.settle(client, process, seconds)

    def close(self) -> None:
        """Close every socket."""
        for client in self._clients.values():
            client.close()
        for server in self.servers.values():
            server.close()
        self.loop.close()
