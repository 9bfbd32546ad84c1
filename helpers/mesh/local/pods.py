"""What is known of each pod, and the words that kubectl has for its state."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from helpers import files
from helpers.mesh.base import PodInfo
from helpers.mesh.local.envoy import Files

_SCHEMA = 1
SIDECAR = "istio-proxy"
#: What may stand in the random parts of Kubernetes names: no vowels, nothing look-alike.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass
class Mounted:
    """One mounted ConfigMap volume.

    Attributes:
        configmap: its name.
        version: the resourceVersion whose content lies in the pod.
        pending: a newer resourceVersion that was noticed and is not in the pod yet.
        noticed: when, in seconds since the epoch.
    """

    configmap: str
    version: str
    pending: str = ""
    noticed: float = 0.0


@dataclass
class Pod:
    """One pod of a Deployment.

    Attributes:
        state: "pending" (volumes), "starting", "ready" or "crashed" (waiting after crashes).
        template: the Deployment's pod template that it was made from.
        restarts: how often each container was started again.
        crashes: times of recent crashes by container, seconds since the epoch.
    """

    name: str
    namespace: str
    deployment: str
    hash: str
    template: dict[str, Any]
    created: float
    sidecar: bool
    state: str = "pending"
    reason: str = ""
    mounted: dict[str, Mounted] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, list[float]] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = dict(self.template.get("metadata", {}).get("labels") or {})
        return {**self._injected(found), **found, "pod-template-hash": self.hash}

    def _injected(self, own: Mapping[str, str]) -> dict[str, str]:
        """What the sidecar injector puts beside the template's labels; plugins may select it."""
        if not self.sidecar:
            return {}
        return {
            "security.istio.io/tlsMode": "istio",
            "service.istio.io/canonical-name": own.get("app", self.deployment),
            "service.istio.io/canonical-revision": own.get("version", "latest"),
        }

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.template.get("metadata", {}).get("annotations") or {})

    @property
    def container(self) -> dict[str, Any]:
        """The application's container: the local mesh runs Deployments of one."""
        found: dict[str, Any] = self.template["spec"]["containers"][0]
        return found

    @property
    def app(self) -> str:
        """The application's container name."""
        return str(self.container["name"])

    @property
    def containers(self) -> tuple[str, ...]:
        return (self.app, SIDECAR) if self.sidecar else (self.app,)

    def process(self, container: str) -> str:
        """The name under which a container's process is recorded."""
        return f"{self.name}.{container}"


def template_hash(template: Mapping[str, Any]) -> str:
    """The pod-template-hash: it changes exactly when the template does."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def suffix() -> str:
    """The five random characters at the end of a pod's name."""
    digest = hashlib.sha256(str(time.time_ns()).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:5])


class Pods:
    """The pods of one state folder, a folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pods"

    def folder(self, pod: Pod) -> Path:
        """Everything of one pod: record, containers, logs."""
        return self._folder / pod.name

    def sidecar(self, pod: Pod) -> Files:
        """The files of the pod's Envoy."""
        return Files(self.folder(pod) / SIDECAR)

    def app_root(self, pod: Pod) -> Path:
        """What stands for the root file system of the application's container."""
        return self.folder(pod) / "app" / "root"

    def app_log(self, pod: Pod) -> Path:
        """The application's output."""
        return self.folder(pod) / "app" / f"{pod.app}.log"

    def app_ports(self, pod: Pod) -> Path:
        """Where the application writes the port that it was given."""
        return self.folder(pod) / "app" / "ports.json"

    def bound_ports(self, pod: Pod) -> dict[str, int]:
        """The application's ports by service; empty until it has bound them.

        Raises:
            BadState: the file is damaged.
        """
        path = self.app_ports(pod)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {str(name): int(port) for name, port in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise files.damaged(path) from error

    def outbound(self, pod: Pod) -> Path:
        """Where the application reads the way out of the pod."""
        return self.folder(pod) / "app" / "outbound"

    def log(self, pod: Pod, container: str) -> Path:
        """The log of a container."""
        return self.sidecar(pod).log if container == SIDECAR else self.app_log(pod)

    def all(self) -> list[Pod]:
        """Every pod, oldest first.

        Raises:
            BadState: a record is damaged or another version's.
        """
        found: list[Pod] = []
        for path in self._folder.glob("*/pod.json"):
            data = files.read_json(path, version=_SCHEMA)
            try:
                mounted = {key: Mounted(**value) for key, value in data["mounted"].items()}
                found.append(Pod(**{**data, "mounted": mounted}))
            except (KeyError, TypeError, AttributeError) as error:
                raise files.damaged(path) from error
        return sorted(found, key=lambda pod: (pod.created, pod.name))

    def save(self, pod: Pod) -> None:
        """Write the pod's record."""
        files.write_json(self.folder(pod) / "pod.json", asdict(pod), version=_SCHEMA)

    def remove(self, pod: Pod) -> None:
        """Forget the pod with its files and logs."""
        (self.folder(pod) / "pod.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder(pod), ignore_errors=False)


def info(pod: Pod) -> PodInfo:
    """The pod as `kubectl get pods` lists it."""
    total = len(pod.containers)
    ready, status = 0, "Running"
    if pod.state == "pending":
        # A native sidecar makes istio-init and istio-proxy init containers.
        status = "Init:0/2" if pod.sidecar else "ContainerCreating"
    elif pod.state == "starting":
        status = "PodInitializing" if pod.sidecar else "ContainerCreating"
    elif pod.state == "crashed":
        status = "CrashLoopBackOff"
    else:
        ready = total
    return PodInfo(
        name=pod.name,
        namespace=pod.namespace,
        ready=f"{ready}/{total}",
        status=status,
        restarts=sum(pod.restarts.values()),
        created=pod.created,
        labels=pod.labels,
        containers=pod.containers,
    )
