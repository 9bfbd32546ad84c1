"""What can go wrong between this computer and a cluster: the errors that a learner meets.

`answers` makes them of what the API server says, `transport` of connections that break.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.errors import BadManifest, MeshDown, NotFound, WorkbookError


class KubeconfigProblem(WorkbookError):
    """There is no kubeconfig, it cannot be read, or it has no such context."""


class Unauthorized(WorkbookError):
    """The API server does not know who asks: credentials are missing, wrong or expired."""


class Forbidden(WorkbookError):
    """Who asks is known and may not do this; `fix` is the question that kubectl answers."""


class QuotaExceeded(WorkbookError):
    """A ResourceQuota or LimitRange of the namespace does not allow one more."""


class PodSecurityDenied(WorkbookError):
    """The namespace's PodSecurity level does not allow such a pod."""


class NamespaceTerminating(WorkbookError):
    """The namespace is being deleted: nothing new can be put into it."""


class KindMissing(NotFound):
    """The cluster does not serve this kind: its CustomResourceDefinition is not installed."""


class WebhookDown(WorkbookError):
    """An admission webhook that must be asked does not answer."""


class Conflict(WorkbookError):
    """The object changed in between."""


class FieldConflict(Conflict):
    """Another field manager owns a field that we apply with another value.

    Attributes:
        field: the first such field, as ".spec.replicas".
        owner: its manager.
        owners: the managers of all such fields.
    """

    field: str = ""
    owner: str = ""
    owners: frozenset[str] = frozenset()


class NotAgreed(WorkbookError):
    """Nobody has agreed that the workbook writes to this cluster."""


class NotOurs(WorkbookError):
    """What was there before us, or is another learner's, is not ours to change."""


class CapabilityMissing(WorkbookError):
    """The cluster's Istio lacks what this needs."""


class StrategyMissing(BadManifest, CapabilityMissing):
    """The cluster's Istio does not know a failStrategy that newer ones have."""


class ServerFault(WorkbookError):
    """The API server answered with an error of its own."""


class TlsProblem(MeshDown):
    """The connection's certificate is not trusted, or the other end speaks no TLS."""


@dataclass(frozen=True)
class About:
    """What was being done, for messages.

    Attributes:
        verb: RBAC's verb: "get", "list", "create", "patch", "delete" …
        resource: such as "wasmplugins.extensions.istio.io".
        kind: such as "WasmPlugin".
        source: the file that the object came from; empty where there is none.
        doing: "creating", "patching" …: the word in kubectl's messages beside `source`.
    """

    verb: str = ""
    resource: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    source: str = ""
    doing: str = ""


def no_kubeconfig(path: str) -> KubeconfigProblem:
    """There is no such file."""
    return KubeconfigProblem(
        f"there is no kubeconfig at {path}",
        cause="the workbook looks at --kubeconfig, at its own cluster's, at $KUBECONFIG and at "
        "~/.kube/config",
        fix="./workbook cluster up makes a cluster here; or --kubeconfig FILE",
    )


def no_context(path: str, wanted: str | None, known: list[str]) -> KubeconfigProblem:
    """The kubeconfig has no context of that name, or names no current one."""
    return KubeconfigProblem(
        f"{path} has no context {wanted!r}" if wanted else f"{path} has no current-context",
        cause=f"it has: {', '.join(known) or 'none'}",
        fix=f"--context {known[0]}" if known else "get a kubeconfig from your cluster",
    )


def bad_kubeconfig(path: str, why: str) -> KubeconfigProblem:
    """The kubeconfig cannot be used."""
    return KubeconfigProblem(
        f"the kubeconfig {path} cannot be used",
        cause=why,
        fix="kubectl config view shows how kubectl reads it",
    )


def not_kubernetes(context: str, server: str) -> MeshDown:
    """Something answers there that is no API server."""
    return MeshDown(
        f"what answers at {server} is no Kubernetes API server",
        cause="its answer is not JSON: a proxy or a login page stands in between",
        fix=f"kubectl --context {context} version",
    )
