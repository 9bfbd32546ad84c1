"""HTTP load on loopback for a bounded time: wrk where it is installed, else a loop of our own.

Closed loop: each connection sends its next request when the answer to the last has come.
"""

from __future__ import annotations

import re
import selectors
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers import shell
from helpers.errors import CommandFailed, MeshDown

CONNECTIONS = 16
#: What the article's request carries, as curl sends it.
HEADERS = (("Host", "productpage:9080"), ("User-Agent", "MyTestClient"), ("Accept", "*/*"))
_WRK_LINE = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b")
_WRK_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """One round of load, and what it cost the server.

    Attributes:
        requests: answered with 200.
        seconds: wall time of the round.
        cpu: seconds of CPU that the server used meanwhile, in user and kernel mode.
    """

    requests: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def micros(self) -> float:
        """µs of the server's CPU a request."""
        return self.cpu / self.requests * 1e6

    @property
    def busy(self) -> float:
        """The share of one core that the server used, 0 to 1 for one worker."""
        return self.cpu / self.seconds


def generator() -> str:
    """Which generator `round_of_load` uses here: the path of wrk, or "own"."""
    return shutil.which("wrk") or "own"


def round_of_load(server: psutil.Process, port: int, *, seconds: float, using: str) -> Load:
    """Load 127.0.0.1:`port` for about `seconds` and read the CPU time of `server` around it.

    Args:
        using: what `generator` said. wrk counts whole seconds: it gets `seconds` rounded up.

    Raises:
        CommandFailed: an answer was not 200, or the generator failed.
        MeshDown: nothing listens there.
    """
    before = cpu_seconds(server)
    if using == "own":
        requests, took = drive(port, seconds)
    else:
        requests, took = _wrk(Path(using), port, seconds)
    cpu = cpu_seconds(server) - before
    if requests == 0:
        raise MeshDown(f"no answer from 127.0.0.1:{port}", cause="Envoy accepted no request",
                       fix="read its log below workspace/report/bench")
    return Load(requests, took, cpu)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time that `process` has used so far, all its threads together.

    Linux keeps it to the nanosecond for each thread (`schedstat`); what psutil reads is counted
    in steps of 10 ms, a few percent of a round.
    """
    try:
        tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError):  # no Linux, or a kernel without it, or a thread just ended
        used = process.cpu_times()
        return float(used.user + used.system)


def _wrk(path: Path, port: int, seconds: float) -> tuple[int, float]:
    whole = max(1, int(-(-seconds // 1)))
    argv = [str(path), "-t1", f"-c{CONNECTIONS}", f"-d{whole}s"]
    for name, value in HEADERS:
        argv += ["-H", f"{name}: {value}"]
    said = shell.run([*argv, f"http://127.0.0.1:{port}/productpage"], timeout=whole + 60).output
    return read_wrk(said)


def read_wrk(said: str) -> tuple[int, float]:
    """Requests and seconds from what wrk prints.

    Raises:
        CommandFailed: it prints none, or some answers were errors.
    """
    found = _WRK_LINE.search(said)
    wrong = re.search(r"(Non-2xx or 3xx responses: \d+|Socket errors: .*)", said)
    if found is None or wrong is not None:
        raise CommandFailed(
            f"wrk met failures: {wrong[0]}" if wrong else "wrk printed no count of requests",
            cause="Envoy answered with another status than 200, or closed connections",
            fix="its words are below",
            detail=said,
        )
    return int(found[1]), float(found[2]) * _WRK_SECONDS[found[3]]


def drive(port: int, seconds: float, *, connections: int = CONNECTIONS) -> tuple[int, float]:
    """Our own generator: sockets and a selector, nothing parsed but the status line.

    Every answer must be as long as the first, which a direct response is.

    Returns:
        Requests answered with 200, and wall seconds.

    Raises:
        MeshDown: nothing listens there, or a connection was closed.
        CommandFailed: an answer was not 200.
    """
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    request = f"GET /productpage HTTP/1.1\r\n{head}\r\n".encode()
    selector = selectors.DefaultSelector()
    sockets: list[socket.socket] = []
    try:
        for _ in range(connections):
            try:
                one = socket.create_connection(("127.0.0.1", port), timeout=5)
            except OSError as error:
                raise MeshDown(f"nothing listens on 127.0.0.1:{port}", cause=str(error),
                               fix="start the server first") from error
            sockets.append(one)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        length = len(_first_answer(sockets[0], request))
        for one in sockets:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ)
        begun = time.perf_counter()
        count = _loop(selector, sockets, request, length, begun + seconds)
        return count, time.perf_counter() - begun
    finally:
        selector.close()
        for one in sockets:
            one.close()


def _loop(
    selector: selectors.BaseSelector, sockets: list[socket.socket], request: bytes, length: int,
    deadline: float,
) -> int:
    by_descriptor = {one.fileno(): one for one in sockets}
    part = dict.fromkeys(by_descriptor, b"")
    for one in sockets:
        one.send(request)
    count = 0
    while time.perf_counter() < deadline:
        for key, _ in selector.select(1.0):
            one = by_descriptor[key.fd]
            data = one.recv(65536)
            if not data:
                raise _closed()
            if part[key.fd]:
                data = part[key.fd] + data
            if len(data) < length:
                part[key.fd] = data
                continue
            _check(data)
            part[key.fd] = b""
            count += 1
            one.send(request)
    return count


def _first_answer(one: socket.socket, request: bytes) -> bytes:
    one.sendall(request)
    data = b""
    while True:
        more = one.recv(65536)
        if not more:
            raise _closed()
        data += more
        head, separator, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if separator and found and len(body) >= int(found[1]):
            _check(data)
            return data


def _closed() -> MeshDown:
    return MeshDown("the server closed a connection", cause="it ended, or refused the request",
                    fix="read its log")


def _check(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 200"):
        line = answer.split(b"\r\n", 1)[0].decode("latin-1")
        raise CommandFailed(f"the server answered {line!r}, not 200",
                            cause="the plugin failed, or the route is wrong",
                            fix="read Envoy's log")
