"""The address for load: its connections, their ends, and the copying program itself."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from helpers.errors import NotReady
from helpers.mesh.cluster import relay

Start = Callable[[], relay.Remote]


class Local:
    """The copying program as a process of this computer, in place of one in a container."""

    def __init__(self, port: int) -> None:
        self._near, far = socket.socketpair()
        self.process = subprocess.Popen(
            ["bash", "-c", relay.SCRIPT, "bash", "127.0.0.1", str(port)],
            stdin=far, stdout=far, stderr=subprocess.PIPE,
        )
        far.close()
        self._out = b""

    def fileno(self) -> int:
        return self._near.fileno()

    def buffered(self) -> bool:
        return False

    def pump(self, seconds: float) -> bool:
        try:
            data = self._near.recv(65536)
        except ConnectionError:
            data = b""
        self._out += data
        return bool(data)

    def stdout(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def stderr(self) -> bytes:
        return b""

    def write(self, data: bytes) -> None:
        self._near.sendall(data)

    def exit_code(self) -> int:
        return self.process.wait(timeout=5)

    def close(self) -> None:
        self._near.close()


@pytest.fixture
def started() -> Iterator[list[Local]]:
    every: list[Local] = []
    yield every
    for each in every:
        each.process.wait(timeout=5)  # a program that stays would fail the test here
        if each.process.stderr:
            each.process.stderr.close()


@pytest.fixture
def service() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


def relay_to(port: int, started: list[Local]) -> relay.Relay:
    def start() -> relay.Remote:
        started.append(Local(port))
        return started[-1]

    return relay.Relay(start)


def test_bytes_go_both_ways_and_the_clients_end_ends_the_program(
    service: socket.socket, started: list[Local]
) -> None:
    way = relay_to(service.getsockname()[1], started)
    with socket.create_connection(("127.0.0.1", way.port), timeout=5) as client:
        client.sendall(b"\x00\xffask")
        server, _ = service.accept()
        assert server.recv(100) == b"\x00\xffask"
        server.sendall(b"answer" * 50_000)
        got = b""
        while len(got) < 300_000:
            got += client.recv(65536)
    server.close()
    assert got == b"answer" * 50_000
    assert started[0].process.wait(timeout=5) is not None
    way.close()
    assert way.errors == []


def test_the_services_end_is_the_clients_end(
    service: socket.socket, started: list[Local]
) -> None:
    way = relay_to(service.getsockname()[1], started)
    with socket.create_connection(("127.0.0.1", way.port), timeout=5) as client:
        server, _ = service.accept()
        server.sendall(b"bye")
        server.close()
        assert client.recv(100) == b"bye"
        assert client.recv(100) == b""
    way.close()


def test_nobody_listens_resets_the_client_and_says_why(started: list[Local]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    way = relay_to(port, started)
    with (
        socket.create_connection(("127.0.0.1", way.port), timeout=5) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(100)
    way.close()
    assert way.errors == ["the relay ended with 7"]


def test_a_program_that_cannot_be_started_resets_the_client() -> None:
    def start() -> relay.Remote:
        raise NotReady("the pod was removed", cause="a rollout")

    way = relay.Relay(start)
    with (
        socket.create_connection(("127.0.0.1", way.port), timeout=5) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(100)
    way.close()
    assert way.errors == ["the pod was removed: a rollout"]


def test_closing_ends_what_is_under_way_and_every_thread(
    service: socket.socket, started: list[Local]
) -> None:
    way = relay_to(service.getsockname()[1], started)
    client = socket.create_connection(("127.0.0.1", way.port), timeout=5)
    service.accept()[0].close()
    way.close()
    client.close()
    deadline = time.monotonic() + 20
    while any(t.name.startswith("relay") for t in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread of the relay stays"
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", way.port), timeout=5)


def test_more_connections_than_allowed_wait_for_their_turn(
    service: socket.socket, started: list[Local]
) -> None:
    port = service.getsockname()[1]

    def start() -> relay.Remote:
        started.append(Local(port))
        return started[-1]

    way = relay.Relay(start, most=1)
    with socket.create_connection(("127.0.0.1", way.port), timeout=5) as first:
        server, _ = service.accept()
        with server:
            server.sendall(b"1")
            assert first.recv(1) == b"1"
            second = socket.create_connection(("127.0.0.1", way.port), timeout=5)
            time.sleep(0.1)
            assert len(started) == 1
    server, _ = service.accept()
    with server, second:
        server.sendall(b"2")
        assert second.recv(1) == b"2"
    way.close()
