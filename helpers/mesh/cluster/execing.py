"""Programs in a container, by the API server's exec over a websocket: kubectl exec's part.

The framing is kubernetes.stream's: one byte of channel (0 stdin, 1 stdout, 2 stderr, 3 status)
and then bytes. Version 5 of the protocol can also say that stdin has ended; version 4, all that
API servers before 1.30 speak, cannot, so nothing here waits for that
(https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets).
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from helpers.errors import CommandFailed, NotFound, NotReady

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

_STDIN, _STATUS = 0, 3
_STDOUT, _STDERR = 1, 2
#: Seconds that one read or write of the connection itself may take.
_IO_SECONDS = 30.0
#: Runs a command for at most $1 seconds where the image has `timeout` (coreutils, busybox).
_BOUNDED = (
    's=$1; shift; if command -v timeout >/dev/null 2>&1; then exec timeout -s KILL "$s" "$@"; fi; '
    'exec "$@"'
)
_MISSING = re.compile(
    r'exec: \\?"(?P<name>[^"\\]+)\\?": (?:executable file not found|stat [^:]+: no such file)'
    r"|(?P<path>/\S+): no such file or directory"
)
#: The API server's words for a kubelet that it cannot reach.
_NO_WAY = re.compile("error (sending request|dialing backend|upgrading connection)")


class PodGone(NotReady):
    """The pod was removed while it was asked."""


class NotRunning(NotReady):
    """The container is there and does not run."""


class ProgramMissing(NotFound):
    """The image has no such program."""


class Broken(NotReady):
    """The way to the pod broke: the API server or the kubelet restarted, or a network in between.

    Whether the program ran is not known; one that only reads may be run again.
    """


class TimedOut(NotReady):
    """The program had not ended in time."""


@dataclass(frozen=True)
class Place:
    """A container of a pod."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True)
class Outcome:
    """What a program left: its exit code and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        """stderr as text."""
        return self.stderr.decode("utf-8", "replace").strip()


def run(
    connection: Connection,
    place: Place,
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout: float = 30.0,
) -> Outcome:
    """Run a program to its end.

    Args:
        stdin: what it reads; it must know by itself where that ends (see this module's text).
        timeout: seconds; when they are over the connection is closed, which ends a program
            that reads stdin or writes. `bounded` makes others end, too.

    Raises:
        PodGone, NotRunning, ProgramMissing, Broken, TimedOut: as their names say.
        NotFound: there is no such pod or container.
        WorkbookError: the API server refuses it, or cannot be reached.
    """
    deadline = time.monotonic() + timeout
    with contextlib.closing(Program(connection, place, command, stdin=bool(stdin))) as program:
        for start in range(0, len(stdin), 32768):
            program.write(stdin[start : start + 32768])
        if stdin:
            program.end_input()
        out, err = bytearray(), bytearray()
        while True:
            going = program.pump(max(0.0, min(1.0, deadline - time.monotonic())))
            out += program.stdout()
            err += program.stderr()
            if not going:
                break
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"{command[0]} in container {place.container} of pod {place.pod} had not "
                    f"ended after {timeout:.0f} s",
                    cause="it waits for something, or the node is busy",
                    fix="look at mesh.pods(); give it more time with timeout=…",
                    detail=(out + err).decode("utf-8", "replace"),
                )
        return Outcome(program.exit_code(), bytes(out), bytes(err))


def bounded(command: Sequence[str], seconds: float) -> list[str]:
    """The command so that it ends by itself after `seconds`, where the image can do that."""
    return ["sh", "-c", _BOUNDED, "sh", f"{max(1, round(seconds))}", *command]


class Program:
    """A program that runs in a container. One thread at a time may use it.

    Args:
        stdin: whether it gets one.

    Raises:
        NotFound, NotRunning: there is no such pod or container, or it does not run.
        WorkbookError: the API server refuses it, or cannot be reached.
    """

    def __init__(
        self, connection: Connection, place: Place, command: Sequence[str], *, stdin: bool
    ) -> None:
        query = [("command", word) for word in command]
        query += [("container", place.container), ("stdout", "true"), ("stderr", "true")]
        if stdin:
            query.append(("stdin", "true"))
        self._connection, self._place, self._command = connection, place, command
        try:
            self._client = connection.call(
                _open, connection, f"{_pod_path(place.namespace, place.pod)}/exec", query
            )
        except (NotFound, NotReady):
            raise
        except Exception as error:
            self._say_why(str(error), error)
            raise
        self._status = b""

    def fileno(self) -> int:
        """The connection's descriptor, to wait for."""
        found: int = self._client.sock.sock.fileno()
        return found

    def buffered(self) -> bool:
        """Whether bytes are there that waiting for the descriptor would not show."""
        raw = self._client.sock.sock
        return isinstance(raw, ssl.SSLSocket) and raw.pending() > 0

    def pump(self, seconds: float) -> bool:
        """Take what has come, waiting at most `seconds`; whether the program still runs.

        Raises:
            PodGone: the connection broke because the pod was removed.
            Broken: it broke for another reason.
        """
        from websocket import WebSocketException

        client = self._client
        broken: Exception | None = None
        try:
            client.update(timeout=seconds)
        except (WebSocketException, OSError, ValueError) as error:
            broken = error
        # It takes all frames that are there, and what it took before the end counts.
        self._status += client._channels.pop(_STATUS, b"")
        if self._status:
            return False
        if broken or not client.is_open():
            self._broken(broken)
        return True

    def stdout(self) -> bytes:
        """What came on stdout since the last call."""
        return bytes(self._client._channels.pop(_STDOUT, b""))

    def stderr(self) -> bytes:
        """What came on stderr since the last call."""
        return bytes(self._client._channels.pop(_STDERR, b""))

    def write(self, data: bytes) -> None:
        """Give it bytes on stdin."""
        from websocket import WebSocketException

        try:
            self._client.write_channel(_STDIN, data)
        except (WebSocketException, OSError) as error:
            self._broken(error)

    def end_input(self) -> None:
        """Say that stdin has ended, where the API server knows how to pass that on."""
        from websocket import WebSocketException

        # It may have ended already without reading to the end, and its answer is what counts.
        with contextlib.suppress(WebSocketException, OSError):
            self._client.close_channel(_STDIN)

    def exit_code(self) -> int:
        """The code with which it ended; `pump` said that it has.

        Raises:
            ProgramMissing: it could not be started.
            PodGone: it was ended with its pod.
            CommandFailed: the container's runtime failed.
        """
        text = self._status.decode("utf-8", "replace")
        try:
            status: dict[str, Any] = json.loads(text)
        except ValueError:
            status = {"status": "Failure", "message": text}
        if status.get("status") == "Success":
            return 0
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                code = int(cause["message"])
                if code in (137, 143):  # killed: by us in time, or with the pod
                    self._check_pod()
                return code
        message = str(status.get("message") or text)
        self._say_why(message, None)
        self._check_pod()  # one that is leaving gives a status that says nothing
        raise CommandFailed(
            f"{self._command[0]} could not be run in container {self._place.container} of pod "
            f"{self._place.pod}",
            cause=message,
            fix="look at mesh.pods() and mesh.events()",
        )

    def close(self) -> None:
        """End it: its stdin ends and its output has no reader any more."""
        self.end_input()
        # Not sock.close(): that waits for the other side's goodbye.
        with contextlib.suppress(OSError):
            self._client.sock.shutdown()

    def _broken(self, error: Exception | None) -> None:
        self._check_pod()
        raise Broken(
            f"the connection to container {self._place.container} of pod {self._place.pod} broke",
            cause=str(error) if error else "the API server or the kubelet closed it",
            fix="run this again; a restarted API server needs some seconds",
        ) from error

    def _check_pod(self) -> None:
        check_pod(self._connection, self._place)

    def _say_why(self, message: str, error: Exception | None) -> None:
        """Raise what a message of the API server or the runtime means, if that is known."""
        place = self._place
        found = _MISSING.search(message)
        if found:
            name = found["name"] or found["path"]
            raise ProgramMissing(
                f"container {place.container} of pod {place.pod} has no {name}",
                cause=f"its image does not hold that program: {message}",
                fix="name another container",
            ) from error
        if "container not found" in message or "is not running" in message:
            self._check_pod()
            raise NotRunning(
                f"container {place.container} of pod {place.pod} does not run",
                cause=message,
                fix="look at mesh.pods() and mesh.events(); a crashed container starts again",
            ) from error
        if _NO_WAY.search(message):
            self._check_pod()
            raise Broken(
                f"the API server lost the kubelet of pod {place.pod}",
                cause=message.rpartition('": ')[2] or message,
                fix="run this again; a restarted kubelet needs some seconds",
                detail=message,
            ) from error
        if "is not created or running" in message or "process not running" in message:
            self._check_pod()
            raise NotRunning(
                f"container {place.container} of pod {place.pod} is starting",
                cause=message,
                fix='mesh.wait_ready("productpage-v1")',
            ) from error


def check_pod(connection: Connection, place: Place) -> None:
    """Raise `PodGone` when the pod is not there any more, or is on its way out."""
    gone = ""
    try:
        pod = connection.call(connection.core.read_namespaced_pod, place.pod, place.namespace)
    except NotFound:
        gone = "was removed"
    else:
        if pod.metadata.deletion_timestamp is not None:
            gone = "was removed"
        elif pod.status is not None and pod.status.reason == "Evicted":
            gone = "was evicted"
    if gone:
        raise PodGone(
            f"the pod {place.pod} {gone} while it was asked",
            cause="a rollout, an eviction or a person replaced it",
            fix="mesh.pods() shows its successor; run this again",
        )


def _pod_path(namespace: str, pod: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod}"


def _open(connection: Connection, path: str, query: list[tuple[str, str]]) -> Any:
    """The websocket client of kubernetes.stream for one request."""
    from kubernetes.stream import ws_client

    configuration, url, headers = address(connection, path, query)
    with refusals():
        # It would keep all output a second time: a relay's would grow without end.
        client = ws_client.WSClient(configuration, url, headers, capture_all=False, binary=True)
    client.sock.settimeout(_IO_SECONDS)
    return client


def address(
    connection: Connection, path: str, query: list[tuple[str, str]]
) -> tuple[Any, str, dict[str, str]]:
    """Configuration, websocket URL and headers for a request to the API server."""
    from kubernetes.stream import ws_client

    # stream.stream() exchanges a method of the client while it connects, which other threads
    # use at the same time: so the same request is put together here.
    configuration = connection.api.configuration
    headers = {
        entry["key"]: entry["value"]
        for entry in configuration.auth_settings().values()
        if entry["in"] == "header"
    }
    url = ws_client.get_websocket_url(f"{configuration.host}{path}?{urlencode(query)}")
    return configuration, url, headers


@contextlib.contextmanager
def refusals() -> Any:
    """The API server's refusal of a websocket as what the client raises for any other."""
    from kubernetes.client.exceptions import ApiException
    from websocket import WebSocketBadStatusException, WebSocketException

    try:
        yield
    except WebSocketBadStatusException as error:
        body = error.resp_body or b""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        refused = ApiException(status=error.status_code, reason=text or str(error))
        refused.body = text
        raise refused from error
    except WebSocketException as error:  # the connection ended while it was made
        raise ConnectionError(str(error)) from error
