"""The local mesh: one real Envoy as productpage's sidecar, on this computer.

Its modules are named after the parts of a cluster that they stand for: `objects` (the API
server), `kubelet`, `istiod`, `agent` (pilot-agent), `envoy`, `bookinfo`.
"""

from __future__ import annotations

from helpers.mesh.local.mesh import LocalMesh

__all__ = ["LocalMesh"]
