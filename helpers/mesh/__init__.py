"""Where a module is deployed: one protocol; this computer, or a cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from helpers.errors import BadInput

if TYPE_CHECKING:
    from helpers.mesh.base import Mesh

__all__ = ["open_mesh"]


def open_mesh(kind: str | None = None, **options: Any) -> Mesh:
    """Open a mesh; what it had running is found again.

    Args:
        kind: "local" (one real Envoy on this computer) or "cluster" (a kubeconfig); None is
            what WORKBOOK_MESH says, which `./workbook lab --mesh` and `run --mesh` set, else
            "local". So a notebook that says nothing runs on either.
        options: for "cluster" only, each in place of its environment variable: `kubeconfig`,
            `context`, `namespace`, `images`, `yes`.

    Raises:
        BadInput: `kind` names no mesh, or it takes no options.
        WorkbookError: the cluster cannot be reached.
    """
    wanted = kind if kind is not None else os.environ.get("WORKBOOK_MESH") or "local"
    # Only what is asked for is loaded: the kubernetes client takes a second.
    if wanted == "local":
        if options:
            raise BadInput(
                f"the local mesh takes no {', '.join(sorted(options))}",
                cause="that is an option of a cluster",
                fix="open_mesh('cluster', …), or leave it out",
            )
        from helpers.mesh.local.mesh import LocalMesh

        return LocalMesh()
    if wanted == "cluster":
        from helpers.mesh.cluster.mesh import ClusterMesh

        return ClusterMesh(**options)
    raise BadInput(
        f"no mesh is called {wanted!r}",
        cause="named in the call" if kind is not None else "WORKBOOK_MESH names it",
        fix="there are 'local' and 'cluster'",
    )
