"""How a manifest is sent: its bytes, and the dry run that says what is wrong with it first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from helpers.errors import BadManifest, WorkbookError
from helpers.mesh.cluster import ownership
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import About, FieldConflict, StrategyMissing
from helpers.mesh.cluster.resources import Resource
from helpers.mesh.local.schema_istio import without_nulls

_APPLY = "application/apply-patch+yaml"
#: The API server tells of every mistake, also of fields that it does not know, as kubectl asks.
WRITE: Mapping[str, str] = {"fieldManager": ownership.MANAGER, "fieldValidation": "Strict"}

# What YAML does not take as it is in a quoted text (yaml.org/spec/1.2.2/#51-character-set), and
# what half of a surrogate pair would be: these may be written as \uXXXX. All else may not: the
# server's YAML reader refuses the escaped pairs that JSON has for letters beyond U+FFFF.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def as_yaml(document: Mapping[str, Any]) -> bytes:
    """A document as JSON that is YAML, too: the body of a server-side apply is read as YAML."""
    if document.get("kind") in ("WasmPlugin", "TrafficExtension"):
        # Creating drops a null, as kubectl's apply does; a server-side apply calls it a wrong type.
        document = {**document, "spec": without_nulls(document.get("spec"))}
    text = json.dumps(document, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def send(
    connection: Connection, which: Resource, document: Mapping[str, Any], about: About
) -> dict[str, Any]:
    """Apply a document on the server's side; the object as it is then.

    Raises:
        FieldConflict: a field that somebody else has set would get another value.
        WorkbookError: whatever else the API server says.
    """
    path = which.path(str(document["metadata"].get("namespace", "")), document["metadata"]["name"])

    def once(force: bool) -> dict[str, Any]:
        found: dict[str, Any] = connection.request(
            "PATCH", path, content_type=_APPLY, query={**WRITE, "force": force},
            body=as_yaml(document), about=about)
        return found

    try:
        return once(force=False)
    except FieldConflict as error:
        # Our own patches count as another manager's (an update is no apply): these we may undo.
        if error.owners != {ownership.MANAGER}:
            raise
        return once(force=True)


def check(
    connection: Connection, which: Resource, document: Mapping[str, Any], *, source: str
) -> None:
    """Ask the API server what it would say to a new object like this; nothing is stored.

    A server-side apply has words of its own for an unknown field and a wrong type, without the
    field's path as kubectl shows it. A dry run of creating has kubectl's, and asking for all
    objects of a file first means that a file with a mistake changes nothing.

    Args:
        source: the file that the document came from.

    Raises:
        BadManifest: the object itself is refused; whatever else the server says (the object is
            there already, its namespace is not, a quota) is left to the apply that follows.
    """
    name, where = document["metadata"]["name"], document["metadata"].get("namespace", "")
    try:
        connection.request(
            "POST",
            which.path(where),
            query={**WRITE, "dryRun": "All"},
            body=dict(document),
            about=which.about("create", where, name, source=source, doing="creating"),
            writes=False,
        )
    except BadManifest as error:
        # A webhook with side effects takes no dry run; it is asked when it counts.
        if "does not support dry run" not in error.what:
            raise _told_better(error) from error
    except WorkbookError:
        return  # the apply meets it, too, and says so


def _told_better(error: BadManifest) -> BadManifest:
    """A strategy that only an older Istio refuses is not the manifest's mistake."""
    refused = 'failStrategy: Unsupported value: "FAIL_RELOAD"'
    if refused not in error.what:
        return error
    better = StrategyMissing(
        error.what,
        cause="this cluster's Istio is too old for FAIL_RELOAD",
        fix="use FAIL_CLOSE or FAIL_OPEN, or a cluster with a newer Istio",
    )
    better.field = error.field
    return better
