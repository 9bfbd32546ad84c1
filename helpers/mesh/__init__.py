"""Where a module is deployed: one protocol, a local mesh now, a cluster later."""

from __future__ import annotations

from helpers.errors import BadInput
from helpers.mesh.base import (
    CurlResult,
    Mesh,
    PodInfo,
)

__all__ = ["CurlResult", "Mesh", "PodInfo", "open_mesh"]


def open_mesh(kind: str = "local") -> Mesh:
    """Open a mesh; everything that it needs is started or found again.

    Args:
        kind: "local" (one real Envoy on this computer).

    Raises:
        BadInput: `kind` names no mesh.
    """
    if kind == "local":
        from helpers.mesh.local import LocalMesh  # starts no process until it is used

        return LocalMesh()
    raise BadInput(
        f"no mesh is called {kind!r}",
        cause="this version of the workbook knows: 'local'",
        fix="open_mesh('local')",
    )
