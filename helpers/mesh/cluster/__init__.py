"""The cluster mesh: any Kubernetes with Istio that a kubeconfig leads to.

`settings` says which cluster; `connection` speaks with its API server and `errors` puts what
went wrong into words; `consent` asks before the first write; `labels`, `restore` and `clean`
know what is ours; `capabilities` knows which Istio it is; the verbs stand on `core`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.mesh.cluster.mesh import ClusterMesh

__all__ = ["ClusterMesh"]


def __getattr__(name: str) -> Any:
    # The settings are read by commands that never need the whole mesh.
    if name == "ClusterMesh":
        from helpers.mesh.cluster.mesh import ClusterMesh

        return ClusterMesh
    raise AttributeError(name)
