"""The learner's namespace: made, or labelled for injection, before the first write."""

from __future__ import annotations

from typing import Any

from helpers.errors import NotFound
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import About, CapabilityMissing, Forbidden
from helpers.mesh.cluster.ownership import LABEL, LABELLED, MANAGER

_INJECTION = "istio-injection"
_REVISION = "istio.io/rev"
_AMBIENT = "istio.io/dataplane-mode"


def read(connection: Connection, name: str) -> dict[str, Any] | None:
    """The namespace, or None when it is not there."""
    try:
        found: dict[str, Any] = connection.request(
            "GET", f"/api/v1/namespaces/{name}", about=About("get", "namespaces", "Namespace",
                                                             name=name))
        return found
    except NotFound:
        return None


def described(connection: Connection, name: str) -> str:
    """The namespace and whether it injects, in words."""
    try:
        found = read(connection, name)
    except Forbidden:
        return f"{name} (may not be looked at)"
    if found is None:
        return f"{name} (will be made)"
    return f"{name}, injection {'on' if injects(found) else 'off'}"


def injects(namespace: dict[str, Any]) -> bool:
    """Whether Istio puts a sidecar into pods that start there."""
    labels = namespace["metadata"].get("labels") or {}
    return labels.get(_INJECTION) == "enabled" or (
        _INJECTION not in labels and _REVISION in labels)


def prepare(connection: Connection, name: str) -> None:
    """Make the namespace with injection, or turn injection on where nobody decided yet.

    Where the namespace may not be looked at, it is taken to be as it should.

    Raises:
        CapabilityMissing: the namespace is in ambient mode, or injection is switched off.
        Forbidden: it is not there, and may not be made.
    """
    try:
        found = read(connection, name)
    except Forbidden:
        return  # who may not look at it cannot change it; what is missing shows later
    if found is None:
        connection.request(
            "POST", "/api/v1/namespaces", query={"fieldManager": MANAGER},
            body={"apiVersion": "v1", "kind": "Namespace",
                  "metadata": {"name": name, "labels": {LABEL: name, _INJECTION: "enabled"}}},
            about=About("create", "namespaces", "Namespace", name=name))
        return
    labels = found["metadata"].get("labels") or {}
    if labels.get(_AMBIENT) == "ambient":
        raise CapabilityMissing(
            f"namespace {name} is in ambient mode: its pods have no sidecar",
            cause="the article's plugin runs in a sidecar; in ambient mode one runs in a "
            "waypoint, which this workbook does not deal with",
            fix="--namespace NAME, another namespace, which gets sidecars",
        )
    if injects(found):
        return
    if _INJECTION in labels:
        raise CapabilityMissing(
            f"injection is switched off in namespace {name}: "
            f"{_INJECTION}={labels[_INJECTION]}",
            cause="whoever runs the cluster wants no sidecars there, and a plugin needs one",
            fix=f"--namespace NAME, another one; or: kubectl label namespace {name} "
            f"{_INJECTION}=enabled --overwrite",
        )
    _patch(connection, name, {"labels": {_INJECTION: "enabled"}, "annotations": {LABELLED: "1"}})


def give_back(connection: Connection, name: str) -> str:
    """Take our injection label off, or delete the namespace if it is ours; what was done."""
    try:
        found = read(connection, name)
    except Forbidden:
        return ""
    if found is None:
        return ""
    meta = found["metadata"]
    if (meta.get("labels") or {}).get(LABEL) == name:
        connection.request("DELETE", f"/api/v1/namespaces/{name}",
                           about=About("delete", "namespaces", "Namespace", name=name))
        return f"namespace/{name} deleted (it goes with all that is in it, in a moment)"
    if LABELLED in (meta.get("annotations") or {}):
        _patch(connection, name, {"labels": {_INJECTION: None}, "annotations": {LABELLED: None}})
        return f"namespace/{name}: the label {_INJECTION} taken off again"
    return ""


def _patch(connection: Connection, name: str, metadata: dict[str, Any]) -> None:
    connection.request(
        "PATCH", f"/api/v1/namespaces/{name}", query={"fieldManager": MANAGER},
        content_type="application/merge-patch+json", body={"metadata": metadata},
        about=About("patch", "namespaces", "Namespace", name=name))
