"""Why a Deployment does not become ready, in the cluster's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from helpers.mesh.base import Event

#: Reasons of a waiting container that say nothing yet.
_USUAL = frozenset({"ContainerCreating", "PodInitializing"})

#: What stands behind a reason, for whoever meets it for the first time.
_MEANING = {
    "ErrImagePull": "the node could not get the image: wrong name, or no way to the registry; "
    "--images PREFIX names another registry",
    "ImagePullBackOff": "the node could not get the image: wrong name, or no way to the "
    "registry; --images PREFIX names another registry",
    "ErrImageNeverPull": "the image is not on the node, and the pod says never to pull it",
    "CrashLoopBackOff": "the container ends again and again; mesh.logs(container=…) has its words",
    "CreateContainerConfigError": "a ConfigMap or Secret that the container names is not there",
    "RunContainerError": "the container runtime could not start it",
}


def why_not_ready(
    deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Sequence[Event]
) -> str:
    """One sentence or two: what the Deployment, its newest pod and the events say.

    Args:
        deployment: the object.
        pods: its pods, oldest first.
        events: of the namespace, oldest first.
    """
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        # Quota, PodSecurity and webhooks refuse the pod itself: there is none to look at.
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"no pod can be made: {condition.get('message', condition.get('reason'))}"
    if not pods:
        return "there is no pod yet; is the cluster's controller-manager at work?"
    newest = pods[-1]
    name = newest["metadata"]["name"]
    status = newest.get("status") or {}
    told = [*(_waiting(each) for each in (*(status.get("initContainerStatuses") or ()),
                                          *(status.get("containerStatuses") or ())))]
    if found := next((each for each in told if each), ""):
        return f"pod {name}: {found}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"pod {name} has no node: {condition.get('message', '')}"
    warnings = [each for each in events if each.type == "Warning" and each.object == f"pod/{name}"]
    if warnings:
        return f"pod {name}: {warnings[-1].reason}: {warnings[-1].message}"
    if any("deletionTimestamp" in pod["metadata"] for pod in pods):
        return "an old pod is still ending"
    return f"pod {name} is {status.get('phase', 'Unknown')}; see the events"


def _waiting(container: Mapping[str, Any]) -> str:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if not reason or reason in _USUAL:
        return ""
    meaning = _MEANING.get(reason)
    message = str(waiting.get("message") or "")
    parts = [f"container {container['name']} waits: {reason}", message, meaning or ""]
    return ". ".join(each.rstrip(".") for each in parts if each)
