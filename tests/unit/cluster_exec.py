"""An API server on loopback that answers exec: the real websocket client talks to it."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def exited(code: int) -> bytes:
    """What a kubelet sends on the status channel when a program has ended."""
    if not code:
        return b'{"status": "Success"}'
    return json.dumps({
        "status": "Failure", "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}).encode()


def failed(message: str) -> bytes:
    """The same when it could not be started."""
    return json.dumps({"status": "Failure", "reason": "InternalError", "message": message}).encode()


class ExecServer:
    """Takes one exec after the other; sends the frames that it was given.

    Args:
        frames: (channel, bytes) in order; bytes of None wait for the end of stdin.
        refuse: an HTTP status and a body in place of the websocket.
        gone: the pod was removed meanwhile.

    Attributes:
        commands: the words of each exec.
        stdin: what came on channel 0, of all.
    """

    def __init__(self, frames: Sequence[tuple[int, bytes | None]] = (), *,
                 refuse: tuple[int, Any] | None = None, gone: bool = False) -> None:
        self._frames, self._refuse, self._gone = frames, refuse, gone
        self.commands: list[list[str]] = []
        self.stdin = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and free the port."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                self._one(client)

    def _one(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        path = first.split(" ")[1]
        if self._refuse or not urlsplit(path).path.endswith("/exec"):
            code, body = self._refuse or (
                (404, {"kind": "Status", "code": 404, "message": "gone", "reason": "NotFound"})
                if self._gone else (200, {"kind": "Pod", "metadata": {"name": "x"}}))
            data = json.dumps(body).encode()
            client.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                           b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
                           % (code, len(data), data))
            return
        self.commands.append([v for k, v in parse_qsl(urlsplit(path).query) if k == "command"])
        key = hashlib.sha1((headers["sec-websocket-key"] + _MAGIC).encode()).digest()
        client.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Accept: "
            + base64.b64encode(key) + b"\r\n\r\n")
        for channel, data in self._frames:
            if data is None:
                self._until_stdin_ends(client)
            else:
                payload = bytes([channel]) + data
                size = (bytes([len(payload)]) if len(payload) < 126 else
                        b"\x7e" + struct.pack(">H", len(payload)))
                client.sendall(b"\x82" + size + payload)

    def _until_stdin_ends(self, client: socket.socket) -> None:
        while True:
            _, size = _exactly(client, 2)
            size &= 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", _exactly(client, 2))
            mask = _exactly(client, 4)
            data = bytes(b ^ mask[n % 4] for n, b in enumerate(_exactly(client, size)))
            if data[:1] == b"\xff":  # version 5: the channel in the second byte has ended
                return
            self.stdin += data[1:]


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise ConnectionError("the client is gone")
        data += part
    return data
