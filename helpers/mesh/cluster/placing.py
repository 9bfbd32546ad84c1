"""The learner's namespace: made, or labelled for injection, before the first write."""

from __future__ import annotations

import time
from typing import Any

from helpers.errors import NotFound
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import (
    About,
    CapabilityMissing,
    Forbidden,
    NamespaceTerminating,
)
from helpers.mesh.cluster.ownership import LABEL, LABELLED, MANAGER

_INJECTION = "istio-injection"
_REVISION = "istio.io/rev"
_AMBIENT = "istio.io/dataplane-mode"
#: Pods have 30 s to end, and the namespace's controller looks again after that.
_GONE_SECONDS = 90.0
_PAUSE = 0.25


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
    if found is not None and (found.get("status") or {}).get("phase") == "Terminating":
        if not _is_gone(connection, name):
            raise NamespaceTerminating(
                f"namespace {name} is still being deleted after {_GONE_SECONDS:.0f} s",
                cause="its pods take their time, or a finalizer holds something in it",
                fix=f"kubectl get namespace {name} -o yaml names what holds it")
        found = None
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
    try:
        _patch(connection, name,
               {"labels": {_INJECTION: "enabled"}, "annotations": {LABELLED: "1"}})
    except Forbidden as error:
        raise CapabilityMissing(
            f"namespace {name} has no sidecar injection, and you may not switch it on",
            cause=error.cause,
            fix="ask whoever runs the cluster for: kubectl label namespace "
            f"{name} {_INJECTION}=enabled") from error


def is_ours(connection: Connection, name: str) -> bool | None:
    """Whether the workbook made a namespace; None when it is not there or may not be seen."""
    try:
        found = read(connection, name)
    except Forbidden:
        return None
    return None if found is None else LABEL in (found["metadata"].get("labels") or {})


def remove(connection: Connection, name: str) -> str:
    """Delete a namespace with all that is in it, and wait for its end; what was done."""
    connection.request("DELETE", f"/api/v1/namespaces/{name}",
                       about=About("delete", "namespaces", "Namespace", name=name))
    if _is_gone(connection, name):
        return f"namespace/{name} deleted"
    return f"namespace/{name} deleted; its pods are still ending"


def give_back(connection: Connection, name: str) -> str:
    """Take our injection label off a namespace that was there before us; what was done."""
    try:
        found = read(connection, name)
    except Forbidden:
        return ""
    if found is None or LABELLED not in (found["metadata"].get("annotations") or {}):
        return ""
    _patch(connection, name, {"labels": {_INJECTION: None}, "annotations": {LABELLED: None}})
    return f"namespace/{name}: the label {_INJECTION} taken off again"


def _is_gone(connection: Connection, name: str) -> bool:
    deadline = time.monotonic() + _GONE_SECONDS
    while read(connection, name) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _patch(connection: Connection, name: str, metadata: dict[str, Any]) -> None:
    connection.request(
        "PATCH", f"/api/v1/namespaces/{name}", query={"fieldManager": MANAGER},
        content_type="application/merge-patch+json", body={"metadata": metadata},
        about=About("patch", "namespaces", "Namespace", name=name))
