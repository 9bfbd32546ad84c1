"""curl in a pod, an address for load, and kubectl logs, on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from helpers.errors import NotFound, NotReady, WorkbookError
from helpers.mesh.base import CurlResult, Endpoint, LogText
from helpers.mesh.cluster import curling, execing, pod_logs, podfacts, relay, strict
from helpers.mesh.cluster.core import Core
from helpers.mesh.cluster.errors import About
from helpers.mesh.cluster.execing import Place
from helpers.mesh.cluster.podfacts import SIDECAR
from helpers.mesh.local import access, kubectl

#: What the article's application listens on; taken where a Service has several ports.
_APP_PORT = 9080
#: How long a relay's connections go to the pod that was looked up last, in seconds.
_POD_SECONDS = 2.0
#: Seconds that exec itself may need beyond the program's own time.
_EXEC_SECONDS = 20.0


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
        """kubectl exec POD -c CONTAINER -- curl -s URL

        A container without curl may have python3, which then sends the same bytes.

        Raises:
            ProgramMissing: the container has neither; the fix names those that have.
            PodGone: the pod was removed meanwhile.
            NotRunning: the container does not run.
        """
        request = curling.request(url, access.target(url), headers, method, data, timeout)
        found = self._pod(pod)
        self._has(found, container)
        place = _place(found, container)
        begun = time.monotonic()
        done = execing.run(
            self.connection,
            place,
            request.command(),
            stdin=data or b"",
            timeout=timeout + _EXEC_SECONDS,
        )
        took = time.monotonic() - begun
        if done.code == curling.NO_PROGRAM and not done.stdout:
            raise self._no_curl(found, container)
        answer = curling.answer(done.code, done.stdout, done.stderr, took * 1000)
        text = answer.error or f"HTTP {answer.status}\n{answer.body}"
        notes: tuple[str, ...] = ()
        if "curl: (56)" in answer.error and container == SIDECAR:
            notes = strict.notes(self.connection, found)
        return CurlResult(
            command=_in(
                kubectl.curl(place.pod, container, url, headers, method, data), place, "exec"
            ),
            mesh=self.kind,
            text=text.rstrip(),
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            latency_ms=answer.latency_ms,
            error=answer.error,
            seconds=took,
            notes=notes,
        )

    def endpoint(self, service: str = "productpage") -> Endpoint:
        """An address on this computer whose requests reach the sidecars behind a Service.

        Each connection runs one `bash` in an istio-proxy container (see `relay`), so it needs an
        image that has one: Istio's default variant does, the distroless one does not.

        Raises:
            NotReady: no ready pod with a sidecar stands behind the Service, or none in the
                namespace has one.
        """
        where = self.namespace
        port, selector = self._service(service)
        behind = [
            pod
            for pod in self._list_pods(where)
            if podfacts.is_ready(pod) and selector.items() <= _labels(pod).items()
        ]
        if not behind or not selector:
            raise NotReady(
                f"no ready pod stands behind service {service}",
                cause="its pod is starting, or was never applied",
                fix='mesh.wait_ready("productpage-v1")',
            )
        host = f"{service}:{port}"
        relays: dict[tuple[str, str], relay.Relay] = self.__dict__.setdefault("_relays", {})
        if (where, host) not in relays:
            place = _Sidecar(self)
            self._need_bash(place())
            made = relay.Relay(
                lambda: relay.program(self.connection, place(), f"{service}.{where}", port)
            )
            relays[where, host] = made

            def end() -> None:
                relays.pop((where, host), None)
                made.close()

            self._on_close(end)
        return Endpoint(f"http://127.0.0.1:{relays[where, host].port}", host)

    def logs(
        self,
        pod: str | None = None,
        *,
        container: str = SIDECAR,
        since: float | None = None,
        tail: int | None = None,
        grep: str | None = None,
    ) -> LogText:
        """kubectl logs POD -c CONTAINER

        A Deployment with several replicas gives the lines of all its ready pods, in the order of
        time; `pods` of the result tells whose each is. Where the container was restarted, the
        lines of its last instance come before its own, as long as the kubelet has them.
        """
        chosen = self._serving(pod)
        notes: list[str] = []
        parts = []
        for each in chosen:
            self._has(each, container)
            parts.append(self._log_of(each, container, since, notes))
        if since is not None:
            parts = [pod_logs.not_before(part, since) for part in parts]
        lines = pod_logs.merge(parts) if len(parts) > 1 else parts[0]
        texts = [line.text for line in lines]
        kept = [lines[at] for at in access.places(texts, since=None, tail=tail, grep=grep)]
        first = chosen[-1]
        place = _place(first, container)
        command = _in(kubectl.logs(place.pod, container, since, tail, grep), place, "logs")
        if len(chosen) > 1:
            selected = f"-l pod-template-hash={_labels(first)['pod-template-hash']}"
            whole = "" if tail is not None and grep is None else " --tail=-1"
            command = command.replace(place.pod, selected, 1)
            command = command.replace(f" -c {container}", f" -c {container}{whole}", 1)
            notes.append(f"{len(chosen)} pods: " + ", ".join(p["metadata"]["name"] for p in chosen))
        return LogText(
            command=command,
            mesh=self.kind,
            text="\n".join(line.text for line in kept),
            lines=tuple(line.text for line in kept),
            pods=tuple(line.pod for line in kept) if len(chosen) > 1 else (),
            notes=tuple(notes),
        )

    def follow(
        self,
        pod: str | None = None,
        *,
        container: str = SIDECAR,
        seconds: float = 30.0,
        grep: str | None = None,
    ) -> Iterator[str]:
        """kubectl logs -f POD: of several replicas the newest ready pod's.

        Raises:
            PodGone: the pod was removed meanwhile.
        """
        found = self._pod(pod)
        self._has(found, container)
        return pod_logs.follow(
            self.connection, _place(found, container), seconds=seconds, grep=grep
        )

    def _serving(self, name: str | None) -> list[dict[str, Any]]:
        """The pods that are meant, oldest first: all ready ones of the newest one's ReplicaSet."""
        newest = self._pod(name)
        kind = _labels(newest).get("pod-template-hash")
        mine = [
            pod
            for pod in self._pods_of(name)
            if podfacts.is_ready(pod) and kind and _labels(pod).get("pod-template-hash") == kind
        ]
        return mine or [newest]

    def _log_of(
        self, pod: dict[str, Any], container: str, since: float | None, notes: list[str]
    ) -> list[pod_logs.Line]:
        place = _place(pod, container)
        status = podfacts.status_of(pod, container)
        lines: list[pod_logs.Line] = []
        if "running" not in (status.get("state") or {}) and not status.get("restartCount"):
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting:
                raise execing.NotRunning(
                    f"container {container} of pod {place.pod} is waiting to start: "
                    f"{waiting.get('reason', '')}",
                    cause=str(waiting.get("message") or "it has not been started yet"),
                    fix="look at mesh.pods() and mesh.events()",
                )
        if status.get("restartCount") and _before_start(status, since):
            try:
                lines = pod_logs.read(self.connection, place, since=since, previous=True)
                notes.append(f"{place.pod}: {container} was restarted; lines of the instance "
                             "before come first (kubectl logs --previous)")
            except WorkbookError as error:
                # The kubelet keeps one instance, and not for ever.
                notes.append(f"{place.pod}: {container} was restarted, and the lines before "
                             f"that are gone: {error.what}")
        return lines + pod_logs.read(self.connection, place, since=since)

    def _service(self, name: str) -> tuple[int, dict[str, str]]:
        """Port and selector of a Service of the namespace."""
        where = self.namespace
        try:
            found = self.connection.request(
                "GET",
                f"/api/v1/namespaces/{where}/services/{name}",
                about=About("get", "services", "Service", name=name, namespace=where),
            )
        except NotFound as error:
            raise NotReady(
                f"no ready pod stands behind service {name}",
                cause=error.what,
                fix='mesh.apply(Path("manifests/bookinfo.yaml"))',
            ) from error
        ports = [int(each["port"]) for each in found["spec"].get("ports") or ()]
        selector = dict(found["spec"].get("selector") or {})
        return (_APP_PORT if _APP_PORT in ports or not ports else ports[0]), selector

    def _no_curl(self, pod: dict[str, Any], container: str) -> execing.ProgramMissing:
        names = podfacts.containers(pod)
        have = [name for name in names if name != container and self._has_curl(pod, name)]
        return execing.ProgramMissing(
            f"container {container} of pod {pod['metadata']['name']} has neither curl nor python3",
            cause="its image was built without them",
            fix=f'container="{have[0]}" has' if have else "send it from another pod: pod=…",
        )

    def _has_curl(self, pod: dict[str, Any], container: str) -> bool:
        look = ["sh", "-c", "command -v curl || command -v python3"]
        try:
            return execing.run(self.connection, _place(pod, container), look).code == 0
        except (execing.ProgramMissing, execing.NotRunning):
            return False

    def _need_bash(self, place: Place) -> None:
        try:
            execing.run(self.connection, place, ["bash", "-c", "exit 0"])
        except execing.ProgramMissing as error:
            raise execing.ProgramMissing(
                f"no load can be sent through pod {place.pod}: its sidecar's image has no bash",
                cause="it is Istio's distroless variant; the relay needs the default variant "
                "(istioctl install --set values.global.variant=default)",
                fix='traffic.send(mesh, container="productpage") sends from the application',
            ) from error


class _Sidecar:
    """The container whose programs a relay starts: the newest ready productpage's sidecar."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._found: Place | None = None
        self._until = 0.0

    def __call__(self) -> Place:
        # Looked up again now and then: a rollout replaces the pod under a running mesh.
        if self._found is None or time.monotonic() > self._until:
            pod = self._core._pod(None)
            self._core._has(pod, SIDECAR)
            self._found = _place(pod, SIDECAR)
            self._until = time.monotonic() + _POD_SECONDS
        return self._found


def _place(pod: dict[str, Any], container: str) -> Place:
    return Place(pod["metadata"]["namespace"], pod["metadata"]["name"], container)


def _labels(pod: dict[str, Any]) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}


def _in(command: str, place: Place, verb: str) -> str:
    """The command with the namespace, where that is not kubectl's own default."""
    if place.namespace == "default":
        return command
    return command.replace(f"kubectl {verb} ", f"kubectl {verb} -n {place.namespace} ", 1)


def _before_start(status: Mapping[str, Any], since: float | None) -> bool:
    """Whether lines from `since` on may be the last instance's."""
    started = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    return since is None or not started or since < datetime.fromisoformat(started).timestamp() + 1
