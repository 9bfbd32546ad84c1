"""Whether a pod's application takes connections yet.

Kubernetes calls a container without readiness probe ready as soon as it runs. Istio's Bookinfo
has no probes, so for a second or two after the rollout requests get 503 from the sidecar; a
learner's first request should not be one of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.errors import WorkbookError
from helpers.mesh.cluster import forward, podfacts
from helpers.mesh.cluster.execing import Place

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

_PAUSE = 0.2
#: An application that has not begun to listen after so long does not: that is its own affair.
_OLD_SECONDS = 60.0


def wait(
    connection: Connection, pods: Sequence[Mapping[str, Any]], *, timeout: float
) -> tuple[str, ...]:
    """Wait until the young ones of ready pods listen at their containers' ports.

    Returns:
        Remarks: a pod that does not, or that cannot be asked.
    """
    deadline = time.monotonic() + min(timeout, _OLD_SECONDS)
    notes = []
    for pod in pods:
        if time.time() - podfacts.created(pod) > _OLD_SECONDS:
            continue
        place = Place(pod["metadata"]["namespace"], pod["metadata"]["name"], "")
        for port in _unprobed(pod):
            try:
                while not forward.listens(connection, place, port):
                    if time.monotonic() > deadline:
                        notes.append(f"nothing listens at port {port} of pod {place.pod} yet")
                        break
                    time.sleep(_PAUSE)
            except WorkbookError as error:  # port-forward is not allowed, or the pod has gone
                notes.append(f"not known whether pod {place.pod} listens yet: {error.what}")
    return tuple(notes)


def _unprobed(pod: Mapping[str, Any]) -> list[int]:
    """TCP ports of containers of which Kubernetes does not know whether they listen."""
    return [
        int(port["containerPort"])
        for container in pod["spec"]["containers"]
        if "readinessProbe" not in container and container["name"] != podfacts.SIDECAR
        for port in container.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    ]
