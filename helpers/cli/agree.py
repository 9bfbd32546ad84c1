"""A cluster is opened, shown, and agreed to once, before anything is changed in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from helpers.cli.where import YES, Where
from helpers.mesh import open_mesh

if TYPE_CHECKING:
    from helpers.mesh.cluster.mesh import ClusterMesh


def agree(where: Where) -> ClusterMesh:
    """Open the cluster that `where` names and ask, unless --yes was given or it is our own.

    What was agreed goes into the environment, so that no kernel asks again.

    Raises:
        Cancelled: the learner said no, or nobody is there to ask.
        WorkbookError: the cluster cannot be reached.
    """
    os.environ.update(where.environment())
    mesh = cast("ClusterMesh", open_mesh("cluster"))
    try:
        mesh.agree()
    except BaseException:
        mesh.close()
        raise
    os.environ[YES] = "1"
    return mesh
