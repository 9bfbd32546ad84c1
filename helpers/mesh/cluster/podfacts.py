"""What a pod object of the API server's says, read out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from helpers.mesh.local.kubectl import parse_selector

SIDECAR = "istio-proxy"

Pod = Mapping[str, Any]


def created(obj: Mapping[str, Any]) -> float:
    """When an object was made, in seconds since the epoch."""
    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"]).timestamp()


def by_age(obj: Mapping[str, Any]) -> tuple[float, str]:
    """A key that sorts the oldest first."""
    return created(obj), str(obj["metadata"]["name"])


def containers(pod: Pod) -> tuple[str, ...]:
    """The long-running containers; a native sidecar (an init container that stays) is one."""
    spec = pod["spec"]
    stay = [
        each["name"]
        for each in spec.get("initContainers") or ()
        if each.get("restartPolicy") == "Always"
    ]
    return (*(each["name"] for each in spec["containers"]), *stay)


def is_leaving(pod: Pod) -> bool:
    """Whether it is being deleted ("Terminating")."""
    return "deletionTimestamp" in pod["metadata"]


def is_over(pod: Pod) -> bool:
    """Whether it has ended or is about to: evicted, completed, being deleted."""
    return is_leaving(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Pod) -> bool:
    """Whether its Ready condition holds and it stays."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not is_over(pod)


def is_ambient(pod: Pod) -> bool:
    """Whether ztunnel carries its traffic, as in ambient mode, instead of a sidecar."""
    annotations = pod["metadata"].get("annotations") or {}
    return annotations.get("ambient.istio.io/redirection") == "enabled"


def why_no_sidecar(pod: Pod) -> str:
    """Why a pod has no sidecar, in words; empty when it has one."""
    if SIDECAR in containers(pod):
        return ""
    if is_ambient(pod):
        return "it is in ambient mode: ztunnel carries its traffic, and plugins run in a waypoint"
    labels, annotations = (pod["metadata"].get(key) or {} for key in ("labels", "annotations"))
    name = "sidecar.istio.io/inject"
    if "false" in (labels.get(name), annotations.get(name)):
        return f"{name}=false stands on it"
    if pod["spec"].get("hostNetwork"):
        return "it uses the node's network, where Istio injects nothing"
    return "injection was off when it started: label the namespace, then restart"


def without_sidecar(pods: Sequence[Pod]) -> tuple[str, ...]:
    """A note for the newest of `pods` where it has no sidecar."""
    why = why_no_sidecar(pods[-1]) if pods else ""
    return (f"pod {pods[-1]['metadata']['name']} has no sidecar, and a plugin runs in one: {why}",
            ) if why else ()


def deployment(pod: Pod) -> str:
    """The Deployment that it belongs to, by its ReplicaSet's name; empty for none."""
    digest = (pod["metadata"].get("labels") or {}).get("pod-template-hash")
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner["kind"] == "ReplicaSet" and digest and owner["name"].endswith(f"-{digest}"):
            return str(owner["name"]).removesuffix(f"-{digest}")
    return ""


def fitting(pods: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The pods that are meant by a pod's name, "deploy/NAME" or "app=NAME".

    Raises:
        BadInput: a selector that is none.
    """
    if "=" in name:
        wanted = parse_selector(name)
        return [
            pod
            for pod in pods
            if all((pod["metadata"].get("labels") or {}).get(k) == v for k, v in wanted.items())
        ]
    if name.startswith(("deploy/", "deployment/", "deployments/")):
        return [pod for pod in pods if deployment(pod) == name.split("/", 1)[1]]
    plain = name.removeprefix("pod/").removeprefix("pods/")
    return [pod for pod in pods if pod["metadata"]["name"] == plain]


def status_of(pod: Pod, container: str) -> Mapping[str, Any]:
    """The status of one container, a native sidecar's among them; empty before it has one."""
    status = pod.get("status") or {}
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    found: Mapping[str, Any] = next((each for each in every if each["name"] == container), {})
    return found
