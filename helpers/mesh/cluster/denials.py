"""Why something is refused: RBAC, a quota, PodSecurity, a namespace that goes, a webhook."""

from __future__ import annotations

import re

from helpers.errors import WorkbookError
from helpers.mesh.cluster.errors import (
    About,
    Forbidden,
    NamespaceTerminating,
    PodSecurityDenied,
    QuotaExceeded,
    WebhookDown,
)

_RBAC = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" '
    r'in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>.+), used: (?P<used>.+), "
    r"limited: (?P<limit>.+)"
)


def forbidden(message: str, what: str, about: About, context: str) -> WorkbookError:
    """The typed error for a 403.

    Args:
        message: the API server's.
        what: the same as kubectl prints it.
    """
    for explain in (quota, pod_security, terminating):
        if found := explain(message, what, about.namespace):
            return found
    return rbac(message, what, about, context)


def quota(message: str, what: str, namespace: str) -> QuotaExceeded | None:
    """The error where a ResourceQuota or LimitRange refuses; None where it is not that."""
    where = f" -n {namespace}" if namespace else ""
    if found := _QUOTA.search(message):
        return QuotaExceeded(
            what,
            cause=f"ResourceQuota {found['name']} allows {found['limit']}; {found['used']} "
            f"are used and this needs {found['asked']}",
            fix="delete what is not needed, or ask whoever runs the cluster; "
            f"kubectl describe quota{where}",
        )
    if "failed quota:" in message:
        name, _, why = message.partition("failed quota: ")[2].partition(": ")
        return QuotaExceeded(
            what,
            cause=f"ResourceQuota {name} wants every container to say what it needs: {why}. The "
            "sidecar has such values from Istio; Bookinfo's containers have none",
            fix="ask for a LimitRange with defaults in the namespace; "
            f"kubectl describe quota{where}",
        )
    if re.search(r"(maximum|minimum) \w+ usage per (Container|Pod)", message):
        return QuotaExceeded(
            what,
            cause="a LimitRange of the namespace does not allow a container of this size",
            fix=f"kubectl describe limitrange{where}",
        )
    return None


def pod_security(message: str, what: str, namespace: str) -> PodSecurityDenied | None:
    """The error where PodSecurity refuses a pod; None where it is not that."""
    found = re.search(r'violates PodSecurity "([^"]+)": (.+)', message, re.DOTALL)
    if found is None:
        return None
    level = found[1].split(":")[0]
    init = "istio-init" in message or "NET_ADMIN" in message
    return PodSecurityDenied(
        what,
        cause=f"the namespace enforces the PodSecurity level {level}: {found[2]}"
        + (
            ". Istio's init container needs NET_ADMIN, which only `privileged` allows"
            if init
            else ""
        ),
        fix=(
            "use Istio's CNI plugin (istioctl install --set components.cni.enabled=true), or a "
            "namespace of level privileged"
            if init
            else f"set the securityContext that it names, or: kubectl label namespace "
            f"{namespace or 'NAMESPACE'} pod-security.kubernetes.io/enforce=privileged --overwrite"
        ),
    )


def terminating(message: str, what: str, namespace: str) -> NamespaceTerminating | None:
    """The error where the namespace is being deleted; None where it is not that."""
    found = re.search(r"in namespace (\S+) because it is being terminated", message)
    if found is None:
        return None
    return NamespaceTerminating(
        what,
        cause=f"namespace {found[1] or namespace} is being deleted with all that is in it",
        fix=f"wait until it is gone (kubectl get namespace {found[1]}), then run this again",
    )


def rbac(message: str, what: str, about: About, context: str) -> Forbidden:
    """The error where a role is missing, with kubectl's question about it."""
    found = _RBAC.search(message)
    if found is None:
        return Forbidden(
            what,
            cause="the cluster does not allow it",
            fix=f"ask whoever runs the cluster of context {context}",
        )
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    namespace = found["namespace"]
    scope = f" -n {namespace}" if namespace else ""
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    return Forbidden(
        what,
        cause=f"{found['user']} has no role that allows to {found['verb']} {resource} {where}",
        fix=f"ask whoever runs the cluster for it; kubectl auth can-i {found['verb']} {resource}"
        f"{scope} must say yes" + (f" (about: {about.name})" if about.name else ""),
    )


def webhook_down(message: str, what: str) -> WebhookDown | None:
    """The error where a webhook does not answer; None where it is not that."""
    found = re.search(r'failed calling webhook "([^"]+)"', message)
    if found is None:
        return None
    istio = "istio" in found[1]
    return WebhookDown(
        what,
        cause=f"the API server must ask the webhook {found[1]} about this, and it does not answer"
        + (": istiod is down or not ready" if istio else ""),
        fix="kubectl get pods -n istio-system -l app=istiod; kubectl rollout status "
        "deploy/istiod -n istio-system"
        if istio
        else "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations",
    )


def explained(message: str, namespace: str) -> tuple[str, str]:
    """Cause and fix for a refusal that a controller reports; empty where none is known."""
    for found in (
        webhook_down(message, ""),
        quota(message, "", namespace),
        pod_security(message, "", namespace),
        terminating(message, "", namespace),
    ):
        if found is not None:
            return found.cause, found.fix
    return "", ""
