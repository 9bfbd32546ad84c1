"""ClusterMesh: the Mesh protocol on a real Kubernetes with a real Istio."""

from __future__ import annotations

from helpers.mesh.cluster.core import Core


class ClusterMesh(Core):
    """A cluster; the verbs are added as they are written."""
