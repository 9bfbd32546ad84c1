"""The Mesh protocol: one verb for each command that a person types, and its result types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from helpers.show import Result, TableResult

#: A manifest: a file, YAML text, one object or several.
Manifest = Path | str | Mapping[str, Any] | Sequence[Mapping[str, Any]]

ConfigKind = Literal["listener", "cluster", "ecds", "log"]


@dataclass(frozen=True)
class PodInfo:
    """One pod as `kubectl get pods` would show it.

    Attributes:
        ready: such as "2/2".
        status: kubectl's STATUS column: "Running", "Init:0/2", "Terminating" …
        containers: names of the containers, the sidecar among them.
        created: seconds since the epoch.
    """

    name: str
    namespace: str
    ready: str
    status: str
    restarts: int
    created: float
    labels: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether all containers are ready."""
        have, want = self.ready.split("/")
        return have == want and self.status == "Running"


@dataclass(frozen=True, kw_only=True)
class PodList(TableResult):
    """The answer of `kubectl get pods`."""

    pods: tuple[PodInfo, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CurlResult(Result):
    """The answer to one request.

    Attributes:
        status: the HTTP status; 0 when there was no HTTP answer (curl's 000).
        headers: the answer's headers, names in lower case.
        body: the answer's body.
        latency_ms: milliseconds from sending to the whole answer.
        error: why there was no answer, as curl words it; empty when there was one.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    latency_ms: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class LogText(Result):
    """Lines of a container's log; `lines` holds them, `text` joins them.

    Attributes:
        pods: the pod of each line, where they are of several; else empty.
    """

    lines: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FileDigest(Result):
    """What lies at a path of a container.

    Attributes:
        path: the path in the container.
        sha256: of the file's bytes, in hex.
        size: bytes.
    """

    path: str = ""
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class Event:
    """One event as `kubectl get events` shows it."""

    time: float
    type: str
    reason: str
    object: str
    source: str
    message: str
    namespace: str = "default"
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class EventList(TableResult):
    """The answer of `kubectl get events`."""

    events: tuple[Event, ...] = ()

    def _body_html(self) -> str:
        # MESSAGE is prose and the point of it all: it wraps, rather than scroll out of sight.
        return Result._body_html(self)


@dataclass(frozen=True)
class Endpoint:
    """Where a load generator on this computer reaches the workload, and what Host to send.

    Attributes:
        url: base URL such as "http://127.0.0.1:41873".
        host: the Host header, such as "productpage:9080".
    """

    url: str
    host: str


@runtime_checkable
class Mesh(Protocol):
    """What every mesh can do. Each call returns a result that shows the real command.

    A namespace of None means `self.namespace`. A pod may be named by pod name, by
    "deploy/NAME" or by "app=NAME"; None means productpage's newest pod.
    """

    @property
    def kind(self) -> str:
        """ "local" or "cluster": the badge of each result."""

    @property
    def namespace(self) -> str:
        """The namespace that calls without one work in."""

    def create_namespace(self, name: str) -> Result:
        """kubectl create namespace NAME"""

    def create_configmap(
        self, name: str, from_file: Mapping[str, Path], *, namespace: str | None = None
    ) -> Result:
        """kubectl create configmap NAME --from-file=KEY=PATH … -n NAMESPACE"""

    def apply(self, manifest: Manifest, *, namespace: str | None = None) -> Result:
        """kubectl apply -f MANIFEST"""

    def patch(
        self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str | None = None
    ) -> Result:
        """kubectl patch KIND NAME -p PATCH

        As kubectl does by default: strategic for built-in kinds (lists of containers and
        volumes are merged by name), a JSON merge patch for Istio's.
        """

    def delete(
        self, kind: str, name: str, *, namespace: str | None = None, missing_ok: bool = False
    ) -> Result:
        """kubectl delete KIND NAME"""

    def get(
        self, kind: str, name: str | None = None, *, namespace: str | None = None
    ) -> TableResult:
        """kubectl get KIND [NAME]; `extra["objects"]` holds the objects as dicts"""

    def pods(self, selector: str | None = None, *, namespace: str | None = None) -> PodList:
        """kubectl get pods [-l SELECTOR]"""

    def events(self, *, namespace: str | None = None) -> EventList:
        """kubectl get events"""

    def wait_ready(
        self, deployment: str, *, timeout: float = 60.0, namespace: str | None = None
    ) -> Result:
        """kubectl rollout status deploy/DEPLOYMENT"""

    def restart(self, deployment: str, *, namespace: str | None = None) -> Result:
        """kubectl rollout restart deploy/DEPLOYMENT"""

    def curl(
        self,
        url: str,
        *,
        headers: Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]] | None = None,
        method: str = "GET",
        data: bytes | None = None,
        pod: str | None = None,
        container: str = "istio-proxy",
        timeout: float = 10.0,
    ) -> CurlResult:
        """kubectl exec POD -c CONTAINER -- curl -s URL

        From istio-proxy the request goes straight to the service, as in a cluster (user 1337
        is not captured); from any other container it leaves through the sidecar's outbound
        listener first.
        """

    def logs(
        self,
        pod: str | None = None,
        *,
        container: str = "istio-proxy",
        since: float | None = None,
        tail: int | None = None,
        grep: str | None = None,
    ) -> LogText:
        """kubectl logs POD -c CONTAINER [--since-time] [--tail] [| grep]

        Args:
            since: seconds since the epoch; only lines at or after it.
            grep: keep only lines that contain this text.
        """

    def follow(
        self,
        pod: str | None = None,
        *,
        container: str = "istio-proxy",
        seconds: float = 30.0,
        grep: str | None = None,
    ) -> Iterator[str]:
        """kubectl logs -f POD: new lines as they come, for at most `seconds`"""

    def set_log_level(self, level: str, pod: str | None = None) -> Result:
        """istioctl proxy-config log POD --level wasm:info"""

    def proxy_config(self, what: ConfigKind, pod: str | None = None) -> TableResult:
        """istioctl proxy-config WHAT POD; `extra["json"]` holds the whole configuration"""

    def stats(self, pattern: str, pod: str | None = None) -> dict[str, int]:
        """kubectl exec POD -c istio-proxy -- pilot-agent request GET stats?filter=PATTERN

        Args:
            pattern: a regular expression; counters and gauges whose name matches are given.
        """

    def file_sha256(
        self, path: str, pod: str | None = None, container: str = "istio-proxy"
    ) -> FileDigest:
        """kubectl exec POD -c CONTAINER -- sha256sum PATH

        Raises:
            NotFound: the container has no such file.
        """

    def endpoint(self, service: str = "productpage") -> Endpoint:
        """Where load may be sent to (inbound side of the workload's sidecar)."""

    def sync_volumes(self, pod: str | None = None) -> Result:
        """Wait until changed ConfigMaps have reached the pod's files.

        A kubelet takes up to a minute; the local mesh does it at once.
        """

    def close(self) -> None:
        """Leave the mesh; the local mesh's processes keep running until `stop`."""

    def stop(self) -> Result:
        """End everything that the workbook started for this mesh."""
