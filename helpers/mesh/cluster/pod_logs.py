"""Lines of containers' logs from the API server: kubectl logs' part.

kubectl logs of a Deployment with several replicas shows one pod's lines. Here all are read and
put in the order in which the containers' runtime took them, a message of several lines whole.
"""

from __future__ import annotations

import contextlib
import math
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from helpers.mesh.cluster.execing import Place, check_pod
from helpers.mesh.local import access

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

#: What the kubelet puts before a line when it is asked for timestamps: RFC 3339, up to 9 digits.
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")
#: A line that begins a record of its own: Envoy's, pilot-agent's, the access log's.
_HEAD = re.compile(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_LIMIT = 400_000_000
#: How long after a record's first line its others may come, in nanoseconds.
_TOGETHER = 1_000_000_000
#: Seconds between two parts of an answer.
_SECONDS = 30.0
#: A container that has just been replaced needs so long until its log can be followed.
_AGAIN = 0.2


@dataclass(frozen=True)
class Line:
    """One line: when the runtime took it (ns since the epoch), its text, whose it is."""

    time: int
    text: str
    pod: str


def read(
    connection: Connection,
    place: Place,
    *,
    since: float | None = None,
    tail: int | None = None,
    previous: bool = False,
) -> list[Line]:
    """The lines of one container.

    Args:
        since: seconds since the epoch, by the node's clock; lines that were written earlier
            are left out, to the second.
        previous: those of the instance before the last restart; none where they are gone.

    Raises:
        WorkbookError: as `Connection.call`.
    """
    query: dict[str, str | int] = {"container": place.container, "timestamps": "true"}
    query["limitBytes"] = _LIMIT
    if since is not None:
        stamp = datetime.fromtimestamp(max(0, int(since)), UTC)
        query["sinceTime"] = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    if tail is not None:
        query["tailLines"] = tail
    if previous:
        query["previous"] = "true"
    raw = connection.call(_get, connection, place, query)
    return list(_lines(raw, place.pod))


def _lines(raw: bytes, pod: str) -> Iterator[Line]:
    last = 0
    texts = raw.decode("utf-8", "replace").split("\n")
    if texts[-1] == "":
        texts.pop()
    for text in texts:
        found = _STAMP.match(text)
        if found:
            last = _nanoseconds(found)
            text = text[found.end() :]
        yield Line(last, text, pod)


def _nanoseconds(found: re.Match[str]) -> int:
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))


def _records(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines of one log by record: a line without a time goes on with the one before it.

    An application whose lines begin with no time has one record a line, and one that writes
    such a line long after the last record begins a new one.
    """
    found = list(lines)
    headed = any(_HEAD.match(line.text) for line in found)
    records: list[list[Line]] = []
    for line in found:
        goes_on = (
            headed
            and records
            and not _HEAD.match(line.text)
            and line.time - records[-1][0].time < _TOGETHER
        )
        if goes_on:
            records[-1].append(line)
        else:
            records.append([line])
    return records


def merge(logs: Iterable[Sequence[Line]]) -> list[Line]:
    """The lines of several logs in the order of time; a record's lines stay together."""
    records = [record for lines in logs for record in _records(lines)]
    records.sort(key=lambda record: record[0].time)  # stable: each log keeps its own order
    return [line for record in records for line in record]


def not_before(lines: Sequence[Line], since: float) -> list[Line]:
    """The lines of one log whose record is of `since` (s since the epoch) or later.

    A record's own time counts, as on the local mesh: Envoy writes an access line up to a second
    after the request began, whose time it carries. Without one the runtime's time counts.
    """
    kept: list[Line] = []
    for record in _records(lines):
        own = access.stamp(record[0].text)
        # Access lines carry milliseconds: do not lose one of the same millisecond.
        if own >= since - 0.001 if own is not None else record[0].time >= since * 1e9:
            kept += record
    return kept


def follow(
    connection: Connection, place: Place, *, seconds: float, grep: str | None
) -> Iterator[str]:
    """New lines as they are written, for at most `seconds`; goes on after a restart of the
    container or of the API server.

    Raises:
        PodGone: the pod was removed meanwhile.
        WorkbookError: as `Connection.call`.
    """
    begun = time.monotonic()
    deadline = begun + seconds
    query: dict[str, str | int] = {
        "container": place.container, "follow": "true", "timestamps": "true", "tailLines": 0,
    }
    last = seen = 0  # when the last line was taken; of which lines are known already
    while (left := deadline - time.monotonic()) > 0:
        for raw in _stream(connection, place, query, left):
            found = _STAMP.match(raw)
            if found:
                last = _nanoseconds(found)
                if last <= seen:
                    continue
            line = raw[found.end() :] if found else raw
            if grep is None or grep in line:
                yield line
        if time.monotonic() >= deadline:
            return
        check_pod(connection, place)
        # The container ended, or the way to it broke: what came meanwhile is new, too. Without
        # a line's time the kubelet's own clock has to do: seconds until now.
        query.pop("tailLines", None)
        seen = last
        if last:
            stamp = datetime.fromtimestamp(last // 1_000_000_000, UTC)
            query["sinceTime"] = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            query["sinceSeconds"] = math.ceil(time.monotonic() - begun)
        query.pop("sinceSeconds" if last else "sinceTime", None)
        time.sleep(_AGAIN)


def _stream(
    connection: Connection, place: Place, query: dict[str, str | int], seconds: float
) -> Iterator[str]:
    """The lines of one answer until it or the time ends."""
    answer = connection.call(_open, connection, place, query)
    taken: queue.Queue[bytes | None] = queue.Queue(1000)
    stop = threading.Event()

    def take() -> None:
        # A read cannot be given up in the middle, so it has a thread; `shutdown` ends it.
        with contextlib.suppress(Exception):  # a broken connection is an end like any other
            while not stop.is_set() and (data := answer.read1(65536)):
                taken.put(data)
        taken.put(None)

    thread = threading.Thread(target=take, name="follow", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    rest = b""
    try:
        while (left := deadline - time.monotonic()) > 0:
            try:
                data = taken.get(timeout=left)
            except queue.Empty:
                return
            if data is None:
                return
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
    finally:
        stop.set()
        with contextlib.suppress(Exception):
            answer.shutdown()
        while thread.is_alive():  # it may wait for room
            with contextlib.suppress(queue.Empty):
                taken.get(timeout=0.05)
        answer.close()


def _get(connection: Connection, place: Place, query: dict[str, str | int]) -> bytes:
    answer = _send(connection, place, query, _SECONDS)
    data: bytes = answer.read()
    return data


def _open(connection: Connection, place: Place, query: dict[str, str | int]) -> Any:
    return _send(connection, place, query, None)


def _send(
    connection: Connection, place: Place, query: dict[str, str | int], seconds: float | None
) -> Any:
    """The raw answer: the typed call knows no sinceTime, and decodes what need not be text."""
    from kubernetes.client.exceptions import ApiException

    api = connection.api
    headers = {
        entry["key"]: entry["value"]
        for entry in api.configuration.auth_settings().values()
        if entry["in"] == "header"
    }
    path = f"/api/v1/namespaces/{place.namespace}/pods/{place.pod}/log"
    answer = api.rest_client.pool_manager.request(
        "GET",
        f"{api.configuration.host}{path}?{urlencode(query)}",
        headers=headers,
        preload_content=False,
        timeout=_timeout(seconds),
        retries=False,
    )
    if answer.status != 200:
        refused = ApiException(status=answer.status, reason=answer.reason)
        refused.body = answer.data.decode("utf-8", "replace")
        raise refused
    return answer


def _timeout(seconds: float | None) -> Any:
    from urllib3 import Timeout

    return Timeout(connect=5.0, read=seconds)
