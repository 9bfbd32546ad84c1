"""How one of Bookinfo's services calls another: through its sidecar, headers handed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpcore
from starlette.requests import Request

#: Seconds that productpage waits for another service.
TIMEOUT = 3.0
_TIMEOUTS = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)

#: The headers that a service must hand on, or traces and logs fall apart.
FORWARDED = frozenset(
    {
        b"x-request-id",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-flags",
        b"b3",
        b"x-ot-span-context",
        b"traceparent",
        b"tracestate",
        b"x-datadog-trace-id",
        b"x-datadog-parent-id",
        b"x-datadog-sampling-priority",
        b"x-cloud-trace-context",
        b"grpc-trace-bin",
        b"sw8",
        b"user-agent",
        b"end-user",
        b"cookie",
        b"authorization",
        b"jwt",
    }
)

Headers = list[tuple[bytes, bytes]]


class Outbound:
    """Calls to other services, through one address that may change while we run.

    Args:
        address: HOST:PORT, or None.
        file: a file that holds HOST:PORT; read again whenever its modification time changes.
        direct: services that are called without a proxy, and their ports.
        by_name: every service is called by its own name, as in a cluster.
    """

    def __init__(
        self,
        address: str | None = None,
        file: Path | None = None,
        direct: Mapping[str, int] | None = None,
        *,
        by_name: bool = False,
    ) -> None:
        self._by_name = by_name
        self._address = address
        self._file = file
        self._seen: int | None = None
        self._direct = direct if direct is not None else {}
        # httpx's own engine: it takes bytes as they are, and half of httpx's time to import
        # goes to a command line that nobody uses here.
        # No connection is kept, as Bookinfo's productpage keeps none: a kept one would go on
        # through the filter chain that it was accepted with, and miss a changed plugin.
        self._client = httpcore.AsyncConnectionPool(
            max_connections=200, max_keepalive_connections=0
        )

    def address(self, service: str) -> str | None:
        """Where calls to `service` go now: HOST:PORT, or None while nobody listens."""
        if self._by_name:
            return f"{service}:9080"
        if service in self._direct:
            return f"127.0.0.1:{self._direct[service]}"
        if self._file is not None:
            try:
                changed = self._file.stat().st_mtime_ns
                if changed != self._seen:
                    self._address = self._file.read_text(encoding="utf-8").strip() or None
                    self._seen = changed
            except FileNotFoundError:
                self._address = self._seen = None
        return self._address

    async def get(self, service: str, path: str, headers: Headers) -> tuple[int, Any]:
        """GET http://SERVICE:9080PATH: the status and the JSON; 0 when there was no answer."""
        address = self.address(service)
        if address is None:
            return 0, None
        sent = [(b"host", f"{service}:9080".encode()), *headers]
        try:
            answer = await self._client.request(
                "GET", f"http://{address}{path}", headers=sent, extensions={"timeout": _TIMEOUTS}
            )
            return answer.status, json.loads(answer.content) if answer.status == 200 else None
        except (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            ValueError,
        ):
            # Told to the reader in Bookinfo's words: a broken peer must not break the page.
            return 0, None

    async def close(self) -> None:
        """Close kept connections."""
        await self._client.aclose()


def forwarded(request: Request) -> Headers:
    """The headers to hand on, byte for byte."""
    return [(name, value) for name, value in request.scope["headers"] if name in FORWARDED]
