"""Bookinfo's four services, written anew and small, with Bookinfo's routes.

    python -m helpers.mesh.local.bookinfo SERVICE… --ports-file FILE
        [--outbound HOST:PORT | --outbound-file FILE] [--reviews-version v1|v2|v3]

One process can hold several services; each binds a free port of 127.0.0.1 by itself, so
that nobody can take it between choosing and binding, and the ports are written to the
ports file as JSON, {"productpage": 41873, …}, once all of them answer.

productpage reaches the others through its sidecar's outbound listener, as in a mesh, and
tells the listener with the Host header whom it wants. reviews calls ratings directly when
both are in one process, for it stands in a pod of its own, whose sidecar is not modelled.

Routes, answers on failure, the 3 s timeout, and that reviews is tried twice follow
istio/istio's samples/bookinfo.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import html
import json
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpcore
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from helpers import files

SERVICES = ("productpage", "details", "reviews", "ratings")

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
Handler = Callable[[Request], Awaitable[Response]]

_BOOK = {
    "id": 0,
    "title": "The Comedy of Errors",
    "descriptionHtml": "Two pairs of twins, one city, and nobody who asks the right question: "
    "<b>William Shakespeare's</b> shortest play.",
}
_DETAILS = {
    "author": "William Shakespeare",
    "year": 1595,
    "type": "paperback",
    "pages": 200,
    "publisher": "PublisherA",
    "language": "English",
    "ISBN-10": "1234567890",
    "ISBN-13": "123-1234567890",
}
_REVIEWS = (
    ("Reviewer1", 5, "Short, quick and very funny. I laughed at every wrong door."),
    ("Reviewer2", 4, "The plot stands or falls with the twins; here it stands."),
)


class Outbound:
    """Calls to other services, through one address that may change while we run.

    Args:
        address: HOST:PORT, or None.
        file: a file that holds HOST:PORT; read again whenever its modification time changes.
        direct: services that are called without a proxy, and their ports.
    """

    def __init__(
        self,
        address: str | None = None,
        file: Path | None = None,
        direct: Mapping[str, int] | None = None,
    ) -> None:
        self._address = address
        self._file = file
        self._seen: int | None = None
        self._direct = direct if direct is not None else {}
        # httpx's own engine: it takes bytes as they are, and half of httpx's time to import
        # goes to a command line that nobody uses here.
        self._client = httpcore.AsyncConnectionPool(max_connections=200, keepalive_expiry=60.0)

    def address(self, service: str) -> str | None:
        """Where calls to `service` go now: HOST:PORT, or None while nobody listens."""
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


def _number(request: Request) -> int | None:
    text = request.path_params["id"]
    return int(text) if text.isascii() and text.isdigit() else None


def _healthy(name: str) -> Route:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": f"{name} is healthy"})

    return Route("/health", health)


# -- the services ---------------------------------------------------------------------------


def details() -> Starlette:
    """GET /details/{id}, /health"""

    async def one(request: Request) -> Response:
        number = _number(request)
        if number is None:
            return JSONResponse({"error": "please provide numeric product id"}, 400)
        return JSONResponse({"id": number, **_DETAILS})

    return Starlette(routes=[Route("/details/{id}", one), _healthy("Details")])


def ratings() -> Starlette:
    """GET /ratings/{id}, /health"""

    async def one(request: Request) -> Response:
        number = _number(request)
        if number is None:
            return JSONResponse({"error": "please provide numeric product ID"}, 400)
        return JSONResponse(
            {"id": number, "ratings": {name: stars for name, stars, _ in _REVIEWS}}
        )

    return Starlette(routes=[Route("/ratings/{id}", one), _healthy("Ratings")])


def reviews(outbound: Outbound, version: str = "v1") -> Starlette:
    """GET /reviews/{id}, /health

    Args:
        version: v1 shows no stars, v2 black ones, v3 red ones, as Bookinfo's do.
    """
    color = {"v1": "", "v2": "black", "v3": "red"}[version]

    async def one(request: Request) -> Response:
        number = _number(request)
        if number is None:
            return PlainTextResponse("Not Found", 404)
        found: list[dict[str, Any]] = [
            {"reviewer": name, "text": text} for name, _, text in _REVIEWS
        ]
        if color:
            status, answer = await outbound.get("ratings", f"/ratings/{number}", forwarded(request))
            for review in found:
                if status == 200:
                    stars = answer["ratings"].get(review["reviewer"], 0)
                    review["rating"] = {"stars": stars, "color": color}
                else:
                    review["rating"] = {"error": "Ratings service is currently unavailable"}
        return JSONResponse(
            {"id": str(number), "podname": f"reviews-{version}", "reviews": found}
        )

    return Starlette(routes=[Route("/reviews/{id}", one), _healthy("Reviews")])


def productpage(outbound: Outbound) -> Starlette:
    """The page, and the same as JSON under /api/v1/products"""

    async def ask(request: Request, service: str, number: str, tries: int = 1) -> tuple[int, Any]:
        status, answer = 0, None
        for _ in range(tries):
            status, answer = await outbound.get(
                service, f"/{service}/{number}", forwarded(request)
            )
            if status == 200:
                return 200, answer
        what = {"details": "product details", "reviews": "product reviews"}.get(
            service, "product ratings"
        )
        error = f"Sorry, {what} are currently unavailable for this book."
        return status or 500, {"error": error}

    async def front(request: Request) -> Response:
        _, found = await ask(request, "details", "0")
        _, opinions = await ask(request, "reviews", "0", tries=2)
        return HTMLResponse(_page(found, opinions))

    def api(service: str, tries: int = 1) -> Handler:
        async def answer(request: Request) -> Response:
            number = _number(request)
            if number is None:
                return JSONResponse({"error": "please provide numeric product id"}, 400)
            status, found = await ask(request, service, str(number), tries)
            return JSONResponse(found, status)

        return answer

    async def products(_: Request) -> Response:
        return JSONResponse([_BOOK])

    async def index(_: Request) -> Response:
        return HTMLResponse(
            "<!doctype html><html lang='en'><title>Bookinfo</title>"
            "<h1>Bookinfo</h1><p><a href='/productpage'>The product page</a></p></html>"
        )

    async def health(_: Request) -> Response:
        return PlainTextResponse("Product page is healthy")

    return Starlette(
        routes=[
            Route("/", index),
            Route("/index.html", index),
            Route("/health", health),
            Route("/productpage", front),
            Route("/api/v1/products", products),
            Route("/api/v1/products/{id}", api("details")),
            Route("/api/v1/products/{id}/reviews", api("reviews", tries=2)),
            Route("/api/v1/products/{id}/ratings", api("ratings")),
        ]
    )


def _page(found: Mapping[str, Any], opinions: Mapping[str, Any]) -> str:
    def text(value: object) -> str:
        return html.escape(str(value))

    if "error" in found:
        book = f"<p>{text(found['error'])}</p>"
    else:
        rows = (f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in found.items() if k != "id")
        book = f"<dl>{''.join(rows)}</dl>"
    if "error" in opinions:
        said = f"<p>{text(opinions['error'])}</p>"
    else:
        said = "".join(
            f"<blockquote><p>{text(each['text'])}</p><footer>{text(each['reviewer'])}"
            f"{_stars(each.get('rating'))}</footer></blockquote>"
            for each in opinions["reviews"]
        )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<title>Simple Bookstore App</title></head><body>"
        f"<h1>{text(_BOOK['title'])}</h1><p>{_BOOK['descriptionHtml']}</p>"
        f"<h2>Book Details</h2>{book}<h2>Book Reviews</h2>{said}</body></html>"
    )


def _stars(rating: Mapping[str, Any] | None) -> str:
    if rating is None:
        return ""
    if "error" in rating:
        return f" <em>{html.escape(str(rating['error']))}</em>"
    stars = int(rating["stars"])
    color = html.escape(str(rating["color"]), quote=True)
    return f" <span style='color:{color}' aria-label='{stars} of 5 stars'>{'★' * stars}</span>"


# -- the process ----------------------------------------------------------------------------


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # several servers in one process: `serve` handles the signals for all of them


async def serve(
    services: Sequence[str],
    ports_file: Path,
    *,
    outbound: str | None = None,
    outbound_file: Path | None = None,
    reviews_version: str = "v1",
) -> None:
    """Run `services` until SIGTERM or SIGINT; `ports_file` appears when all of them answer."""
    sockets: dict[str, socket.socket] = {}
    for service in services:
        sockets[service] = socket.socket()
        sockets[service].bind(("127.0.0.1", 0))
    ports = {service: int(each.getsockname()[1]) for service, each in sockets.items()}
    sidecar = Outbound(outbound, outbound_file)
    beside = {"ratings": ports["ratings"]} if "ratings" in ports else None
    direct = Outbound(outbound, outbound_file, direct=beside)
    makers: dict[str, Callable[[], Starlette]] = {
        "productpage": lambda: productpage(sidecar),
        "details": details,
        "reviews": lambda: reviews(direct, reviews_version),
        "ratings": ratings,
    }
    servers = {
        service: _Server(
            uvicorn.Config(
                makers[service](),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                # Longer than Envoy's idle timeout of an hour: the side that closes an idle
                # connection must be Envoy, or a request may meet the closing door.
                timeout_keep_alive=7200,
            )
        )
        for service in services
    }

    def stop(*_: object) -> None:
        for server in servers.values():
            server.should_exit = server.force_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    tasks = [
        asyncio.create_task(server.serve(sockets=[sockets[service]]))
        for service, server in servers.items()
    ]
    while not all(server.started for server in servers.values()):
        if any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.005)
    else:
        files.write_atomic(ports_file, json.dumps(ports) + "\n")
    await asyncio.gather(*tasks)
    await sidecar.close()
    await direct.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bookinfo", description="Bookinfo's services, small.")
    parser.add_argument("services", nargs="+", choices=SERVICES, metavar="SERVICE")
    parser.add_argument("--ports-file", type=Path, required=True)
    parser.add_argument("--outbound", help="HOST:PORT of the sidecar's outbound listener")
    parser.add_argument("--outbound-file", type=Path, help="a file that holds HOST:PORT")
    parser.add_argument("--reviews-version", choices=("v1", "v2", "v3"), default="v1")
    given = parser.parse_args(arguments)
    asyncio.run(
        serve(
            list(dict.fromkeys(given.services)),
            given.ports_file,
            outbound=given.outbound,
            outbound_file=given.outbound_file,
            reviews_version=given.reviews_version,
        )
    )


if __name__ == "__main__":
    main()
