"""Taking back what the workbook made in a cluster, and only that."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from helpers.errors import NotFound
from helpers.mesh.cluster import ownership, placing
from helpers.mesh.cluster.errors import About, Forbidden
from helpers.mesh.cluster.resources import Resource
from helpers.mesh.cluster.verbs_objects import ObjectVerbs
from helpers.show import Result

#: What the notebooks make, plugins first: a sidecar must not look for a file that is gone.
_MADE = ("wasmplugins", "trafficextensions", "deployments", "services", "serviceaccounts",
         "configmaps")
#: Made by controllers with the labels of what they belong to; they go with that.
_FOLLOW = frozenset({"endpoints", "endpointslices", "events", "replicasets", "pods", "namespaces",
                     "controllerrevisions"})
#: What somebody would miss. A quota or a role goes with the namespace that it is about.
_MISSED = ("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "pods", "services",
           "configmaps", "secrets", "persistentvolumeclaims")
#: Kubernetes and Istio put these into every namespace.
_EVERYWHERE = frozenset({"kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl", "kubernetes"})

_SHOWN = 8


class Cleaning(ObjectVerbs):
    """`clean`, and how it finds what is ours."""

    _placed_once = False
    _everywhere = True

    def clean(self) -> Result:
        """Remove what this learner's workbook made, by its label, and restore what it changed.

        Returns:
            A line for each object removed or restored, and one for what was left.
        """
        begun = time.monotonic()
        self._everywhere = True
        lines, unseen = self._remove_all()
        lines += self._restore_all()
        lines += self._remove_namespaces()
        if unseen:
            lines.append(f"may not be looked for, so none was removed: {', '.join(unseen)}")
        self._placed_once = False
        self.close()
        return Result(
            command=f"kubectl delete {','.join(_MADE)} -A -l {ownership.LABEL}={self.namespace}",
            text="\n".join(lines) or "there was nothing of ours",
            mesh=self.kind,
            seconds=time.monotonic() - begun,
        )

    def _remove_all(self) -> tuple[list[str], list[str]]:
        """Delete everything with our label and wait; what was deleted, what may not be seen."""
        unseen: list[str] = []
        gone: list[tuple[Resource, str, str]] = []
        for which in self._kinds():
            try:
                found = list(self._ours(which))
            except Forbidden:
                if which.plural in _MADE:
                    unseen.append(which.plural)
                continue
            except NotFound:
                continue  # the kind was removed since it was discovered
            for obj in found:
                where, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
                self._send_delete(which, where, name)
                gone.append((which, where, name))
        lines = []
        for which, where, name in gone:
            self._wait_gone(which, where, name)
            place = "" if where == self.namespace else f" in {where}" if where else ""
            lines.append(f"{which.kind.lower()}/{name} deleted{place}")
        return lines, unseen

    def _kinds(self) -> list[Resource]:
        """The kinds that can be listed and deleted, those that the notebooks make first."""
        found = [
            each
            for each in self._resources.preferred()
            if {"list", "delete"} <= each.verbs and each.plural not in _FOLLOW
        ]
        order = {plural: place for place, plural in enumerate(_MADE)}
        return sorted(found, key=lambda each: order.get(each.plural, len(order)))

    def _ours(self, which: Resource) -> Iterator[Mapping[str, Any]]:
        """The objects of a kind with our label: in the cluster, or where we may look."""
        label = {"labelSelector": f"{ownership.LABEL}={self.namespace}"}
        found: list[Mapping[str, Any]] = []
        if self._everywhere or not which.namespaced:
            try:
                found = self.connection.request(
                    "GET", which.path(""), query=label, about=which.about("list", ""))["items"]
            except Forbidden:
                if not which.namespaced:
                    raise
                self._everywhere = False
        if not self._everywhere and which.namespaced:
            found = self.connection.request(
                "GET", which.path(self.namespace), query=label,
                about=which.about("list", self.namespace))["items"]
            # Who may not look into Istio's namespace could not put anything there.
            with contextlib.suppress(Forbidden):
                found = [*found, *self.connection.request(
                    "GET", which.path(ownership.ROOT_NAMESPACE), query=label,
                    about=which.about("list", ownership.ROOT_NAMESPACE))["items"]]
        yield from (each for each in found if not each["metadata"].get("ownerReferences"))

    def _restore_all(self) -> list[str]:
        which = self._resources.named("deployments.apps")
        try:
            found = self._list(which, self.namespace)
        except Forbidden:
            return []
        return [
            f"deployment/{obj['metadata']['name']} restored to what it was before the workbook"
            for obj in found
            if ownership.owner(obj) is None and self._restore(which, obj)
        ]

    # -- namespaces -----------------------------------------------------------------------

    def _remove_namespaces(self) -> list[str]:
        lines = []
        for name in self._namespaces_of_ours():
            if others := self._others(name):
                lines.append(f"namespace/{name} stays: it holds what the workbook did not make: "
                             + _few(others))
                continue
            lines.append(placing.remove(self.connection, name))
        if done := placing.give_back(self.connection, self.namespace):
            lines.append(done)
        left = placing.is_ours(self.connection, self.namespace)
        if left is False and (others := self._others(self.namespace)):
            lines.append(f"left, since it is not the workbook's: {_few(others)}")
        return lines

    def _namespaces_of_ours(self) -> list[str]:
        """The namespaces that this learner's workbook made; its own one last."""
        try:
            found = self.connection.request(
                "GET", "/api/v1/namespaces", about=About("list", "namespaces"),
                query={"labelSelector": f"{ownership.LABEL}={self.namespace}"})["items"]
            names = [str(each["metadata"]["name"]) for each in found]
        except Forbidden:
            names = [self.namespace] if placing.is_ours(self.connection, self.namespace) else []
        return sorted(names, key=lambda name: (name == self.namespace, name))

    def _others(self, namespace: str) -> list[str]:
        """What is in a namespace that somebody would miss and that is not this learner's."""
        found: list[str] = []
        for plural in _MISSED:
            which = next((e for e in self._resources.preferred() if e.plural == plural), None)
            if which is None:
                continue
            try:
                objects = self._list(which, namespace)
            except Forbidden:
                continue
            found += [f"{which.kind.lower()}/{obj['metadata']['name']}" for obj in objects
                      if self._would_be_missed(obj)]
        return found

    def _would_be_missed(self, obj: Mapping[str, Any]) -> bool:
        meta = obj["metadata"]
        return not (
            ownership.owner(obj) == self.namespace
            or meta.get("ownerReferences")
            or "deletionTimestamp" in meta
            or meta["name"] in _EVERYWHERE
            or obj.get("type") == "kubernetes.io/service-account-token"
        )


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
