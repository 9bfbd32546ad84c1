"""Why plain text is refused: PeerAuthentication STRICT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helpers.errors import WorkbookError
from helpers.mesh.cluster import podfacts
from helpers.mesh.cluster.errors import About

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

_ROOT = "istio-system"


def notes(connection: Connection, pod: dict[str, Any]) -> tuple[str, ...]:
    """What to say of a request from istio-proxy that was reset; nothing where mTLS is not why."""
    where = pod["metadata"]["namespace"]
    mode = ""
    unknown = False
    for namespace in (where, _ROOT):
        try:
            found = connection.request(
                "GET",
                f"/apis/security.istio.io/v1/namespaces/{namespace}/peerauthentications",
                about=About("list", "peerauthentications.security.istio.io", namespace=namespace),
            )
        except WorkbookError:  # may not be looked at, or this Istio has none
            unknown = True
            continue
        if any((each.get("spec") or {}).get("mtls", {}).get("mode") == "STRICT"
               for each in found["items"]):
            mode = f"PeerAuthentication STRICT in namespace {namespace}"
            break
    if not mode and not unknown:
        return ()
    app = next((name for name in podfacts.containers(pod) if name != podfacts.SIDECAR), "")
    return (
        (mode or "perhaps PeerAuthentication STRICT, which may not be looked at here")
        + ": what istio-proxy itself sends is not captured, so it is plain text and bypasses "
        "mTLS",
        f'send it from the application: container="{app}", or from another pod with a sidecar: '
        "pod=…, container=…",
    )
