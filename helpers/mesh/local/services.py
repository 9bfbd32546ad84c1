"""Services: names to the pods behind them (CoreDNS's, kube-proxy's and EDS's part)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.mesh.local.pods import Pod


@dataclass(frozen=True)
class Service:
    """One Service with its ports."""

    name: str
    namespace: str
    selector: Mapping[str, str]
    ports: tuple[int, ...]

    def selects(self, pod: Pod) -> bool:
        """Whether a pod stands behind the Service. An empty selector selects none."""
        labels = pod.labels
        return (
            pod.namespace == self.namespace
            and bool(self.selector)
            and all(labels.get(key) == value for key, value in self.selector.items())
        )


def services(objects: Iterable[Mapping[str, Any]]) -> list[Service]:
    """The stored Services."""
    return [
        Service(
            obj["metadata"]["name"],
            obj["metadata"]["namespace"],
            dict(obj["spec"].get("selector") or {}),
            tuple(entry["port"] for entry in obj["spec"].get("ports") or ()),
        )
        for obj in objects
    ]


def resolve(host: str, namespace: str, known: Iterable[Service]) -> Service | None:
    """The Service that a pod in `namespace` means by `host`, as its DNS search list has it."""
    parts = host.rstrip(".").split(".")
    if len(parts) > 2 and parts[2:] not in (["svc"], ["svc", "cluster", "local"]):
        return None
    wanted = (parts[0], parts[1] if len(parts) > 1 else namespace)
    return next((svc for svc in known if (svc.name, svc.namespace) == wanted), None)


def endpoints(
    service: Service, pods: Iterable[Pod], address: Callable[[Pod], tuple[str, int] | None]
) -> list[tuple[str, int]]:
    """The addresses of the ready pods behind a Service.

    Args:
        address: where a pod takes requests: its sidecar's inbound listener if it has one.
    """
    found: list[tuple[str, int]] = []
    for pod in pods:
        if pod.state == "ready" and service.selects(pod):
            place = address(pod)
            if place is not None:
                found.append(place)
    return found


def outbound_ports(known: Iterable[Service]) -> dict[int, dict[str, str]]:
    """For each service port: the names and namespaces of the Services that have it."""
    found: dict[int, dict[str, str]] = {}
    for service in known:
        for port in service.ports:
            found.setdefault(port, {})[service.name] = service.namespace
    return found
