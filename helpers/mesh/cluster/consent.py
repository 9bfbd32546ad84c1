"""Before the first write: where it would go, what may be done there, and one question."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers import files, paths
from helpers.errors import Cancelled
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import About, NotAgreed

_SCHEMA = 1

#: What the notebooks do, as RBAC names it: verb, group, resource, subresource.
NEEDS: Sequence[tuple[str, str, str, str]] = (
    ("create", "", "configmaps", ""), ("delete", "", "configmaps", ""),
    ("patch", "apps", "deployments", ""), ("create", "apps", "deployments", ""),
    ("create", "", "services", ""), ("create", "", "serviceaccounts", ""),
    ("create", "extensions.istio.io", "wasmplugins", ""),
    ("patch", "extensions.istio.io", "wasmplugins", ""),
    ("get", "", "pods", "log"), ("create", "", "pods", "exec"),
    ("create", "", "pods", "portforward"), ("patch", "", "pods", ""), ("list", "", "events", ""),
)


def rights(connection: Connection, namespace: str) -> list[tuple[str, bool]]:
    """Each of NEEDS in words, and whether it is allowed (SelfSubjectAccessReview)."""
    found = []
    for verb, group, resource, sub in NEEDS:
        asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource,
                 "subresource": sub}
        answer = connection.request(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", writes=False,
            body={"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                  "spec": {"resourceAttributes": asked}},
            about=About("create", "selfsubjectaccessreviews.authorization.k8s.io"))
        name = f"{resource}{f'.{group}' if group else ''}{f'/{sub}' if sub else ''}"
        found.append((f"{verb} {name}", bool(answer["status"]["allowed"])))
    return found


def is_given(connection: Connection, namespace: str) -> bool:
    """Whether somebody agreed already, for this server, context and namespace."""
    return _path(connection, namespace).exists()


def ask(text: str, connection: Connection, namespace: str) -> None:
    """Ask on the terminal and remember a yes for this server, context and namespace.

    Args:
        text: what is known of the cluster, shown first.

    Raises:
        Cancelled: the answer is no.
        NotAgreed: there is no terminal to ask on.
    """
    if is_given(connection, namespace):
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise NotAgreed(
            f"nobody has agreed yet that the workbook changes things in namespace {namespace} of "
            f"context {connection.context}",
            cause="it asks once before its first change, and cannot ask here",
            fix='open_mesh("cluster", yes=True), or ./workbook lab --mesh cluster, which asks',
            detail=text)
    print(text)
    try:
        answer = input(
            f"May the workbook make and change objects in namespace {namespace}? [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise Cancelled("nothing was changed", cause="you did not agree",
                        fix="--context and --namespace name another place")
    place = {"server": connection.server, "context": connection.context, "namespace": namespace}
    files.write_json(_path(connection, namespace), place, version=_SCHEMA)


def _path(connection: Connection, namespace: str) -> Path:
    what = "\0".join((connection.server, connection.context, namespace))
    return paths.state() / "agreed" / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"
