"""LocalMesh: the Mesh protocol on this computer."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from helpers import manifests, paths
from helpers.errors import (
    AlreadyExists,
    BadInput,
    BadState,
    Busy,
    MeshDown,
    NotFound,
    NotModelled,
    NotReady,
)
from helpers.mesh.base import (
    ConfigKind,
    CurlResult,
    Endpoint,
    EventList,
    LogText,
    Manifest,
    PodList,
)
from helpers.mesh.local import access, istioctl, kubectl, services
from helpers.mesh.local.kubelet import RESTARTED_AT, Kubelet, bookinfo_app
from helpers.mesh.local.objects import Store
from helpers.mesh.local.pods import SIDECAR, Pod, info
from helpers.mesh.local.sidecar import APP_PORT
from helpers.mesh.local.volumes import PROPAGATION_SECONDS
from helpers.processes import Registry
from helpers.show import Result, TableResult, table

_LOCK_SECONDS = 60.0


class LocalMesh:
    """One real Envoy as productpage's sidecar, driven by the manifests that a cluster takes.

    Opening it starts nothing. Its state lies in `paths.state()`; processes that an earlier
    kernel started there are found again.

    Args:
        namespace: the namespace that calls without one work in.
        state: another state folder, for tests.
    """

    kind = "local"

    def __init__(self, namespace: str = "default", state: Path | None = None) -> None:
        self.namespace = namespace
        self.state = state or paths.state()
        self._registry = Registry(self.state)
        self._store = Store(self.state)
        self._kubelet = Kubelet(self.state, self._store, self._registry)
        self._gate = filelock.FileLock(self.state / "mesh.lock", timeout=_LOCK_SECONDS)

    # -- objects ------------------------------------------------------------------------------

    def create_namespace(self, name: str) -> Result:
        """kubectl create namespace NAME"""
        with self._at_work():
            self._store.create_namespace(name)
        return self._result(kubectl.create_namespace(name), f"namespace/{name} created")

    def create_configmap(
        self, name: str, from_file: Mapping[str, Path], *, namespace: str | None = None
    ) -> Result:
        """kubectl create configmap NAME --from-file=KEY=PATH … (replaces one that is there)

        Raises:
            BadManifest: over 1,048,576 bytes, or a bad name or key.
            NotFound: no such file, or no such namespace.
        """
        where = namespace or self.namespace
        document = manifests.configmap_from_files(name, where, from_file)
        command = kubectl.create_configmap(name, from_file, where)
        with self._at_work():
            try:
                self._store.create(document)
            except AlreadyExists:
                self._store.replace(document)
                note = (
                    "a running pod sees the new files after the kubelet's next look: up to a "
                    f"minute on a cluster, {PROPAGATION_SECONDS:.0f} s here. Envoy loads them "
                    "only when the plugin object changes."
                )
                command += " --dry-run=client -o yaml | kubectl replace -f -"
                return self._result(command, f"configmap/{name} replaced", note)
        return self._result(command, f"configmap/{name} created")

    def apply(self, manifest: Manifest, *, namespace: str | None = None) -> Result:
        """kubectl apply -f MANIFEST

        Raises:
            BadManifest: the API server would refuse it; nothing of the file is applied.
            NotModelled: a cluster would take it, the local mesh does not.
        """
        where = namespace or self.namespace
        found = manifests.load(manifest)
        source = paths.shown(manifest) if isinstance(manifest, Path) else "STDIN"
        for document in found:
            self._check_runnable(document)
        lines: list[str] = []
        with self._at_work():
            for document in found:
                placed = self._place(document, where)
                outcome, stored = self._store.apply(placed, source=source)
                lines.append(f"{kubectl.label(stored)} {outcome}")
        return self._result(kubectl.apply(manifest, found, where), "\n".join(lines))

    def patch(
        self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str | None = None
    ) -> Result:
        """kubectl patch KIND NAME -p PATCH"""
        where = namespace or self.namespace
        with self._at_work():
            before = self._store.get(kind, where, name)
            stored = self._store.patch(kind, where, name, patch)
            self._check_runnable(stored)
        same = before["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
        return self._result(
            kubectl.patch(kind, name, patch, where),
            f"{kubectl.label(stored)} patched{' (no change)' if same else ''}",
        )

    def delete(
        self, kind: str, name: str, *, namespace: str | None = None, missing_ok: bool = False
    ) -> Result:
        """kubectl delete KIND NAME [--ignore-not-found]"""
        where = namespace or self.namespace
        command = kubectl.delete(kind, name, where, missing_ok)
        with self._at_work():
            try:
                gone = self._store.delete(kind, where, name)
            except NotFound:
                if not missing_ok:
                    raise
                return self._result(command, "")
        return self._result(command, f'{kubectl.label(gone, dot=True)} "{name}" deleted')

    def get(
        self, kind: str, name: str | None = None, *, namespace: str | None = None
    ) -> TableResult:
        """kubectl get KIND [NAME]"""
        where = namespace or self.namespace
        if kind.lower() in ("pod", "pods", "po"):
            return self.pods(namespace=where)
        with self._at_work():
            if name is None:
                found = self._store.list(kind, where)
            else:
                found = [self._store.get(kind, where, name)]
            ready = {
                (pod.namespace, pod.deployment)
                for pod in self._kubelet.pods.all()
                if pod.state == "ready"
            }
        columns, rows = kubectl.columns(found, ready)
        return table(
            columns,
            rows,
            command=kubectl.get(kind, name, where),
            mesh=self.kind,
            empty=f"No resources found in {where} namespace.",
            extra={"objects": found},
        )

    # -- pods ---------------------------------------------------------------------------------

    def pods(self, selector: str | None = None, *, namespace: str | None = None) -> PodList:
        """kubectl get pods [-l SELECTOR]"""
        where = namespace or self.namespace
        wanted = kubectl.parse_selector(selector)
        with self._at_work():
            found = [
                info(pod)
                for pod in self._kubelet.pods.all()
                if pod.namespace == where
                and all(pod.labels.get(key) == value for key, value in wanted.items())
            ]
        rows = [
            (pod.name, pod.ready, pod.status, pod.restarts, kubectl.age(pod.created))
            for pod in found
        ]
        shown = table(
            ("NAME", "READY", "STATUS", "RESTARTS", "AGE"),
            rows,
            empty=f"No resources found in {where} namespace.",
        )
        return PodList(
            command=kubectl.get("pods", None, where) + (f" -l {selector}" if selector else ""),
            text=shown.text,
            columns=shown.columns,
            rows=shown.rows,
            mesh=self.kind,
            pods=tuple(found),
        )

    def events(self, *, namespace: str | None = None) -> EventList:
        """kubectl get events --sort-by=.lastTimestamp"""
        where = namespace or self.namespace
        with self._at_work():
            found = [event for event in self._kubelet.events.all() if event.namespace == where]
        rows = [
            (
                kubectl.age(event.time) + (f" (x{event.count})" if event.count > 1 else ""),
                event.type,
                event.reason,
                event.object,
                event.message,
            )
            for event in found
        ]
        shown = table(
            ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"),
            rows,
            empty=f"No events found in {where} namespace.",
        )
        return EventList(
            command=f"kubectl get events -n {where} --sort-by=.lastTimestamp",
            text=shown.text,
            columns=shown.columns,
            rows=shown.rows,
            mesh=self.kind,
            events=tuple(found),
        )

    def wait_ready(
        self, deployment: str, *, timeout: float = 60.0, namespace: str | None = None
    ) -> Result:
        """kubectl rollout status deploy/DEPLOYMENT

        Raises:
            NotFound: there is no such Deployment.
            NotReady: the newest pod is not ready in time; `detail` holds pods and events.
            MeshDown: a container keeps ending.
        """
        where = namespace or self.namespace
        begun = time.monotonic()
        self._store.get("Deployment", where, deployment)
        while True:
            with self._at_work():
                mine = [
                    pod
                    for pod in self._kubelet.pods.all()
                    if (pod.namespace, pod.deployment) == (where, deployment)
                ]
            if len(mine) == 1 and mine[0].state == "ready":
                return self._result(
                    f"kubectl rollout status deploy/{deployment} -n {where}",
                    f'deployment "{deployment}" successfully rolled out',
                    seconds=time.monotonic() - begun,
                )
            for pod in mine:
                if pod.state == "crashed":
                    raise self._kubelet.crashed(pod)
            if time.monotonic() - begun > timeout:
                pods, events = self.pods(namespace=where), self.events(namespace=where)
                raise NotReady(
                    f"deployment {deployment} is not ready after {timeout:.0f} s",
                    cause=next((pod.reason for pod in mine if pod.reason), "see the events"),
                    fix="mend what the last Warning says; the old pod keeps serving meanwhile",
                    detail=f"{pods.text}\n\n" + "\n".join(events.text.splitlines()[-6:]),
                )
            time.sleep(0.05)

    def restart(self, deployment: str, *, namespace: str | None = None) -> Result:
        """kubectl rollout restart deploy/DEPLOYMENT"""
        where = namespace or self.namespace
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) + f".{time.time_ns() % 10**9}"
        with self._at_work():
            self._store.patch(
                "Deployment",
                where,
                deployment,
                {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}},
            )
        return self._result(
            f"kubectl rollout restart deploy/{deployment} -n {where}",
            f"deployment.apps/{deployment} restarted",
        )

    # -- traffic and logs ---------------------------------------------------------------------

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

    # -- Envoy ----------------------------------------------------------------------------------

    def set_log_level(self, level: str, pod: str | None = None) -> Result:
        """istioctl proxy-config log POD --level wasm:info"""
        with self._at_work():
            found = self._sidecar_pod(pod)
            levels = self._kubelet.sidecar(found).admin.set_log_level(level)
        lines = [f"{found.name}.{found.namespace}:", "active loggers:"]
        lines += [f"  {name}: {value}" for name, value in levels.items()]
        return self._result(
            f"istioctl proxy-config log {found.name} -n {found.namespace} --level {level}",
            "\n".join(lines),
            "this pod only, and only until it is replaced",
        )

    def proxy_config(self, what: ConfigKind, pod: str | None = None) -> TableResult:
        """istioctl proxy-config WHAT POD"""
        with self._at_work():
            found = self._sidecar_pod(pod)
            side = self._kubelet.sidecar(found)
            command = f"istioctl proxy-config {what} {found.name} -n {found.namespace}"
            if what == "log":
                levels = side.admin.log_levels()
                return table(
                    ("LOGGER", "LEVEL"),
                    levels.items(),
                    command=command,
                    mesh=self.kind,
                    extra={"json": levels},
                )
            text = side.admin.get("/config_dump?include_eds")
            ports = side.ports()
        # The prefix is an accident of this computer: a learner reads the container's paths.
        dump = json.loads(text.replace(json.dumps(str(side.files.root))[1:-1], ""))
        if what == "listener":
            return table(
                ("NAME", "ADDRESSES", "PORT", "MATCH", "DESTINATION"),
                istioctl.listener_rows(dump, ports),
                command=command,
                mesh=self.kind,
                extra={"json": istioctl.listeners(dump)},
                notes=(
                    "in a cluster virtualInbound listens on 15006, where iptables brings "
                    "port 9080; here each listener has a port that the kernel chose",
                ),
            )
        if what == "cluster":
            return table(
                ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"),
                istioctl.cluster_rows(dump),
                command=command,
                mesh=self.kind,
                extra={"json": istioctl.clusters(dump)},
            )
        if what == "ecds":
            return table(
                ("ECDS NAME", "TYPE"),
                istioctl.ecds_rows(dump),
                command=command,
                mesh=self.kind,
                extra={"json": istioctl.ecds(dump)},
                empty="no ECDS",
            )
        raise BadInput(
            f"proxy-config {what!r} is not known",
            cause="the workbook shows listener, cluster, ecds and log",
            fix='mesh.proxy_config("listener")',
        )

    def stats(self, pattern: str, pod: str | None = None) -> dict[str, int]:
        """kubectl exec POD -c istio-proxy -- pilot-agent request GET stats?filter=PATTERN"""
        with self._at_work():
            return self._kubelet.sidecar(self._sidecar_pod(pod)).admin.stats(pattern)

    # -- the mesh itself ------------------------------------------------------------------------

    def sync_volumes(self, pod: str | None = None) -> Result:
        """Bring changed ConfigMaps into a pod now, without the kubelet's delay."""
        with self._at_work():
            found = self._pod(pod)
            self._kubelet.sync(found)
        return self._result("", f"volumes of {found.name} are up to date")

    def close(self) -> None:
        """Leave the mesh; its processes keep running."""

    def stop(self) -> Result:
        """End every process of the mesh; the objects are kept."""
        with self._locked():
            for pod in self._kubelet.pods.all():
                self._kubelet.stop(pod)
            ended = self._registry.stop_all()
        return self._result("", "stopped" + (f": {', '.join(ended)}" if ended else ""))

    def reset(self) -> Result:
        """End every process and forget every object: an empty cluster again."""
        with self._locked():
            with contextlib.suppress(BadState):  # damaged records go with the folder below
                self._registry.stop_all()
            for name in ("objects", "pods", "processes"):
                shutil.rmtree(self.state / name, ignore_errors=True)
            (self.state / "events.json").unlink(missing_ok=True)
        self._store = Store(self.state)
        self._kubelet = Kubelet(self.state, self._store, self._registry)
        return self._result("", "the local mesh is empty")

    # -- inside ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._gate.acquire()
        except filelock.Timeout as error:
            raise Busy(
                f"the mesh under {self.state} is in use by another process",
                cause=f"it has not finished within {_LOCK_SECONDS:.0f} s",
                fix="let the other notebook or `workbook` command finish, then run this again",
            ) from error
        try:
            yield
        finally:
            self._gate.release()

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Bring the mesh up to date before a call, and again after it changed objects."""
        with self._locked():
            version = self._store.version()
            self._kubelet.reconcile()
            yield
            if self._store.version() != version:
                self._kubelet.reconcile()

    def _result(self, command: str, text: str, *notes: str, seconds: float | None = None) -> Result:
        return Result(command=command, text=text, mesh=self.kind, notes=notes, seconds=seconds)

    def _place(self, document: dict[str, Any], namespace: str) -> dict[str, Any]:
        meta = document.get("metadata")
        if document.get("kind") != "Namespace" and isinstance(meta, dict):
            meta.setdefault("namespace", namespace)
        return document

    def _check_runnable(self, document: Mapping[str, Any]) -> None:
        """Refuse what a cluster would take and this mesh could not run."""
        spec = document.get("spec")
        if not isinstance(spec, Mapping):
            return
        if document.get("kind") == "Deployment":
            with contextlib.suppress(KeyError, IndexError, TypeError):  # the schema says so better
                bookinfo_app(spec["template"])
            return
        wasm = spec if document.get("kind") == "WasmPlugin" else spec.get("wasm") or {}
        url = str(wasm.get("url", "")) if isinstance(wasm, Mapping) else ""
        if url and (url.startswith("oci://") or "://" not in url):
            raise NotModelled(
                f"the local mesh does not pull {url!r}",
                cause="a URL without a scheme means an OCI image, and this computer has no "
                "image registry to pull it from",
                fix="use file:// with a volume, http(s):// with a sha256, or a cluster",
            )

    def _pod(self, name: str | None) -> Pod:
        found = kubectl.pick(self._kubelet.pods.all(), name, self.namespace)
        if found.state == "crashed":
            raise self._kubelet.crashed(found)
        return found

    def _sidecar_pod(self, name: str | None) -> Pod:
        found = self._pod(name)
        self._has(found, SIDECAR)
        if self._registry.get(found.process(SIDECAR)) is None:
            raise NotReady(
                f"the sidecar of pod {found.name} does not run yet",
                cause=found.reason or "the pod is starting",
                fix=f'mesh.wait_ready("{found.deployment}")',
            )
        return found

    def _has(self, pod: Pod, container: str) -> None:
        if container not in pod.containers:
            raise NotFound(
                f"container {container} is not valid for pod {pod.name}",
                cause="it has: "
                + ", ".join(pod.containers)
                + ("" if pod.sidecar else " (the local mesh gives only productpage a sidecar)"),
                fix=f'container="{pod.containers[0]}"',
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
        found = services.endpoints(service, self._kubelet.pods.all(), self._live_address)
        return found[-1] if found else None

    def _live_address(self, pod: Pod) -> tuple[str, int] | None:
        try:
            return self._kubelet.address(pod)
        except MeshDown:  # its Envoy has just ended: not an endpoint
            return None
