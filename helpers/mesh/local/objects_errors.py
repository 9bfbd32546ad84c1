"""What the store says when it has not what was asked for."""

from __future__ import annotations

from helpers.errors import NotFound
from helpers.mesh.local.kinds import Kind


def not_found(which: Kind, name: str) -> NotFound:
    """There is no object of that kind and name, as kubectl words it."""
    return NotFound(
        f'Error from server (NotFound): {which.resource} "{name}" not found',
        cause="no such object in this namespace",
        fix=f"look with: kubectl get {which.plural} -A",
    )


def no_namespace(name: str, where: str = "") -> NotFound:
    """An object names a namespace that does not exist; `where` precedes it."""
    return NotFound(
        f'Error from server (NotFound): {where}namespaces "{name}" not found',
        cause="an object can only be put into a namespace that exists",
        fix=f"create it first: kubectl create namespace {name}",
    )
