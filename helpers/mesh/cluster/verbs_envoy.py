"""istioctl proxy-config, sha256sum in a container, and the kubelet's volumes, on a cluster."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from helpers.errors import NotFound
from helpers.mesh.base import ConfigKind, FileDigest
from helpers.mesh.cluster import execing, podfacts, volumes
from helpers.mesh.cluster.core import Core
from helpers.mesh.cluster.execing import Place
from helpers.mesh.cluster.forward import PodAdmin
from helpers.mesh.cluster.podfacts import SIDECAR
from helpers.mesh.local import istioctl
from helpers.show import Result, TableResult


class EnvoyVerbs(Core):
    """The verbs that ask a sidecar's Envoy, or the files beside it."""

    def set_log_level(self, level: str, pod: str | None = None) -> Result:
        """istioctl proxy-config log POD --level wasm:info

        Of several replicas each gets the level.
        """
        pods = self._with_sidecar(pod)
        self._before_write()
        commands, lines = [], []
        for each in pods:
            name, where = each["metadata"]["name"], each["metadata"]["namespace"]
            levels = self._admin(each).set_log_level(level)
            commands.append(f"istioctl proxy-config log {name} -n {where} --level {level}")
            lines += [f"{name}.{where}:", "active loggers:"]
            lines += [f"  {logger}: {value}" for logger, value in levels.items()]
        which = "this pod" if len(pods) == 1 else "these pods"
        return self._result(
            "\n".join(commands),
            "\n".join(lines),
            f"{which} only, and only until {'it is' if len(pods) == 1 else 'they are'} replaced",
        )

    def proxy_config(self, what: ConfigKind, pod: str | None = None) -> TableResult:
        """istioctl proxy-config WHAT POD"""
        istioctl.require_known(what)
        found = self._with_sidecar(pod)[-1]
        admin = self._admin(found)
        name, where = found["metadata"]["name"], found["metadata"]["namespace"]
        command = f"istioctl proxy-config {what} {name} -n {where}"
        if what == "log":
            return istioctl.shown_levels(admin.log_levels(), command=command, mesh=self.kind)
        dump: dict[str, Any] = json.loads(admin.get("/config_dump?include_eds"))
        ports = {each["name"]: each["address"]["socket_address"].get("port_value", 0)
                 for each in istioctl.listeners(dump)}
        return istioctl.shown(what, dump, ports=ports, command=command, mesh=self.kind)

    def stats(self, pattern: str, pod: str | None = None) -> dict[str, int]:
        """kubectl exec POD -c istio-proxy -- pilot-agent request GET stats?filter=PATTERN

        Of several replicas the newest ready one's.
        """
        return self._admin(self._with_sidecar(pod)[-1]).stats(pattern)

    def file_sha256(
        self, path: str, pod: str | None = None, container: str = SIDECAR
    ) -> FileDigest:
        """kubectl exec POD -c CONTAINER -- sha256sum PATH

        Raises:
            NotFound: the container has no such file.
            ProgramMissing: it has no sha256sum either: a distroless image.
        """
        found = self._pod(pod)
        self._has(found, container)
        place = Place(found["metadata"]["namespace"], found["metadata"]["name"], container)
        digests = volumes.digests(self.connection, place, [path])
        digest = digests[path]
        if isinstance(digest, str):
            raise NotFound(
                f"sha256sum: {path}: {digest}",
                cause=f"container {container} of pod {place.pod} has no such file",
                fix="mount the volume that has it into this container",
            )
        return FileDigest(
            command=f"kubectl exec {place.pod} -n {place.namespace} -c {container} "
            f"-- sha256sum {path}",
            text=f"{digest.sha256}  {path}",
            mesh=self.kind,
            path=path,
            sha256=digest.sha256,
            size=digest.size,
        )

    def sync_volumes(self, pod: str | None = None, *, timeout: float = 120.0) -> Result:
        """Wait until changed ConfigMaps have reached the pods' files.

        A kubelet looks once a minute or so; a change of the pod object, here an annotation,
        makes it look at once. Where that is forbidden this waits for the kubelet.

        Args:
            timeout: seconds.

        Raises:
            NotReady: a file is still the old one; `detail` says which.
        """
        begun = time.monotonic()
        pods = self._serving_pods(pod)
        self._before_write()
        notes: list[str] = []
        for each in pods:
            notes += volumes.sync(
                self.connection, each, timeout=timeout - (time.monotonic() - begun)
            )
        names = ", ".join(each["metadata"]["name"] for each in pods)
        return self._result(
            "\n".join(
                f"kubectl annotate pod {each['metadata']['name']} -n "
                f"{each['metadata']['namespace']} --overwrite {volumes.ANNOTATION}=now"
                for each in pods
            ),
            f"volumes of {names} are up to date",
            *notes,
            seconds=time.monotonic() - begun,
        )

    def _serving_pods(self, name: str | None) -> list[dict[str, Any]]:
        newest = self._pod(name)
        ready = [pod for pod in self._pods_of(name) if podfacts.is_ready(pod)]
        return ready or [newest]

    def _with_sidecar(self, name: str | None) -> list[dict[str, Any]]:
        """The pods that are meant, the newest last, each of which runs a sidecar.

        Raises:
            NotFound: the pod has none.
            NotRunning: its sidecar has not been started.
        """
        pods = self._serving_pods(name)
        for each in pods:
            self._has(each, SIDECAR)
            if "running" not in (podfacts.status_of(each, SIDECAR).get("state") or {}):
                raise execing.NotRunning(
                    f"the sidecar of pod {each['metadata']['name']} does not run yet",
                    cause="the pod is starting, or the sidecar keeps ending",
                    fix=f'mesh.wait_ready("{podfacts.deployment(each)}")',
                )
        return pods

    def _admin(self, pod: dict[str, Any]) -> PodAdmin:
        """Envoy's admin interface in a pod; its port-forward is kept for the next call."""
        kept: dict[str, PodAdmin] = self.__dict__.setdefault("_admins", {})
        uid = pod["metadata"]["uid"]
        with _LOCK:
            if uid not in kept:
                place = Place(pod["metadata"]["namespace"], pod["metadata"]["name"], SIDECAR)
                made = kept[uid] = PodAdmin(self.connection, place)

                def end() -> None:
                    kept.pop(uid, None)
                    made.close()

                self._on_close(end)
            return kept[uid]


_LOCK = threading.Lock()
