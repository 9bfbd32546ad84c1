"""What every mesh does: one suite, run on the local mesh (tests/mesh) and on a cluster.

A test module takes it over with ``from contract.… import *``; its conftest gives the fixtures
`mesh` (Bookinfo, no plugin), `deployed` (the corrected filter at work) and `wasm`.
"""

from __future__ import annotations

from helpers.mesh.base import Mesh, PodInfo


def page(mesh: Mesh) -> PodInfo:
    """Productpage's only pod; in a cluster the one before it may still be ending."""
    (pod,) = [each for each in mesh.pods("app=productpage").pods if each.status == "Running"]
    return pod
