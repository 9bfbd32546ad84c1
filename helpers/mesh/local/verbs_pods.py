"""kubectl get pods, events, rollout, on the local mesh."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from helpers.errors import NotFound, NotReady
from helpers.mesh.base import EventList, FileDigest, PodList
from helpers.mesh.local import kubectl
from helpers.mesh.local.agent import inside
from helpers.mesh.local.core import Core
from helpers.mesh.local.kubelet import RESTARTED_AT
from helpers.mesh.local.pods import SIDECAR, info
from helpers.show import Result, table


class PodVerbs(Core):
    """The verbs about pods."""

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

    def file_sha256(
        self, path: str, pod: str | None = None, container: str = SIDECAR
    ) -> FileDigest:
        """kubectl exec POD -c CONTAINER -- sha256sum PATH

        Raises:
            NotFound: the container has no such file.
        """
        with self._at_work():
            found = self._pod(pod)
            self._has(found, container)
            pods = self._kubelet.pods
            root = pods.sidecar(found).root if container == SIDECAR else pods.app_root(found)
            there = Path(inside(root, path))
            try:
                data = there.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                kind = "Is a directory" if there.is_dir() else "No such file or directory"
                raise NotFound(
                    f"sha256sum: {path}: {kind}",
                    cause=f"container {container} of pod {found.name} has no such file",
                    fix="mount the volume that has it into this container",
                ) from None
        digest = hashlib.sha256(data).hexdigest()
        return FileDigest(
            command=f"kubectl exec {found.name} -n {found.namespace} -c {container} "
            f"-- sha256sum {path}",
            text=f"{digest}  {path}",
            mesh=self.kind,
            path=path,
            sha256=digest,
            size=len(data),
        )
