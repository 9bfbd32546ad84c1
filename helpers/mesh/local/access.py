"""Requests into the local mesh and lines out of its logs: curl's and kubectl logs' part."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from helpers.errors import BadInput

Headers = Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]] | None

_ISO = re.compile(r"^\[?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z")
_LIMIT = 400_000_000


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 and an error text when there was no HTTP answer."""

    status: int
    headers: dict[str, str]
    body: str
    latency_ms: float
    error: str = ""


@dataclass(frozen=True)
class Target:
    """A URL taken apart."""

    host: str
    port: int
    path: str
    authority: str


def target(url: str) -> Target:
    """Take an http:// URL apart.

    Raises:
        BadInput: it is none.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError as error:
        raise BadInput(
            f"{url!r} is no URL", cause=str(error), fix="http://productpage:9080/productpage"
        ) from error
    if parts.scheme != "http" or not parts.hostname:
        raise BadInput(
            f"{url!r} cannot be requested in the mesh",
            cause="services of the mesh are reached by http://NAME:PORT/PATH",
            fix="http://productpage:9080/productpage",
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname, port, path, parts.netloc)


def request(
    base: tuple[str, int],
    where: Target,
    *,
    method: str,
    headers: Headers,
    data: bytes | None,
    timeout: float,
) -> Answer:
    """One request on a connection of its own, as curl makes it."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
    raw = [(_raw(name), _raw(value)) for name, value in pairs]
    names = {name.lower() for name, _ in raw}
    if b"user-agent" not in names:
        raw.append((b"user-agent", b"curl/workbook"))
    if b"accept" not in names:
        raw.append((b"accept", b"*/*"))
    if b"host" not in names:
        raw.append((b"host", where.authority.encode()))
    raw.append((b"connection", b"close"))
    begun = time.perf_counter()
    try:
        # verify=False: only http:// URLs come here; loading certificates would cost 60 ms.
        with httpx.Client(trust_env=False, timeout=timeout, verify=False) as client:
            client.headers.clear()
            answer = client.request(
                method, f"http://{base[0]}:{base[1]}{where.path}", headers=raw, content=data
            )
    except httpx.HTTPError as error:
        took = (time.perf_counter() - begun) * 1000
        return Answer(0, {}, "", took, _curl_words(error, where, timeout))
    took = (time.perf_counter() - begun) * 1000
    return Answer(answer.status_code, dict(answer.headers.items()), answer.text, took)


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8")


def _curl_words(error: httpx.HTTPError, where: Target, timeout: float) -> str:
    if isinstance(error, httpx.ConnectError):
        return f"curl: (7) Failed to connect to {where.host} port {where.port}: {error}"
    if isinstance(error, httpx.TimeoutException):
        return f"curl: (28) Operation timed out after {timeout * 1000:.0f} milliseconds"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return f"curl: (52) Empty reply from server: {error}"
    return f"curl: (56) {type(error).__name__}: {error}"


def read(
    path: Path, *, since: float | None, tail: int | None, grep: str | None, strip: str
) -> list[str]:
    """The lines of a log, the rotated part first.

    Args:
        since: seconds since the epoch; a line without a time belongs to the one before it.
        strip: a path prefix that is taken out of each line: the folder that stands for the
            container's root.
    """
    text = ""
    for part in (path.with_name(path.name + ".1"), path):
        if part.exists():
            text += part.read_bytes()[-_LIMIT:].decode("utf-8", "replace")
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if strip:
        lines = [line.replace(strip, "") if strip in line else line for line in lines]
    return chosen(lines, since=since, tail=tail, grep=grep)


def chosen(
    lines: list[str], *, since: float | None, tail: int | None, grep: str | None
) -> list[str]:
    """Of a log's lines those that `mesh.logs` is asked for."""
    return [lines[at] for at in places(lines, since=since, tail=tail, grep=grep)]


def places(
    lines: Sequence[str], *, since: float | None, tail: int | None, grep: str | None
) -> list[int]:
    """Where those lines stand, from 0."""
    found = list(range(len(lines))) if since is None else list(_since(lines, since))
    if grep is not None:
        found = [at for at in found if grep in lines[at]]
    return found if tail is None else found[-tail:] if tail > 0 else []


def stamp(line: str) -> float | None:
    """The time with which a line of Envoy's begins, in seconds since the epoch; None without."""
    found = _ISO.match(line)
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp() if found else None


def _since(lines: Sequence[str], since: float) -> Iterator[int]:
    keep = False
    for at, line in enumerate(lines):
        own = stamp(line)
        if own is not None:
            # Access lines carry milliseconds: do not lose one of the same millisecond.
            keep = own >= since - 0.001
        if keep:
            yield at


def follow(path: Path, *, seconds: float, grep: str | None, strip: str) -> Iterator[str]:
    """New whole lines as they are written, for at most `seconds`; survives rotation."""
    deadline = time.monotonic() + seconds
    position = path.stat().st_size if path.exists() else 0
    rest = b""
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position, rest = 0, b""
        if size > position:
            with path.open("rb") as handle:
                handle.seek(position)
                data = rest + handle.read()
                position = handle.tell()
            *whole, rest = data.split(b"\n")
            for raw in whole:
                line = raw.decode("utf-8", "replace").replace(strip, "")
                if grep is None or grep in line:
                    yield line
        elif time.monotonic() >= deadline:
            return
        else:
            time.sleep(0.05)
        if time.monotonic() >= deadline:
            return
