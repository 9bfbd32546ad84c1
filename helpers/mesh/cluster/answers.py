"""What the API server says when it refuses, in kubectl's words, with cause and fix."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from kubernetes.client.exceptions import ApiException

from helpers.errors import AlreadyExists, BadManifest, MeshDown, NotFound, WorkbookError
from helpers.mesh.cluster import denials
from helpers.mesh.cluster.errors import (
    About,
    Conflict,
    FieldConflict,
    ServerFault,
    Unauthorized,
)


@dataclass(frozen=True)
class Answer:
    """The Status object of an answer (apimachinery's metav1.Status).

    Attributes:
        causes: (field, message) of each complaint.
    """

    code: int
    reason: str = ""
    message: str = ""
    kind: str = ""
    name: str = ""
    causes: tuple[tuple[str, str], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def server_says(self) -> str:
        """The message as kubectl prints it."""
        kind = f" ({self.reason})" if self.reason else ""
        return f"Error from server{kind}: {self.message}"


def parse(error: ApiException) -> Answer:
    """The Status in an exception's body; a body that is none becomes the message."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
    try:
        found = json.loads(body or "")
    except ValueError:
        found = None
    if not isinstance(found, Mapping) or found.get("kind") != "Status":
        message = (body or error.reason or "").strip()
        return Answer(int(error.status or 0), message=message)
    details = found.get("details") or {}
    return Answer(
        code=int(found.get("code") or error.status or 0),
        reason=str(found.get("reason") or ""),
        message=str(found.get("message") or ""),
        kind=str(details.get("kind") or ""),
        name=str(details.get("name") or ""),
        causes=tuple(
            (str(each.get("field") or ""), str(each.get("message") or ""))
            for each in details.get("causes") or ()
        ),
        details=details,
    )


def translate(
    error: ApiException, *, context: str, server: str, about: About | None = None
) -> WorkbookError:
    """The error that a learner meets for an answer of the API server's."""
    said, what = parse(error), about or About()
    if down := denials.webhook_down(said.message, said.server_says):
        return down
    if refused := re.search(r'admission webhook "([^"]+)" denied the request', said.message):
        return _by_webhook(said, refused[1], what)
    if said.code == HTTPStatus.UNAUTHORIZED:
        return _unauthorized(said, context, server)
    if said.code == HTTPStatus.FORBIDDEN:
        return denials.forbidden(said.message, said.server_says, what, context)
    if said.code == HTTPStatus.NOT_FOUND:
        return _not_found(said, what)
    if said.code == HTTPStatus.CONFLICT:
        return _conflict(said, what)
    if said.code == HTTPStatus.UNPROCESSABLE_ENTITY:
        return _invalid(said)
    if "typed patch object" in said.message or said.code in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ):
        return _bad_request(said, what)
    if said.code in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return MeshDown(
            f"the API server of context {context} at {server} is not ready",
            cause=said.message or "it is starting, stopping or overloaded",
            fix="wait a moment and run this again",
        )
    return ServerFault(
        said.server_says if said.message else f"the API server answered {said.code}",
        cause="a fault of the cluster, not of what was asked",
        fix=f"kubectl --context {context} get --raw '/readyz?verbose' shows the server's parts",
    )


# -- who asks ---------------------------------------------------------------------------------


def _unauthorized(said: Answer, context: str, server: str) -> Unauthorized:
    return Unauthorized(
        "error: You must be logged in to the server (Unauthorized)",
        cause=f"the credentials of context {context} for {server} are missing, wrong or expired",
        fix=f"log in to the cluster again, then: kubectl --context {context} auth whoami",
        detail=said.message if said.message not in ("", "Unauthorized") else "",
    )


# -- what is not there ------------------------------------------------------------------------


def _not_found(said: Answer, about: About) -> WorkbookError:
    if said.kind == "namespaces" and about.kind != "Namespace":
        prefix = f'error when {about.doing} "{about.source}": ' if about.source else ""
        return NotFound(
            f"Error from server (NotFound): {prefix}{said.message}",
            cause="an object can only be put into a namespace that exists",
            fix=f"create it first: kubectl create namespace {said.name}",
        )
    where = f" -n {about.namespace}" if about.namespace else " -A"
    look = f"look with: kubectl get {about.resource}{where}" if about.resource else ""
    return NotFound(
        said.server_says, cause="no such object in this namespace", fix=look or "kubectl get"
    )


# -- what is there already --------------------------------------------------------------------

_OWNED = re.compile(r'conflicts? with "([^"]+)"[^:]*:(?:\n- )?\s*(\.[^\s]+)')


def _conflict(said: Answer, about: About) -> WorkbookError:
    if said.reason == "AlreadyExists":
        return AlreadyExists(
            said.server_says,
            cause="it was created before; create never replaces",
            fix="use apply, or delete it first",
        )
    owned = [
        (path, match[1])
        for path, text in said.causes
        if (match := re.search(r'conflict with "([^"]+)"', text))
    ]
    if owned or (found := _OWNED.search(said.message)):
        path, owner = owned[0] if owned else (found[2], found[1])  # type: ignore[index]
        failure = FieldConflict(
            said.server_says,
            cause=f"{path} was set by {owner}, which would set it back or lose its change",
            fix=f"leave {path} out of what is applied, or delete the object and apply it anew; "
            f"kubectl get {about.resource} {about.name} -n {about.namespace} -o yaml "
            "--show-managed-fields shows who set what",
        )
        failure.field, failure.owner = path, owner
        failure.owners = frozenset(each for _, each in owned) or frozenset({owner})
        return failure
    return Conflict(
        said.server_says,
        cause="somebody else changed it between our reading and our writing",
        fix="run this again",
    )


# -- what is wrong with an object -------------------------------------------------------------

_UNKNOWN = re.compile(r'unknown field "([^"]+)"')
_DUPLICATE = re.compile(r'duplicate field "([^"]+)"')
_GO_FIELD = re.compile(r"Go struct field (\w+\.\S+) of type")
_TYPED = re.compile(r"\): (?:errors:\n\s*)?(\.[^\s:]+): ")


def _bad_request(said: Answer, about: About) -> BadManifest:
    if said.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _bad(
            said.server_says,
            "",
            cause="the object is larger than the API server takes in one request (3 MiB)",
            fix="build with the tuned profile, or serve the module over http and use that url",
        )
    # kubectl names the file that the object came from.
    prefix = f'error when {about.doing} "{about.source}": ' if about.source else ""
    what = f"Error from server ({said.reason or 'BadRequest'}): {prefix}{said.message}"
    kind = about.kind.lower()
    path, cause = _undecodable(said.message)
    if path:
        return _bad(
            what,
            path,
            cause=cause,
            fix=f"mend {path}: check its spelling, its indentation and quotes; "
            f"kubectl explain {kind or about.resource} lists the fields",
        )
    return _bad(what, _field(said), cause="the API server refuses it")


def _undecodable(message: str) -> tuple[str, str]:
    """The field at which a decoder stopped, and why; empty where it names none."""
    for pattern, cause in (
        (_UNKNOWN, "no such field in this kind"),
        (_DUPLICATE, "a field is there twice"),
        (_GO_FIELD, "a value has the wrong type"),
        (_TYPED, "no such field in this kind, or a value of the wrong type"),
    ):
        if found := pattern.search(message):
            path = found[1].lstrip(".")
            if pattern is _GO_FIELD:
                # A custom resource's metadata is decoded alone, so its path lacks the top.
                struct, _, path = path.partition(".")
                if struct == "ObjectMeta" and not path.startswith("metadata."):
                    path = f"metadata.{path}"
            return path, cause
    return "", ""


def _field(said: Answer) -> str:
    """The first path that is one: "<nil>" stands for "and the rest was not looked at"."""
    return next((path for path, _ in said.causes if path != "<nil>"), "")


def _invalid(said: Answer) -> BadManifest:
    # As kubectl does: one complaint on the same line, several as a list.
    unique = list(dict.fromkeys(f"{path}: {why}" for path, why in said.causes))
    head = f'The {said.kind} "{said.name}" is invalid' if said.kind else "The request is invalid"
    if not unique:
        return _bad(f"{head}: {said.message}", "", cause="the object does not keep to its schema")
    body = unique[0] if len(unique) == 1 else "".join(f"\n* {each}" for each in unique)
    path = _field(said)
    if path == "patch":
        # The server quotes the whole patched object in front of what is wrong with it.
        path, cause = _undecodable(said.causes[0][1])
        body = re.sub(r'^patch: Invalid value: ".*": (?=strict |json: )', "patch: ", body,
                      flags=re.DOTALL)
        return _bad(f"{head}: {body}", path or "patch", cause=cause or "the patch cannot be laid "
                    "over the object", fix=f"mend {path or 'the patch'}, patch again")
    if path == "[]":
        return _bad(
            f"{head}: {body}",
            path,
            cause="its values are larger than one object in etcd may be",
            fix="build with the tuned profile, or serve the module over http and use that url, "
            "apply again",
        )
    return _bad(
        f"{head}: {body}",
        path,
        cause="the object does not keep to its schema",
        fix=f"mend {path}, apply again",
    )


def _bad(what: str, path: str, *, cause: str, fix: str = "mend it, apply again") -> BadManifest:
    failure = BadManifest(what, cause=cause, fix=fix)
    failure.field = path
    return failure


# -- webhooks ---------------------------------------------------------------------------------


def _by_webhook(said: Answer, webhook: str, about: About) -> WorkbookError:
    # Istio names the field in its sentence now and then ("spec.url: …"); not always.
    inner = said.message.partition("denied the request:")[2]
    path = re.search(r"\b((?:spec|metadata)\.[\w.\[\]]+)", inner)
    prefix = f'error when {about.doing} "{about.source}": ' if about.source else ""
    reason = said.reason or "BadRequest"
    return _bad(
        f"Error from server ({reason}): {prefix}{said.message}",
        path[1] if path else "",
        cause=f"the cluster's webhook {webhook} refuses the object",
        fix="mend what it names, apply again",
    )
