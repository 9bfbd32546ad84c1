"""Bookinfo's services as processes of their own, over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest


class Proxy:
    """Stands for the sidecar's outbound listener: passes on by Host, keeps what it saw."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.seen: list[tuple[str, list[tuple[str, str]]]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append((self.path, list(self.headers.raw_items())))
                service = self.headers["host"].removesuffix(":9080")
                if service not in ports:
                    self.send_response(503)
                    self.end_headers()
                    return
                found = httpx.get(f"http://127.0.0.1:{ports[service]}{self.path}")
                self.send_response(found.status_code)
                self.end_headers()
                self.wfile.write(found.content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Services:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.ports_file = folder / "ports.json"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "helpers.mesh.local.bookinfo"),
                *arguments,
                *("--ports-file", str(self.ports_file)),
            ]
        )
        deadline = time.monotonic() + 60
        while not self.ports_file.exists():
            assert self.process.poll() is None, "bookinfo ended before it was ready"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.ports: dict[str, int] = json.loads(self.ports_file.read_text())

    def get(self, service: str, path: str, **more: Any) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[service]}{path}", trust_env=False, **more)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, Proxy, Path]]:
    folder = tmp_path_factory.mktemp("bookinfo")
    outbound = folder / "outbound"
    services = Services(
        folder,
        *("productpage", "details", "reviews", "ratings"),
        *("--outbound-file", str(outbound), "--reviews-version", "v3"),
    )
    proxy = Proxy(services.ports)
    outbound.write_text(proxy.address)
    yield services, proxy, outbound
    services.end()
    proxy.close()


Book = tuple[Services, Proxy, Path]


def test_each_service_answers_on_a_port_of_its_own(book: Book) -> None:
    services, _, _ = book
    assert len(set(services.ports.values())) == 4
    assert services.get("productpage", "/health").text == "Product page is healthy"
    assert services.get("details", "/health").json() == {"status": "Details is healthy"}
    assert services.get("reviews", "/health").json() == {"status": "Reviews is healthy"}
    assert services.get("ratings", "/health").json() == {"status": "Ratings is healthy"}


def test_the_page_shows_details_and_reviews(book: Book) -> None:
    services, proxy, _ = book
    proxy.seen.clear()
    page = services.get("productpage", "/productpage")
    assert page.status_code == 200
    for part in ("The Comedy of Errors", "paperback", "Reviewer1", "color:red"):
        assert part in page.text
    assert "Sorry" not in page.text
    assert [path for path, _ in proxy.seen] == ["/details/0", "/reviews/0"]


def test_the_page_names_the_service_it_wants_to_the_sidecar(book: Book) -> None:
    services, proxy, _ = book
    proxy.seen.clear()
    services.get("productpage", "/productpage")
    hosts = [{k.lower(): v for k, v in headers}["host"] for _, headers in proxy.seen]
    assert hosts == ["details:9080", "reviews:9080"]


def test_tracing_headers_and_the_user_agent_are_handed_on_and_others_are_not(book: Book) -> None:
    services, proxy, _ = book
    proxy.seen.clear()
    sent = {"user-agent": "MyTestClient", "x-request-id": "r-1", "traceparent": "t", "x-mine": "m"}
    services.get("productpage", "/productpage", headers=sent)
    for _, headers in proxy.seen:
        found = {k.lower(): v for k, v in headers}
        assert found["user-agent"] == "MyTestClient"
        assert (found["x-request-id"], found["traceparent"]) == ("r-1", "t")
        assert "x-mine" not in found


def test_bytes_that_are_no_utf8_pass_through(book: Book) -> None:
    services, proxy, _ = book
    proxy.seen.clear()
    agent = b"Yodao\xa1\xb1; )"
    page = services.get("productpage", "/productpage", headers=[(b"user-agent", agent)])
    assert page.status_code == 200
    for _, headers in proxy.seen:
        found = {k.lower(): v for k, v in headers}
        assert found["user-agent"].encode("latin-1") == agent


def test_the_api_answers_with_json(book: Book) -> None:
    services, _, _ = book
    assert services.get("productpage", "/api/v1/products").json()[0]["id"] == 0
    assert services.get("productpage", "/api/v1/products/0").json()["year"] == 1595
    reviews = services.get("productpage", "/api/v1/products/0/reviews").json()
    assert reviews["reviews"][0]["rating"] == {"stars": 5, "color": "red"}
    assert services.get("productpage", "/api/v1/products/0/ratings").json()["ratings"]
    assert services.get("productpage", "/").status_code == 200


def test_what_is_no_number_or_no_route_is_refused(book: Book) -> None:
    services, _, _ = book
    assert services.get("details", "/details/x").status_code == 400
    assert services.get("ratings", "/ratings/x").status_code == 400
    assert services.get("reviews", "/reviews/x").status_code == 404
    assert services.get("productpage", "/api/v1/products/x").status_code == 400
    assert services.get("productpage", "/nothing").status_code == 404


def test_a_failing_service_spares_the_page(book: Book) -> None:
    services, proxy, outbound = book
    broken = Proxy({"reviews": services.ports["reviews"]})
    try:
        outbound.write_text(broken.address)
        os.utime(outbound, ns=(1, 1))
        page = services.get("productpage", "/productpage")
        assert page.status_code == 200
        assert "Sorry, product details are currently unavailable for this book." in page.text
        assert "Reviewer1" in page.text
        answer = services.get("productpage", "/api/v1/products/0")
        assert (answer.status_code, "Sorry" in answer.text) == (503, True)
    finally:
        outbound.write_text(proxy.address)
        os.utime(outbound, ns=(2, 2))
        broken.close()
    assert "Sorry" not in services.get("productpage", "/productpage").text


def test_reviews_is_tried_twice_as_in_bookinfo(book: Book) -> None:
    services, proxy, outbound = book
    broken = Proxy({"details": services.ports["details"]})
    try:
        outbound.write_text(broken.address)
        os.utime(outbound, ns=(3, 3))
        page = services.get("productpage", "/productpage")
        assert "Sorry, product reviews are currently unavailable" in page.text
        paths = [path for path, _ in broken.seen]
        assert paths == ["/details/0", "/reviews/0", "/reviews/0"]
    finally:
        outbound.write_text(proxy.address)
        os.utime(outbound, ns=(4, 4))
        broken.close()


def test_without_a_sidecar_the_page_says_sorry(tmp_path: Path) -> None:
    services = Services(tmp_path, "productpage")
    try:
        assert services.get("productpage", "/productpage").text.count("Sorry") == 2
    finally:
        services.end()


def test_nobody_listening_at_the_outbound_address_is_answered_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        services = Services(tmp_path, "productpage", "--outbound", address)
        try:
            answer = services.get("productpage", "/api/v1/products/0")
            assert answer.status_code == 500
        finally:
            services.end()


def test_an_open_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    services = Services(tmp_path, "details")
    with socket.create_connection(("127.0.0.1", services.ports["details"])) as held:
        held.sendall(b"GET /health HTTP/1.1\r\nhost: details:9080\r\n\r\n")
        assert held.recv(4096)
        ended = services.end()
    assert ended == 0 or os.name == "nt"  # Windows has no SIGTERM: a process is just ended
