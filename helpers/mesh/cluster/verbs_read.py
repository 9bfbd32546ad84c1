"""kubectl get, on a cluster, and how the other verbs read objects."""

from __future__ import annotations

from typing import Any

from helpers.errors import NotFound
from helpers.mesh.cluster.errors import KindMissing
from helpers.mesh.cluster.ownership import LABEL
from helpers.mesh.cluster.resources import Resource
from helpers.mesh.cluster.verbs_pods import PodVerbs
from helpers.mesh.local import kubectl
from helpers.show import TableResult, table


class ReadVerbs(PodVerbs):
    """The verbs that list objects."""

    def get(
        self, kind: str, name: str | None = None, *, namespace: str | None = None
    ) -> TableResult:
        """kubectl get KIND [NAME]

        Raises:
            NotFound: there is none of that name.
            KindMissing: the cluster has no Istio, or one that does not know this kind of plugin;
                asked for all of them it has none, and a note says so.
            BadManifest: no cluster has such a kind.
        """
        where = self._where(namespace)
        scope = f" -n {where}"
        try:
            which = self._resources.named(kind)
        except KindMissing as error:
            if name is not None or not self._resources.has("WasmPlugin"):
                raise
            return table(("NAME", "AGE"), (), mesh=self.kind, notes=(error.cause,),
                         command=f"kubectl get {kind}{scope}", extra={"objects": []},
                         empty=f"No resources found in {where} namespace.")
        if which.kind == "Pod" and not which.group and name is None:
            return self.pods(namespace=where)
        found = self._list(which, where) if name is None else [self._read(which, where, name)]
        columns, rows = kubectl.columns(found, ())
        if which.kind == "Deployment":
            rows = [(row[0], f"{(each.get('status') or {}).get('readyReplicas') or 0}/"
                     f"{each['spec'].get('replicas', 1)}", row[2])
                    for row, each in zip(rows, found, strict=True)]
        if not which.namespaced:
            scope = ""
        return table(columns, rows, mesh=self.kind,
                     command=f"kubectl get {kind}{f' {name}' if name else ''}{scope}",
                     empty=f"No resources found in {where} namespace.", extra={"objects": found})

    def _list(self, which: Resource, where: str, *, ours: bool = False) -> list[dict[str, Any]]:
        query = {"labelSelector": f"{LABEL}={self.namespace}"} if ours else None
        answer = self.connection.request("GET", which.path(where), query=query,
                                         about=which.about("list", where))
        # Items of a list do not name their kind: the list does.
        return sorted(
            (_plain({"apiVersion": which.api_version, "kind": which.kind, **each})
             for each in answer["items"]), key=lambda each: str(each["metadata"]["name"]))

    def _read(self, which: Resource, where: str, name: str) -> dict[str, Any]:
        return _plain(self.connection.request("GET", which.path(where, name),
                                              about=which.about("get", where, name)))

    def _read_or_none(self, which: Resource, where: str, name: str) -> dict[str, Any] | None:
        try:
            return self._read(which, where, name)
        except NotFound:
            return None


def _plain(obj: dict[str, Any]) -> dict[str, Any]:
    """An object without its managedFields, as kubectl shows it."""
    obj["metadata"].pop("managedFields", None)
    return obj
