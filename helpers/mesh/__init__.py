"""Where a module is deployed: one protocol, a local mesh now, a cluster later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.errors import BadInput

if TYPE_CHECKING:
    from helpers.mesh.base import Mesh

__all__ = ["open_mesh"]


def open_mesh(kind: str = "local") -> Mesh:
    """Open a mesh; what it had running is found again.

    Args:
        kind: "local" (one real Envoy on this computer).

    Raises:
        BadInput: `kind` names no mesh.
    """
    if kind == "local":
        from helpers.mesh.local.mesh import LocalMesh  # only what is asked for is loaded

        return LocalMesh()
    raise BadInput(
        f"no mesh is called {kind!r}",
        cause="this version of the workbook knows: 'local'",
        fix="open_mesh('local')",
    )
