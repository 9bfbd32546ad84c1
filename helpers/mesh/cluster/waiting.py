"""Why a Deployment does not become ready: the cluster's own words, and what stands behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.mesh.base import Event
from helpers.mesh.cluster import denials, podfacts
from helpers.mesh.telling import most_telling

_FIX = "mend what it says; the old pod keeps serving meanwhile"

#: Reasons of a waiting container that say nothing yet.
_USUAL = frozenset({"ContainerCreating", "PodInitializing"})

#: What stands behind a reason, for whoever meets it for the first time.
_MEANING = {
    "ErrImagePull": "the node could not get the image: wrong name, or no way to the registry; "
    "--images PREFIX names another registry",
    "ImagePullBackOff": "the node could not get the image: wrong name, or no way to the "
    "registry; --images PREFIX names another registry",
    "ErrImageNeverPull": "the image is not on the node, and the pod says never to pull it",
    "InvalidImageName": "the image's name is none",
    "CrashLoopBackOff": "the container ends again and again; mesh.logs(container=…) has its words",
    "CreateContainerConfigError": "a ConfigMap or Secret that the container names is not there, "
    "or its user is not allowed",
    "RunContainerError": "the container runtime could not start it",
}
_NO_CONFIGMAP = re.compile(r'configmap "([^"]+)" not found')


@dataclass(frozen=True)
class Why:
    """Why it is not ready.

    Attributes:
        cause: the cluster's words, and what they mean.
        fix: what to do.
        crashed: pod and container that end again and again; None when none does.
    """

    cause: str
    fix: str = _FIX
    crashed: tuple[str, str] | None = None


def why_not_ready(
    deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Sequence[Event]
) -> Why:
    """What the Deployment, its newest pod and the events say.

    Args:
        deployment: the object.
        pods: its pods, oldest first.
        events: of the namespace, oldest first.
    """
    namespace = str(deployment["metadata"]["namespace"])
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        # Quota, PodSecurity and webhooks refuse the pod itself: there is none to look at.
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = str(condition.get("message", condition.get("reason")))
            cause, fix = denials.explained(message, namespace)
            return Why(_sentences(f"no pod can be made: {message}", cause), fix or _FIX)
    if not pods:
        return Why("there is no pod yet; is the cluster's controller-manager at work?")
    newest = pods[-1]
    name, status = newest["metadata"]["name"], newest.get("status") or {}
    if status.get("phase") == "Failed":
        message = str(status.get("message") or "")
        return Why(_sentences(f"pod {name} has ended: {status.get('reason') or 'Failed'}", message))
    for each in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        if told := _waiting(each):
            ends = "CrashLoopBackOff" in told
            return Why(f"pod {name}: {told}", crashed=(name, each["name"]) if ends else None)
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return Why(
                f"pod {name} has no node: {condition.get('message', '')}",
                f"kubectl describe nodes shows what is free; kubectl describe pod {name} "
                f"-n {namespace}",
            )
    if found := _warning(newest, events, namespace):
        return found
    if any(podfacts.is_leaving(pod) for pod in pods):
        return Why("an old pod is still ending", "wait: it has 30 s by default")
    return Why(
        f"pod {name} is {status.get('phase', 'Unknown')}; see the events",
        f"kubectl describe pod {name} -n {namespace}",
    )


def _waiting(container: Mapping[str, Any]) -> str:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if not reason or reason in _USUAL:
        return ""
    return _sentences(
        f"container {container['name']} waits: {reason}",
        str(waiting.get("message") or ""),
        _MEANING.get(reason, ""),
    )


def _warning(pod: Mapping[str, Any], events: Sequence[Event], namespace: str) -> Why | None:
    name = pod["metadata"]["name"]
    warnings = [each for each in events if each.type == "Warning" and each.object == f"pod/{name}"]
    if not warnings:
        return None
    last = most_telling(warnings)
    told = f"pod {name}: {last.reason}: {last.message}"
    if found := _NO_CONFIGMAP.search(last.message):
        return Why(
            _sentences(told, f"a pod mounts ConfigMaps of its own namespace only, and {namespace} "
                       f"has no {found[1]}"),
            f"create the ConfigMap in namespace {namespace}",
        )
    if last.reason == "Unhealthy" and ":15021" in last.message:
        return Why(
            _sentences(told, "the sidecar has no configuration: it cannot reach istiod, or istiod "
                       "has none for it"),
            "kubectl get pods -n istio-system -l app=istiod; mesh.logs() has the sidecar's words",
        )
    return Why(told)


def _sentences(*parts: str) -> str:
    return ". ".join(each.rstrip(".") for each in parts if each)
