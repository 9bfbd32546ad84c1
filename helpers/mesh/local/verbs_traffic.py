"""curl in a pod and kubectl logs, on the local mesh."""

from __future__ import annotations

from collections.abc import Iterator

from helpers.errors import NotFound, NotReady
from helpers.mesh.base import CurlResult, Endpoint, LogText
from helpers.mesh.local import access, kubectl, services
from helpers.mesh.local.core import Core
from helpers.mesh.local.pods import SIDECAR, Pod
from helpers.mesh.local.sidecar import APP_PORT


class TrafficVerbs(Core):
    """The verbs that send requests and read logs."""

    def curl(
        self,
        url: str,
        *,
        headers: access.Headers = None,
        method: str = "GET",
        data: bytes | None = None,
        pod: str | None = None,
        container: str = SIDECAR,
        timeout: float = 10.0,
    ) -> CurlResult:
        """kubectl exec POD -c CONTAINER -- curl -s URL"""
        where = access.target(url)
        with self._at_work():
            client = self._pod(pod)
            self._has(client, container)
            base = self._route(client, where, container)
        command = kubectl.curl(client.name, container, url, headers, method, data)
        if base is None:
            return CurlResult(
                command=command,
                mesh=self.kind,
                status=0,
                text=f"curl: (6) Could not resolve host: {where.host}",
                error=f"curl: (6) Could not resolve host: {where.host}",
            )
        answer = access.request(
            base, where, method=method, headers=headers, data=data, timeout=timeout
        )
        text = answer.error or f"HTTP {answer.status}\n{answer.body}"
        return CurlResult(
            command=command,
            mesh=self.kind,
            text=text.rstrip(),
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            latency_ms=answer.latency_ms,
            error=answer.error,
            seconds=answer.latency_ms / 1000,
        )

    def endpoint(self, service: str = "productpage") -> Endpoint:
        """The inbound side of a service's workload, for a load generator on this computer."""
        with self._at_work():
            address = self._service_address(service, self.namespace)
        if address is None:
            raise NotReady(
                f"no ready pod stands behind service {service}",
                cause="its pod is starting, or was never applied",
                fix='mesh.wait_ready("productpage-v1")',
            )
        return Endpoint(f"http://{address[0]}:{address[1]}", f"{service}:{APP_PORT}")

    def logs(
        self,
        pod: str | None = None,
        *,
        container: str = SIDECAR,
        since: float | None = None,
        tail: int | None = None,
        grep: str | None = None,
    ) -> LogText:
        """kubectl logs POD -c CONTAINER"""
        with self._at_work():
            found = self._pod(pod)
            self._has(found, container)
        lines = access.read(
            self._kubelet.pods.log(found, container),
            since=since,
            tail=tail,
            grep=grep,
            strip=str(self._kubelet.pods.sidecar(found).root),
        )
        return LogText(
            command=kubectl.logs(found.name, container, since, tail, grep),
            mesh=self.kind,
            text="\n".join(lines),
            lines=tuple(lines),
        )

    def follow(
        self,
        pod: str | None = None,
        *,
        container: str = SIDECAR,
        seconds: float = 30.0,
        grep: str | None = None,
    ) -> Iterator[str]:
        """kubectl logs -f POD"""
        with self._at_work():
            found = self._pod(pod)
            self._has(found, container)
        return access.follow(
            self._kubelet.pods.log(found, container),
            seconds=seconds,
            grep=grep,
            strip=str(self._kubelet.pods.sidecar(found).root),
        )

    def _route(self, client: Pod, where: access.Target, container: str) -> tuple[str, int] | None:
        """Where a request of this container goes first; None when the name is unknown."""
        known = services.services(self._store.list("Service"))
        service = services.resolve(where.host, client.namespace, known)
        if client.sidecar and container != SIDECAR and where.port == APP_PORT:
            side = self._kubelet.sidecar(client)
            return "127.0.0.1", side.ports()[f"0.0.0.0_{APP_PORT}"]
        if service is None:
            return None
        address = self._service_address(service.name, service.namespace)
        # Nothing listens on port 1 of this computer: the connection is refused, as kube-proxy
        # refuses one to a Service without endpoints.
        return address if address and where.port in service.ports else ("127.0.0.1", 1)

    def _service_address(self, name: str, namespace: str) -> tuple[str, int] | None:
        known = services.services(self._store.list("Service"))
        service = next((s for s in known if (s.name, s.namespace) == (name, namespace)), None)
        if service is None:
            raise NotFound(
                f'Error from server (NotFound): services "{name}" not found',
                cause="no such Service in this namespace",
                fix='mesh.apply(Path("manifests/bookinfo.yaml"))',
            )
        found = services.endpoints(service, self._kubelet.pods.all(), self._kubelet.live_address)
        return found[-1] if found else None
