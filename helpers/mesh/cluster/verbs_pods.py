"""kubectl get pods, get events, rollout status and rollout restart, on a cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from helpers.errors import NotReady
from helpers.mesh.base import Event, EventList, PodInfo, PodList
from helpers.mesh.cluster import listening, ownership, podfacts
from helpers.mesh.cluster.core import Core
from helpers.mesh.cluster.errors import About
from helpers.mesh.cluster.waiting import why_not_ready
from helpers.mesh.local import kubectl
from helpers.show import Result, table

#: The API server's own rendering, from which kubectl takes its columns.
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_PAUSE = 0.25
_LOG_LINES = 10
#: kube-proxy brings its rules up to date at most once a second (its minSyncPeriod).
_SETTLE_SECONDS = 2.0


class PodVerbs(Core):
    """The verbs about pods."""

    def pods(self, selector: str | None = None, *, namespace: str | None = None) -> PodList:
        """kubectl get pods [-l SELECTOR], the oldest first"""
        where = self._where(namespace)
        kubectl.parse_selector(selector)  # words of our own for what is no selector
        query: dict[str, str | int | bool] = {"includeObject": "Object"}
        if selector:
            query["labelSelector"] = selector
        answer = self.connection.request("GET", f"/api/v1/namespaces/{where}/pods", query=query,
                                         accept=_TABLE, about=About("list", "pods", "Pod",
                                                                    namespace=where))
        heads = [each["name"] for each in answer["columnDefinitions"]]
        rows = sorted(answer.get("rows") or (), key=lambda row: podfacts.by_age(row["object"]))
        found = [_info(row["object"], dict(zip(heads, row["cells"], strict=True)))
                 for row in rows]
        shown = table(
            ("NAME", "READY", "STATUS", "RESTARTS", "AGE"),
            [(pod.name, pod.ready, pod.status, pod.restarts, kubectl.age(pod.created))
             for pod in found],
            empty=f"No resources found in {where} namespace.")
        return PodList(
            command=f"kubectl get pods -n {where}" + (f" -l {selector}" if selector else ""),
            text=shown.text, columns=shown.columns, rows=shown.rows, mesh=self.kind,
            pods=tuple(found), extra={"objects": [_whole(row["object"]) for row in rows]})

    def events(self, *, namespace: str | None = None) -> EventList:
        """kubectl get events --sort-by=.lastTimestamp"""
        where = self._where(namespace)
        answer = self.connection.request("GET", f"/api/v1/namespaces/{where}/events",
                                         about=About("list", "events", "Event", namespace=where))
        found = sorted((_event(each) for each in answer["items"]), key=lambda each: each.time)
        shown = table(
            ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"),
            [(kubectl.age(event.time) + (f" (x{event.count})" if event.count > 1 else ""),
              event.type, event.reason, event.object, event.message) for event in found],
            empty=f"No events found in {where} namespace.")
        return EventList(
            command=f"kubectl get events -n {where} --sort-by=.lastTimestamp", text=shown.text,
            columns=shown.columns, rows=shown.rows, mesh=self.kind, events=tuple(found))

    def wait_ready(
        self, deployment: str, *, timeout: float = 60.0, namespace: str | None = None
    ) -> Result:
        """kubectl rollout status deploy/DEPLOYMENT

        It is done when the newest template's pods are ready and no older pod serves. One that is
        still ending (up to 30 s) is given two seconds: then no Service leads to it any more.

        Raises:
            NotFound: there is no such Deployment.
            NotReady: not in time; `cause` is what the cluster says, `detail` pods and events.
        """
        where = self._where(namespace)
        path = f"/apis/apps/v1/namespaces/{where}/deployments/{deployment}"
        about = About("get", "deployments.apps", "Deployment", name=deployment, namespace=where)
        begun = time.monotonic()
        rolled_out: float | None = None
        while True:
            found = self.connection.request("GET", path, about=about)
            mine = [pod for pod in self._list_pods(where)
                    if podfacts.deployment(pod) == deployment]
            staying = [pod for pod in mine if not podfacts.is_leaving(pod)]
            if not _rolled_out(found) or len(staying) != found["spec"].get("replicas", 1):
                rolled_out = None
            elif rolled_out is None:
                rolled_out = time.monotonic()
            if rolled_out is not None and (
                len(staying) == len(mine) or time.monotonic() - rolled_out > _SETTLE_SECONDS
            ):
                left = timeout - (time.monotonic() - begun)
                silent = listening.wait(self.connection, staying, timeout=left)
                return self._result(
                    f"kubectl rollout status deploy/{deployment} -n {where}",
                    f'deployment "{deployment}" successfully rolled out',
                    *podfacts.without_sidecar(staying), *silent,
                    seconds=time.monotonic() - begun)
            if time.monotonic() - begun > timeout:
                raise self._not_ready(found, mine, timeout)
            time.sleep(_PAUSE)

    def _not_ready(
        self, deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], timeout: float
    ) -> NotReady:
        where = deployment["metadata"]["namespace"]
        events = self.events(namespace=where)
        why = why_not_ready(deployment, pods, events.events)
        detail = f"{self.pods(namespace=where).text}\n\n" + "\n".join(
            events.text.splitlines()[-6:])
        if why.crashed is not None:
            pod, container = why.crashed
            said = self.connection.call(
                self.connection.core.read_namespaced_pod_log, pod, where, container=container,
                tail_lines=_LOG_LINES, previous=True,
                _about=About("get", "pods/log", "Pod", name=pod, namespace=where))
            detail += f"\n\nThe last words of {container}:\n{said}"
        return NotReady(
            f"deployment {deployment['metadata']['name']} is not ready after {timeout:.0f} s",
            cause=why.cause, fix=why.fix, detail=detail)

    def restart(self, deployment: str, *, namespace: str | None = None) -> Result:
        """kubectl rollout restart deploy/DEPLOYMENT

        Raises:
            NotFound: there is no such Deployment.
            NotOurs: it is another learner's.
        """
        where = self._where(namespace)
        self._before_write()
        path = f"/apis/apps/v1/namespaces/{where}/deployments/{deployment}"
        about = About("get", "deployments.apps", "Deployment", name=deployment, namespace=where)
        before = self.connection.request("GET", path, about=about)
        if (whose := ownership.owner(before)) != self.namespace:
            if whose is not None:
                raise ownership.refuse(f"deployment/{deployment}", before,
                                       f"kubectl rollout restart deploy/{deployment} -n {where}")
            if ownership.original(before) is None:
                # The annotation of a restart is a change of the template, too.
                self._patch_deployment(path, about, ownership.keep_original(before))
        stamp = datetime.now(UTC).isoformat()
        self._patch_deployment(
            path, about,
            {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: stamp}}}}})
        return self._result(f"kubectl rollout restart deploy/{deployment} -n {where}",
                            f"deployment.apps/{deployment} restarted")

    def _patch_deployment(self, path: str, about: About, patch: Mapping[str, Any]) -> None:
        self.connection.request(
            "PATCH", path, content_type="application/strategic-merge-patch+json",
            query={"fieldManager": ownership.MANAGER}, body=dict(patch),
            about=replace(about, verb="patch"))


def _rolled_out(deployment: Mapping[str, Any]) -> bool:
    # kubectl's own test: polymorphichelpers/rollout_status.go.
    status, want = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return bool(int(status.get("observedGeneration") or 0) >= deployment["metadata"]["generation"]
            and (status.get("updatedReplicas") or 0) == want
            and (status.get("replicas") or 0) == want
            and (status.get("availableReplicas") or 0) == want)


def _whole(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A row's object as `get` gives it: with its kind, without managedFields."""
    meta = {name: value for name, value in pod["metadata"].items() if name != "managedFields"}
    return {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": meta}


def _info(pod: Mapping[str, Any], cells: Mapping[str, Any]) -> PodInfo:
    restarts = re.match(r"\d+", str(cells["Restarts"]))  # "2 (5m ago)"
    meta = pod["metadata"]
    return PodInfo(name=meta["name"], namespace=meta["namespace"], ready=str(cells["Ready"]),
                   status=str(cells["Status"]), restarts=int(restarts[0]) if restarts else 0,
                   created=podfacts.created(pod), labels=meta.get("labels") or {},
                   containers=podfacts.containers(pod))


def _event(found: Mapping[str, Any]) -> Event:
    series = found.get("series") or {}
    when = (found.get("lastTimestamp") or series.get("lastObservedTime") or found.get("eventTime")
            or found["metadata"]["creationTimestamp"])
    about = found["involvedObject"]
    source = (found.get("source") or {}).get("component") or found.get("reportingComponent") or ""
    return Event(
        time=datetime.fromisoformat(when).timestamp(), type=str(found.get("type") or ""),
        reason=str(found.get("reason") or ""), message=str(found.get("message") or ""),
        object=f"{about['kind'].lower()}/{about.get('name', '')}", source=str(source),
        namespace=found["metadata"]["namespace"],
        count=int(found.get("count") or series.get("count") or 1))
