"""curl in a container: the exact bytes of a request in, the parts of the answer out.

A header may hold bytes that are no text, and exec's arguments are text. So curl reads its
options from stdin, which a shell fills from base64; a body comes by exec's own stdin, cut to its
length because not every API server can say that stdin has ended. Where the image has python3
and no curl, as Istio's productpage, a few lines of Python send the same bytes and report alike.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from helpers.errors import BadInput
from helpers.mesh.local.access import Answer, Headers, Target

#: What the shell answers when the container has neither curl nor python3.
NO_PROGRAM = 127
#: Linux takes at most 128 KiB in one argument; base64 makes four bytes of three.
_MOST = 90_000
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MARK = "workbook-curl"
_REPORT = re.compile(_MARK + r" (\d+) ([0-9.]+) (\d+)")

# $1 options for curl, $2 length of the body or "", $3 the program for Python, then its
# arguments. The body's end is head's end, so curl never waits for exec's.
_SCRIPT = r"""
send() { if [ -n "$n" ]; then head -c "$n"; fi; }
o=$1; n=$2; p=$3; shift 3
if command -v curl >/dev/null 2>&1; then
  send | { exec 3<&0; printf %s "$o" | base64 -d | curl -K -; }
elif command -v python3 >/dev/null 2>&1; then
  send | python3 -c "$p" "$@"
else exit 127; fi
"""

_PYTHON = r"""
import base64, http.client, signal, socket, sys, time
host, port, seconds, method, raw = sys.argv[1:]
code = size = kept = 0
said = ""
begun = time.monotonic()
def late(*_): raise TimeoutError
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, float(seconds))
try:
    body = sys.stdin.buffer.read()
    there = socket.create_connection((host, int(port)))
    there.sendall(base64.b64decode(raw) + body)
    answer = http.client.HTTPResponse(there, method=method)
    answer.begin()
    code = answer.status
    lines = ["HTTP/1.1 %d %s" % (code, answer.reason)]
    lines += ["%s: %s" % pair for pair in answer.getheaders()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    size = len(head)
    sys.stdout.buffer.write(head)
    sys.stdout.buffer.write(answer.read())
except TimeoutError:
    took = (time.monotonic() - begun) * 1000
    kept, said = 28, "Operation timed out after %d milliseconds with 0 bytes received" % took
except socket.gaierror:
    kept, said = 6, "Could not resolve host: " + host
except ConnectionRefusedError:
    kept, said = 7, "Failed to connect to %s port %s: Couldn't connect to server" % (host, port)
except http.client.RemoteDisconnected:
    kept, said = 52, "Empty reply from server"
except ConnectionError as error:
    kept, said = 56, "Recv failure: " + str(error.strerror)
except http.client.IncompleteRead:
    kept, said = 18, "transfer closed with outstanding read data remaining"
except http.client.HTTPException as error:
    kept, said = 1, "Received HTTP/0.9 when not allowed" if not code else str(error)
except OSError as error:
    kept, said = 7, "Failed to connect to %s port %s: %s" % (host, port, error.strerror)
if kept:
    sys.stderr.write("curl: (%d) %s\n" % (kept, said))
sys.stderr.write("MARK %03d %.6f %d\n" % (code, time.monotonic() - begun, size))
sys.exit(kept)
""".strip().replace("MARK", _MARK)


@dataclass(frozen=True)
class Request:
    """One request as it is to be sent."""

    url: str
    where: Target
    method: str
    headers: tuple[tuple[bytes, bytes], ...]
    data: bytes | None
    timeout: float

    def command(self) -> list[str]:
        """What is to run in the container; its stdin is the body.

        Raises:
            BadInput: the headers are longer than a command may be.
        """
        options, raw = _encoded(self._options()), _encoded(self._raw())
        length = str(len(self.data)) if self.data else ""
        words = [self.where.host, str(self.where.port), f"{self.timeout:.3f}", self.method, raw]
        return ["sh", "-c", _SCRIPT, "sh", options, length, _PYTHON, *words]

    def _options(self) -> bytes:
        """The options in the format of curl -K: no byte but \\ and " needs an escape."""
        lines = [b"silent", b"show-error", b"include", b"url = " + _quoted(self.url.encode())]
        lines.append(b"max-time = " + f"{self.timeout:.3f}".encode())
        if self.method == "HEAD":
            lines.append(b"head")
        elif self.method != "GET" or self.data is not None:
            lines.append(b"request = " + _quoted(self.method.encode()))
        if self.data is not None:
            lines.append(b'data-binary = "@/dev/fd/3"')
        for name, value in self.headers:
            # "Name:" alone would take the header away.
            lines.append(b"header = " + _quoted(name + b": " + value if value else name + b";"))
        report = f"%{{stderr}}{_MARK} %{{http_code}} %{{time_total}} %{{size_header}}\\n"
        lines.append(f'write-out = "{report}"'.encode())
        return b"\n".join(lines) + b"\n"

    def _raw(self) -> bytes:
        """The head of the request, for Python."""
        given = {name.lower() for name, _ in self.headers}
        pairs = list(self.headers)
        for name, value in (
            (b"Host", self.where.authority.encode()),
            (b"User-Agent", b"curl/workbook"),
            (b"Accept", b"*/*"),
        ):
            if name.lower() not in given:
                pairs.insert(0, (name, value))
        if self.data is not None and b"content-length" not in given:
            pairs.append((b"Content-Length", str(len(self.data)).encode()))
        pairs.append((b"Connection", b"close"))
        first = f"{self.method} {self.where.path} HTTP/1.1".encode()
        return b"\r\n".join([first, *(n + b": " + v for n, v in pairs), b"", b""])


def request(
    url: str, where: Target, headers: Headers, method: str, data: bytes | None, timeout: float
) -> Request:
    """A request whose parts are checked.

    Raises:
        BadInput: a method, a header or a URL that cannot be sent.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    raw = []
    for name, value in pairs:
        content = value if isinstance(value, bytes) else value.encode()
        if not _TOKEN.fullmatch(name) or re.search(rb"[\0\r\n]", content):
            raise BadInput(
                f"header {name!r}: {value!r} cannot be sent",
                cause="a header's name is a token, and no line break or NUL may stand in its "
                "value",
                fix="take these characters out",
            )
        raw.append((name.encode(), content))
    if not _TOKEN.fullmatch(method):
        raise BadInput(f"{method!r} is no HTTP method", cause="it is a word", fix='method="POST"')
    if re.search(r"[\x00-\x20\x7f]", url):
        raise BadInput(
            f"{url!r} cannot be requested", cause="a URL holds no spaces", fix="write %20"
        )
    full = url if "://" in url else f"http://{url}"
    return Request(full, where, method, tuple(raw), data, timeout)


def answer(code: int, stdout: bytes, stderr: bytes, took_ms: float) -> Answer:
    """What came back.

    Args:
        code: curl's exit code.
        took_ms: the latency where curl did not get to report one.
    """
    said = stderr.decode("utf-8", "replace")
    report = _REPORT.search(said)
    error = next((line for line in said.splitlines() if line.startswith("curl: (")), "")
    if code and not error:
        error = f"curl: ({code}) {_REPORT.sub('', said).strip()}".strip()
    if report is None:
        return Answer(0, {}, "", took_ms, error or f"curl: ({code}) no report")
    size = int(report[3])
    headers = _headers(stdout[:size])
    return Answer(
        int(report[1]),
        headers,
        _text(stdout[size:], headers.get("content-type", "")),
        float(report[2]) * 1000,
        error,
    )


def _headers(head: bytes) -> dict[str, str]:
    """The headers of the last head: one with status 1xx may come before it."""
    last = [block for block in re.split(rb"\r?\n\r?\n", head) if block.strip()][-1:]
    found: dict[str, str] = {}
    for line in re.split(rb"\r?\n", b"".join(last))[1:]:
        raw, _, value = line.partition(b":")
        name = raw.decode("latin-1").strip().lower()
        text = value.strip().decode("utf-8", "replace")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _text(body: bytes, content_type: str) -> str:
    found = re.search(r"charset=\"?([\w-]+)", content_type)
    try:
        return body.decode(found[1] if found else "utf-8", "replace")
    except LookupError:  # the answer names an encoding that does not exist
        return body.decode("utf-8", "replace")


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _encoded(data: bytes) -> str:
    if len(data) > _MOST:
        raise BadInput(
            f"the request's head has {len(data):,} bytes",
            cause=f"what is sent by exec may have {_MOST:,}",
            fix="send fewer or shorter headers",
        )
    return base64.b64encode(data).decode()
