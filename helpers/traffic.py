"""Tagged requests at a chosen rate, each of which can be found again in the sidecar's log.

A plugin's log line holds nothing of a request but what the plugin wrote: for the article's
filter the User-Agent. So the tag stands at the end of that header, ``MyTestClient
req/3fa9c1d2-000017``: run and number. The same id goes into ``x-workbook-id``, and a fresh
``x-request-id`` is what the access log shows.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import re
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import httpx
import pandas as pd

from helpers import files, paths, traffic_input, traffic_record
from helpers.errors import BadInput, Cancelled, WorkbookError
from helpers.mesh.base import Mesh
from helpers.progress import Progress
from helpers.traffic_record import Request, last, last_path

__all__ = ["TrafficCancelled", "last", "last_path", "send"]

MAX_COUNT = 100_000
MAX_RATE = 5_000.0
MAX_CONCURRENCY = 256

#: How long requests under way may still take once the learner pressed Stop, in seconds.
_GRACE = 2.0


class TrafficCancelled(Cancelled):
    """The learner stopped the traffic; `sent` holds what had been sent until then."""

    sent: pd.DataFrame


#: Sends one request with these headers; the status, and an error text when there was none.
Sender = Callable[[Mapping[str, bytes]], tuple[int, str]]


def send(
    mesh: Mesh,
    *,
    count: int = 100,
    rate: float | None = 50.0,
    concurrency: int = 4,
    path: str = "/productpage",
    user_agents: traffic_input.Agents = ("MyTestClient",),
    headers: Mapping[str, str | bytes] | None = None,
    container: str = "istio-proxy",
    service: str = "productpage",
    progress: bool = True,
    timeout: float = 5.0,
) -> pd.DataFrame:
    """Send tagged requests and wait for their answers.

    The schedule is absolute: request k is due k/rate seconds after the first, so one slow
    answer delays none of the others while a worker is free; `late_ms` tells how late each
    one left. A failed request is a row with its error, never an exception.

    Args:
        mesh: where to; `mesh.endpoint(service)` gives the address.
        count: how many, 1 to 100,000.
        rate: requests a second, above 0 and at most 5,000; None: as fast as they are answered.
        concurrency: how many may be under way at once, 1 to 256.
        path: path and query, beginning with "/".
        user_agents: one name, several that take turns, or a mapping of name to weight.
        headers: more headers for every request.
        container: "istio-proxy" sends straight to the service; any other container sends
            each request by `mesh.curl` from there, through the sidecar's outbound listener.
        service: whose endpoint.
        progress: show a progress line while it runs.
        timeout: seconds to wait for one answer, above 0 and at most 300.

    Returns:
        One row a request in the order sent: id (str), time (datetime64[ns, UTC]), status
        (Int16, <NA> without an answer), latency_ms (float64), user_agent (str, as sent, tag
        included), agent (str, the plain name), error (str, empty when answered), request_id
        (str), late_ms (float64). Also written to `last_path()`.

    Raises:
        BadInput: an argument outside its range.
        TrafficCancelled: interrupted; its `sent` has the rows so far.
    """
    traffic_input.check("count", count, 1, MAX_COUNT, whole=True)
    traffic_input.check("concurrency", concurrency, 1, MAX_CONCURRENCY, whole=True)
    traffic_input.check("timeout", timeout, 0.001, 300)
    if rate is not None:
        traffic_input.check("rate", rate, 0.001, MAX_RATE)
    if not re.fullmatch(r"/[!-~]*", path):
        raise BadInput(
            f"path={path!r} is not a path",
            cause="it must begin with '/' and hold only printable ASCII without spaces",
            fix="write for example path='/productpage'; percent-encode other characters",
        )
    extra = {name: traffic_input.header(name, value) for name, value in (headers or {}).items()}
    agents = traffic_input.agents(user_agents)
    run = secrets.token_hex(4)
    plan = [
        Request(f"{run}-{number:06d}", next(agents), str(uuid.uuid4()))
        for number in range(1, count + 1)
    ]
    if container == "istio-proxy":
        endpoint = mesh.endpoint(service)
        workers: list[Sender] = [
            _Direct(endpoint.url + path, {"host": endpoint.host.encode(), **extra}, timeout)
            for _ in range(min(concurrency, count))
        ]
    else:
        url = f"http://{mesh.endpoint(service).host}{path}"
        workers = [_InContainer(mesh, url, container, extra, timeout)] * min(concurrency, count)
    return _Run(plan, workers, rate, timeout, progress).go()


class _Direct:
    """Sends from this process; one connection, kept open, a worker."""

    def __init__(self, url: str, headers: Mapping[str, bytes], timeout: float) -> None:
        # A proxy from the environment would send loopback traffic elsewhere.
        self._client = httpx.Client(timeout=timeout, trust_env=False)
        self._url, self._headers = url, headers

    def __call__(self, headers: Mapping[str, bytes]) -> tuple[int, str]:
        try:
            merged = {name.encode(): value for name, value in {**self._headers, **headers}.items()}
            answer = self._client.get(self._url, headers=merged)
        except httpx.HTTPError as error:
            return 0, f"{type(error).__name__}: {error}".rstrip(": ")
        return answer.status_code, ""

    def close(self) -> None:
        self._client.close()


class _InContainer:
    """Sends by `mesh.curl` from another container of the pod."""

    def __init__(
        self, mesh: Mesh, url: str, container: str, headers: Mapping[str, bytes], timeout: float
    ) -> None:
        self._mesh, self._url, self._container = mesh, url, container
        self._headers, self._timeout = headers, timeout

    def __call__(self, headers: Mapping[str, bytes]) -> tuple[int, str]:
        try:
            answer = self._mesh.curl(
                self._url, headers={**self._headers, **headers},
                container=self._container, timeout=self._timeout,
            )
        except WorkbookError as error:
            return 0, f"{type(error).__name__}: {error.what}"
        return answer.status, "" if answer.status else answer.error or "no HTTP answer"


class _Run:
    """One run: workers send, the caller's thread collects and shows the progress."""

    def __init__(
        self, plan: list[Request], workers: list[Sender], rate: float | None,
        timeout: float, progress: bool,
    ) -> None:
        self._plan, self._workers, self._rate, self._timeout = plan, workers, rate, timeout
        self._next = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done: queue.SimpleQueue[tuple[int, Request]] = queue.SimpleQueue()
        self._under_way: dict[int, Request] = {}
        self._rows: dict[int, Request] = {}
        self._progress = Progress(len(plan), "requests", show=progress)
        self._start = 0.0

    def go(self) -> pd.DataFrame:
        self._start = time.perf_counter() + 0.01
        pool = ThreadPoolExecutor(len(self._workers), thread_name_prefix="traffic")
        futures: list[Future[None]] = []
        interrupted = False
        try:
            for worker in self._workers:
                futures.append(pool.submit(self._work, worker))
            self._collect(futures, deadline=None)
        except KeyboardInterrupt:
            interrupted = True
            self._stop.set()
            with contextlib.suppress(KeyboardInterrupt):  # pressed twice: do not wait
                self._collect(futures, deadline=time.monotonic() + min(self._timeout, _GRACE))
        finally:
            self._stop.set()
            pool.shutdown(wait=not interrupted, cancel_futures=True)
        with self._lock:
            while not self._done.empty():
                number, request = self._done.get()
                self._rows[number] = request
            for number, request in self._under_way.items():
                self._rows.setdefault(number, replace(request, error="cancelled"))
        frame = traffic_record.frame([self._rows[number] for number in sorted(self._rows)])
        answered = int(frame["status"].notna().sum())
        self._progress.finish(f"{len(frame)} sent, {answered} answered")
        files.write_atomic(last_path(), traffic_record.csv(frame))
        if interrupted:
            error = TrafficCancelled(
                f"stopped after {len(frame)} of {len(self._plan)} requests",
                cause="you interrupted the cell",
                fix=f"what was sent is kept: traffic.last() reads {paths.shown(last_path())}",
            )
            error.sent = frame
            raise error
        return frame

    def _collect(self, futures: list[Future[None]], *, deadline: float | None) -> None:
        while True:
            over = all(future.done() for future in futures)
            try:
                number, request = self._done.get(timeout=0.0001 if over else 0.1)
            except queue.Empty:
                if over:
                    for future in futures:
                        future.result()  # a mistake of ours in a worker is not swallowed
                    return
            else:
                self._rows[number] = request
            self._progress.update(len(self._rows))
            if deadline is not None and time.monotonic() > deadline:
                return

    def _work(self, sender: Sender) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    number = next(self._next)
                if number >= len(self._plan):
                    return
                due = self._start + (number / self._rate if self._rate else 0.0)
                if self._stop.wait(max(0.0, due - time.perf_counter())):
                    return
                self._one(number, due, sender)
        finally:
            if isinstance(sender, _Direct):
                sender.close()

    def _one(self, number: int, due: float, sender: Sender) -> None:
        begin = time.perf_counter()
        late = max(0.0, begin - due) * 1e3 if self._rate else 0.0
        request = replace(self._plan[number], time=time.time(), late_ms=late)
        with self._lock:
            self._under_way[number] = request
        status, error = sender(
            {
                "user-agent": request.user_agent,
                "x-workbook-id": request.id.encode("ascii"),
                "x-request-id": request.request_id.encode("ascii"),
            }
        )
        latency = (time.perf_counter() - begin) * 1e3
        self._done.put((number, replace(request, status=status, latency_ms=latency, error=error)))
        with self._lock:
            del self._under_way[number]
