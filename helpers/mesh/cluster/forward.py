"""A way to a port of a pod through the API server: kubectl port-forward's part.

It needs nothing in the image, so Envoy's admin interface can be read in a distroless sidecar,
too. The connection begins inside the pod, at localhost, where the sidecar does not capture: for
requests to the application that is the wrong way in (see `relay`).
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from helpers.errors import CommandFailed, MeshDown, NotReady
from helpers.mesh.cluster.execing import Place, address, check_pod, refusals
from helpers.mesh.local.envoy_admin import Admin

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

ADMIN_PORT = 15000
_SECONDS = 15.0
#: The kubelet says within some ten milliseconds that nothing listens.
_REFUSED_SECONDS = 0.3


class _Http(http.client.HTTPConnection):
    """HTTP over a port-forward."""

    def __init__(self, connection: Connection, place: Place, port: int) -> None:
        super().__init__("localhost", port, timeout=_SECONDS)
        self._connection, self._place = connection, place
        self.forward: Any = None

    def connect(self) -> None:
        path = f"/api/v1/namespaces/{self._place.namespace}/pods/{self._place.pod}/portforward"
        self.forward = self._connection.call(_open, self._connection, path, self.port)
        self.sock = self.forward.socket(self.port)
        self.sock.settimeout(_SECONDS)

    def close(self) -> None:
        super().close()
        if self.forward is not None:
            self.forward.close()  # ends its thread, and the websocket with it
            self.forward = None


def _open(connection: Connection, path: str, port: int) -> Any:
    from kubernetes.stream import ws_client

    configuration, url, headers = address(connection, path, [("ports", str(port))])
    with refusals():
        websocket = ws_client.create_websocket(configuration, url, headers)
    return _forward_class()(websocket, [port])


@functools.cache
def _forward_class() -> Any:
    """kubernetes' PortForward, whose thread leaves nothing open when the connection breaks."""
    from kubernetes.stream import ws_client
    from websocket import WebSocketException

    class Forward(ws_client.PortForward):
        def _proxy(self) -> None:
            # A broken connection: whoever reads the port's socket sees its end.
            with contextlib.suppress(OSError, ValueError, WebSocketException):
                super()._proxy()  # type: ignore[no-untyped-call]
            for port in self.local_ports.values():
                port.python.close()
            self.websocket.shutdown()

    return Forward


def listens(connection: Connection, place: Place, port: int) -> bool:
    """Whether a port of the pod takes connections at localhost.

    Raises:
        WorkbookError: as `Connection.call`.
    """
    path = f"/api/v1/namespaces/{place.namespace}/pods/{place.pod}/portforward"
    found = connection.call(_open, connection, path, port)
    try:
        socket = found.socket(port)
        socket.settimeout(_REFUSED_SECONDS)
        with contextlib.suppress(ConnectionError):
            return bool(socket.recv(1))
        return False
    except TimeoutError:  # silent, as a server is until it is asked
        return found.error(port) is None
    finally:
        found.close()


class PodAdmin(Admin):
    """Envoy's admin interface in one pod; one connection is kept and made anew when it broke.

    Several threads may use it: their requests follow one another.
    """

    def __init__(self, connection: Connection, place: Place) -> None:
        self._connection, self._place = connection, place
        self._http = _Http(connection, place, ADMIN_PORT)
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the port-forward."""
        with self._lock:
            self._http.close()

    def _call(self, method: str, path: str, params: Mapping[str, str] | None = None) -> str:
        target = f"{path}?{urlencode(params)}" if params else path
        with self._lock:
            # What was kept open may have ended with Envoy, the kubelet or the API server.
            kept = self._http.sock is not None
            try:
                status, text = self._once(method, target)
            except (OSError, http.client.HTTPException) as error:
                try:
                    if not kept:
                        raise
                    status, text = self._once(method, target)
                except (OSError, http.client.HTTPException) as second:
                    self._down(second or error)
        if status != 200:
            raise CommandFailed(
                f"Envoy's admin interface answered {status} to {method} {target}",
                cause=text.strip()[:500],
                fix="look at the pod's log",
            )
        return text

    def _once(self, method: str, target: str) -> tuple[int, str]:
        forward_error: str | None = None
        try:
            self._http.request(method, target)
            answer = self._http.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except BaseException as error:
            with contextlib.suppress(AttributeError):
                forward_error = self._http.forward.error(ADMIN_PORT)
            self._http.close()
            if forward_error and isinstance(error, OSError | http.client.HTTPException):
                raise ConnectionError(forward_error) from error
            raise

    def _down(self, error: Exception) -> None:
        check_pod(self._connection, self._place)
        kind = MeshDown if "refused" in str(error) else NotReady
        raise kind(
            f"Envoy's admin interface in pod {self._place.pod} does not answer",
            cause=f"{type(error).__name__}: {error}",
            fix="mesh.pods() shows whether the sidecar runs; a restarted API server needs some "
            "seconds",
        ) from error
