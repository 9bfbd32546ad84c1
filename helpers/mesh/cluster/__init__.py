"""The cluster mesh: any Kubernetes with Istio that a kubeconfig leads to.

`settings` says which cluster; `connection` speaks with its API server, and `transport`, `answers`
and `denials` put what went wrong into the words of `errors`; `resources` knows which kinds there
are, `about_cluster` which Istio; `consent` asks before the first write, `placing` sees to the
namespace; `ownership` and `clean` know what is ours; the verbs stand on `core`.
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
