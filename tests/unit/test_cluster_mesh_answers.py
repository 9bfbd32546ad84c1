"""Each refusal of a real API server (v1.34.2, recorded) as the error that a learner meets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from helpers.errors import AlreadyExists, BadManifest, MeshDown, NotFound, WorkbookError
from helpers.mesh.cluster import answers, denials
from helpers.mesh.cluster.errors import (
    About,
    Conflict,
    FieldConflict,
    Forbidden,
    NamespaceTerminating,
    PodSecurityDenied,
    QuotaExceeded,
    ServerFault,
    Unauthorized,
    WebhookDown,
)

PLUGIN = About("create", "wasmplugins.extensions.istio.io", "WasmPlugin", "x", "anna", "p.yaml",
               "creating")
STRICT = ('WasmPlugin in version "v1alpha1" cannot be handled as a WasmPlugin: '
          'strict decoding error: unknown field "spec.foo"')
LABELS = ('WasmPlugin in version "v1alpha1" cannot be handled as a WasmPlugin: json: cannot '
          "unmarshal number into Go struct field ObjectMeta.labels of type string")
REPLICAS = ('Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
            "string into Go struct field DeploymentSpec.spec.replicas of type int32")
NOT_CHECKED = ("Invalid value: null: some validation rules were not checked because the object "
               "was invalid; correct the existing errors to complete validation")


def error(code: int, reason: str, message: str, about: About = PLUGIN, *,
          causes: list[tuple[str, str]] | None = None, **details: Any) -> WorkbookError:
    """The error for an answer."""
    if causes is not None:
        details["causes"] = [{"field": path, "message": text} for path, text in causes]
    failure = ApiException(status=code, reason=reason)
    failure.body = json.dumps({"kind": "Status", "status": "Failure", "message": message,
                               "reason": reason, "details": details, "code": code})
    return answers.translate(failure, context="here", server="https://there", about=about)


@pytest.mark.parametrize(("message", "field"), [
    (STRICT, "spec.foo"), (LABELS, "metadata.labels"), (REPLICAS, "spec.replicas"),
    ("json: whatever", "")])
def test_what_cannot_be_decoded_names_file_and_field(message: str, field: str) -> None:
    found = error(400, "BadRequest", message)
    assert isinstance(found, BadManifest)
    assert found.what == ('Error from server (BadRequest): error when creating "p.yaml": '
                          + message)
    assert found.field == field


def test_several_complaints_are_listed_as_kubectl_does_and_the_first_path_counts() -> None:
    found = error(422, "Invalid", "…", name="x", kind="WasmPlugin",
                  causes=[("<nil>", NOT_CHECKED), ("spec.url", "Required value")])
    assert isinstance(found, BadManifest)
    assert found.what == ('The WasmPlugin "x" is invalid: '
                          f"\n* <nil>: {NOT_CHECKED}\n* spec.url: Required value")
    assert found.field == "spec.url"


def test_one_complaint_stands_on_the_line() -> None:
    found = error(422, "Invalid", "…", name="x", kind="WasmPlugin",
                  causes=[("spec", "Invalid value: only one of targetRefs or selector")])
    assert found.what == ('The WasmPlugin "x" is invalid: spec: Invalid value: only one of '
                          "targetRefs or selector")


def test_a_refused_patch_names_the_field_and_does_not_quote_the_whole_object() -> None:
    found = error(422, "Invalid", "…", causes=[
        ("patch", 'Invalid value: "{\\"spec\\":{…}}": strict decoding error: unknown field '
         '"spec.foo"')])
    assert isinstance(found, BadManifest)
    assert found.what == ('The request is invalid: patch: strict decoding error: unknown field '
                          '"spec.foo"')
    assert found.field == "spec.foo"


def test_a_webhooks_no_names_the_webhook_and_the_field() -> None:
    found = error(400, "BadRequest", 'admission webhook "validation.istio.io" denied the request: '
                  "configuration is invalid: spec.url: not good")
    assert isinstance(found, BadManifest)
    assert found.field == "spec.url"
    assert "validation.istio.io" in found.cause


def test_a_missing_namespace_is_told_from_a_missing_object() -> None:
    gone = error(404, "NotFound", 'namespaces "nope" not found', name="nope", kind="namespaces")
    assert isinstance(gone, NotFound)
    assert gone.fix == "create it first: kubectl create namespace nope"
    none = error(404, "NotFound", 'wasmplugins.extensions.istio.io "x" not found', name="x",
                 kind="wasmplugins")
    assert none.fix == "look with: kubectl get wasmplugins.extensions.istio.io -n anna"


def test_each_conflict_has_its_own_error() -> None:
    there = error(409, "AlreadyExists", 'configmaps "x" already exists')
    assert isinstance(there, AlreadyExists)
    changed = error(409, "Conflict", 'Operation cannot be fulfilled on configmaps "x": the '
                    "object has been modified")
    assert isinstance(changed, Conflict)
    assert not isinstance(changed, FieldConflict)
    owned = error(409, "Conflict", 'Apply failed with 1 conflict: conflict with "kubectl-patch" '
                  "using extensions.istio.io/v1alpha1: .spec.priority", causes=[
                      (".spec.priority", 'conflict with "kubectl-patch" using '
                       "extensions.istio.io/v1alpha1")])
    assert isinstance(owned, FieldConflict)
    assert (owned.field, owned.owner) == (".spec.priority", "kubectl-patch")


def test_a_role_that_is_missing_is_named_with_the_question_to_kubectl() -> None:
    found = error(403, "Forbidden", 'configmaps is forbidden: User '
                  '"system:serviceaccount:anna:looker" cannot create resource "configmaps" in API '
                  'group "" in the namespace "anna"')
    assert isinstance(found, Forbidden)
    assert "to create configmaps in namespace anna" in found.cause
    assert "kubectl auth can-i create configmaps -n anna must say yes" in found.fix
    cluster = error(403, "Forbidden", 'customresourcedefinitions.apiextensions.k8s.io is '
                    'forbidden: User "u" cannot list resource "customresourcedefinitions" in API '
                    'group "apiextensions.k8s.io" at the cluster scope')
    assert "can-i list customresourcedefinitions.apiextensions.k8s.io must" in cluster.fix


QUOTA = ('configmaps "one" is forbidden: exceeded quota: few, requested: configmaps=1, used: '
         "configmaps=1, limited: configmaps=1")
UNSET = ('pods "x" is forbidden: failed quota: cpu: must specify limits.cpu for: productpage')
SECURITY = ('pods "productpage-v1" is forbidden: violates PodSecurity "restricted:latest": '
            "allowPrivilegeEscalation != false, unrestricted capabilities (containers "
            '"istio-init" must not include "NET_ADMIN")')
LEAVING = ('configmaps "x" is forbidden: unable to create new content in namespace anna because '
           "it is being terminated")
HOOK = ('Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": '
        'failed to call webhook: Post "https://istiod.istio-system.svc:443/inject?timeout=10s": '
        "dial tcp 10.0.0.1:443: connect: connection refused")


@pytest.mark.parametrize(("code", "message", "kind", "cause"), [
    (403, QUOTA, QuotaExceeded, "ResourceQuota few allows configmaps=1"),
    (403, UNSET, QuotaExceeded, "wants every container to say what it needs"),
    (403, SECURITY, PodSecurityDenied, "only `privileged` allows"),
    (403, LEAVING, NamespaceTerminating, "namespace anna is being deleted"),
    (500, HOOK, WebhookDown, "istiod is down"),
    (401, "Unauthorized", Unauthorized, "missing, wrong or expired"),
    (503, "apiserver is shutting down", MeshDown, "shutting down"),
    (500, "something else", ServerFault, "a fault of the cluster"),
])
def test_each_refusal_has_an_error_that_keeps_the_servers_words(
    code: int, message: str, kind: type[WorkbookError], cause: str
) -> None:
    found = error(code, "Reason", message)
    assert isinstance(found, kind)
    assert cause in found.cause
    assert found.fix
    if code in (403, 500):
        assert message in found.what


@pytest.mark.parametrize("message", [QUOTA, SECURITY, HOOK, LEAVING])
def test_what_a_controller_reports_is_explained_in_the_same_words(message: str) -> None:
    cause, fix = denials.explained(message, "anna")
    assert cause
    assert fix
    assert denials.explained("nothing known", "anna") == ("", "")


def test_an_answer_that_is_no_status_is_still_told() -> None:
    failure = ApiException(status=502, reason="Bad Gateway")
    failure.body = b"<html>proxy</html>"
    found = answers.translate(failure, context="here", server="https://there")
    assert isinstance(found, ServerFault)
    assert "<html>proxy</html>" in found.what
