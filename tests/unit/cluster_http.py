"""An API server on loopback that answers with recorded JSON: the real client talks to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, Any]


@dataclass
class FakeServer:
    """Answers by (method, path); a callable answer gets the request.

    Attributes:
        answers: the status and what becomes the JSON body (text is sent as it is).
        asked: every request, oldest first.
    """

    answers: dict[tuple[str, str], Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """The tests' own output stays readable."""

            def _any(self) -> None:
                where = urlsplit(self.path)
                size = int(self.headers.get("Content-Length") or 0)
                asked = Asked(self.command, where.path, dict(parse_qsl(where.query)),
                              {k.lower(): v for k, v in self.headers.items()},
                              self.rfile.read(size))
                outer.asked.append(asked)
                found = outer.answers.get((self.command, where.path), status(
                    404, "NotFound", "the server could not find the requested resource"))
                code, value = found(asked) if callable(found) else found
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def kubeconfig(self, folder: Path, **changes: Any) -> Path:
        """A kubeconfig that leads here; `changes` are of the context, such as namespace."""
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here",
                          "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me",
                                                      **changes}}]}), encoding="utf-8")
        return path

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def status(code: int, reason: str, message: str, **details: Any) -> Answer:
    """The Status object with which an API server refuses."""
    return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                  "message": message, "reason": reason, "details": details, "code": code}
