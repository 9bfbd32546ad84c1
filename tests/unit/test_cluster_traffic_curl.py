"""What is sent to a container for a request, and how curl's and Python's answers are read."""

from __future__ import annotations

import base64
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.errors import BadInput
from helpers.mesh.cluster import curling
from helpers.mesh.local import access

ODD = b"Yodao\xa1\xb1; ) \"quoted\" back\\slash\ttab"


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it got, byte for byte."""

    def do_GET(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        body = repr((self.command, self.path, self.headers.items(), self.rfile.read(size)))
        self.send_response(201)
        self.send_header("X-Two", "a")
        self.send_header("X-Two", "b")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_PUT = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing: the test says what went wrong."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def send(
    url: str, *, path: str | None = None, data: bytes | None = None, method: str = "GET",
    headers: access.Headers = None,
) -> access.Answer:
    """Run what would run in the container here; `path` takes the place of $PATH."""
    request = curling.request(url, access.target(url), headers, method, data, 5)
    command = request.command()
    env = {"PATH": path or "/usr/bin:/bin"}
    done = subprocess.run(command, input=data or b"", capture_output=True, env=env, check=False)
    return curling.answer(done.returncode, done.stdout, done.stderr, 0.0)


@pytest.fixture
def without_curl(tmp_path: Any) -> str:
    """A $PATH with python3 and the few tools that the script takes, but no curl."""
    import shutil
    import sys

    for name in ("sh", "head", "base64", "cat"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "python3").symlink_to(sys.executable)
    return str(tmp_path)


@pytest.mark.parametrize("program", ["curl", "python3"])
def test_each_header_arrives_byte_for_byte(echo: str, without_curl: str, program: str) -> None:
    path = without_curl if program == "python3" else None
    got = send(f"{echo}/a?b=c", path=path, headers=[("User-Agent", ODD), ("X-Empty", "")])
    assert got.status == 201
    assert got.error == ""
    # http.server reads headers as Latin-1, which keeps every byte.
    assert repr(("User-Agent", ODD.decode("latin-1"))) in got.body
    assert "('X-Empty', '')" in got.body
    assert "'/a?b=c'" in got.body
    assert got.headers["x-two"] == "a, b"


@pytest.mark.parametrize("program", ["curl", "python3"])
def test_a_body_of_any_bytes_arrives(echo: str, without_curl: str, program: str) -> None:
    path = without_curl if program == "python3" else None
    data = bytes(range(256)) * 20
    got = send(echo, path=path, data=data, method="PUT")
    assert got.status == 201
    assert repr(data) in got.body


@pytest.mark.parametrize("program", ["curl", "python3"])
def test_nobody_listens_is_said_in_curls_words(without_curl: str, program: str) -> None:
    path = without_curl if program == "python3" else None
    got = send("http://127.0.0.1:1/", path=path)
    assert got.status == 0
    assert got.error.startswith("curl: (7) Failed to connect to 127.0.0.1 port 1")


def test_a_container_with_neither_is_told_by_its_code(tmp_path: Any) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    request = curling.request("http://a/", access.target("http://a/"), None, "GET", None, 1)
    done = subprocess.run(request.command(), env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == curling.NO_PROGRAM


def test_an_interim_answer_is_not_the_answer() -> None:
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    said = f"workbook-curl 200 0.012500 {len(head)}\n".encode()
    got = curling.answer(0, head + b"body", said, 0.0)
    assert (got.status, got.body, got.latency_ms) == (200, "body", 12.5)
    assert got.headers == {"content-type": "text/plain"}


def test_a_reset_keeps_curls_words_and_status_0() -> None:
    said = b"curl: (56) Recv failure: Connection reset by peer\nworkbook-curl 000 0.003 0\n"
    got = curling.answer(56, b"", said, 0.0)
    assert got.status == 0
    assert got.error == "curl: (56) Recv failure: Connection reset by peer"


@pytest.mark.parametrize(
    "bad",
    [{"headers": {"X": "a\r\nY: b"}}, {"headers": {"bad name": "a"}}, {"method": "GET /"},
     {"headers": {"@/etc/passwd": ""}}],
)
def test_what_would_change_the_request_is_refused(bad: dict[str, Any]) -> None:
    parts: dict[str, Any] = {"headers": None, "method": "GET", **bad}
    with pytest.raises(BadInput):
        curling.request("http://a/", access.target("http://a/"), parts["headers"],
                        parts["method"], None, 1)


def test_the_options_are_base64_so_that_exec_can_carry_them() -> None:
    request = curling.request("http://a/", access.target("http://a/"), {"A": ODD}, "GET", None, 1)
    words = request.command()
    assert all(word.isascii() for word in words)
    assert ODD[:7] in base64.b64decode(words[4])
    assert re.search(r"curl -K -", words[2])


def test_a_head_longer_than_a_command_may_be_is_refused() -> None:
    request = curling.request("http://a/", access.target("http://a/"), {"A": "x" * 100_000},
                              "GET", None, 1)
    with pytest.raises(BadInput, match="head has"):
        request.command()
