"""Bookinfo's four services as web applications, with Bookinfo's routes and our own words."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from helpers.mesh.local.bookinfo_outbound import Outbound, forwarded

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
        return JSONResponse({"id": number, "ratings": {name: stars for name, stars, _ in _REVIEWS}})

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
        return JSONResponse({"id": str(number), "podname": f"reviews-{version}", "reviews": found})

    return Starlette(routes=[Route("/reviews/{id}", one), _healthy("Reviews")])


def productpage(outbound: Outbound) -> Starlette:
    """The page, and the same as JSON under /api/v1/products"""

    async def ask(request: Request, service: str, number: str, tries: int = 1) -> tuple[int, Any]:
        status, answer = 0, None
        for _ in range(tries):
            status, answer = await outbound.get(service, f"/{service}/{number}", forwarded(request))
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
