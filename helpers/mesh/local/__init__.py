"""The local mesh: one real Envoy as productpage's sidecar, on this computer.

Its modules are named after the parts of a cluster that they stand for: `objects` (the API
server), `kubelet`, `istiod`, `agent` (pilot-agent), `envoy`, `bookinfo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.mesh.local.mesh import LocalMesh

__all__ = ["LocalMesh"]


def __getattr__(name: str) -> Any:
    # `python -m helpers.mesh.local.bookinfo` runs four times: it must not load the whole mesh.
    if name == "LocalMesh":
        from helpers.mesh.local.mesh import LocalMesh

        return LocalMesh
    raise AttributeError(name)
