"""ClusterMesh: the Mesh protocol on a real Kubernetes with a real Istio."""

from __future__ import annotations

import time

from helpers.mesh.cluster import about_cluster, consent, ownership, placing
from helpers.mesh.cluster.errors import About, Forbidden
from helpers.mesh.cluster.verbs_envoy import EnvoyVerbs
from helpers.mesh.cluster.verbs_objects import ObjectVerbs
from helpers.mesh.cluster.verbs_traffic import TrafficVerbs
from helpers.show import Result

#: What is made, in the order in which it is removed.
_KINDS = ("wasmplugins", "trafficextensions", "deployments", "services", "serviceaccounts",
          "configmaps")


class ClusterMesh(ObjectVerbs, TrafficVerbs, EnvoyVerbs):
    """A context of a kubeconfig and a namespace in it.

    Opening it sends nothing. Before the first change it shows where it would go and asks once
    (`agree`), unless the cluster is the workbook's own or `yes` was given.

    Args:
        settings: which cluster; None reads the environment.
        overrides: kubeconfig, context, namespace, images, yes: as for `ClusterSettings.read`.
    """

    _agreed = False

    def agree(self) -> None:
        """Ask whether the workbook may write here, unless it was said already.

        Raises:
            Cancelled: the answer is no.
            NotAgreed: there is no terminal to ask on.
        """
        if not (self.settings.yes or self.settings.ours):
            consent.ask(self.describe().text, self.connection, self.namespace)
        self._agreed = True

    def _before_write(self) -> None:
        if not self._agreed:
            self.agree()
        if not self._placed_once:
            placing.prepare(self.connection, self.namespace)
            self._placed_once = True

    _placed_once = False

    def describe(self) -> Result:
        """Context, server, versions, namespace, and what may be done there."""
        begun = time.monotonic()
        allowed = consent.rights(self.connection, self.namespace)
        refused = [name for name, may in allowed if not may]
        words = {
            "namespace": placing.described(self.connection, self.namespace),
            "images": self.settings.images or "Istio's own",
            "may": f"all {len(allowed)} things that the notebooks do" if not refused else
            f"not: {', '.join(refused)}",
        }
        found = about_cluster.described(self.connection, words=words)
        width = max(map(len, found))
        return Result(
            command=f"kubectl --context {self.connection.context} version; kubectl auth can-i "
            f"--list -n {self.namespace}",
            text="\n".join(f"{name.ljust(width)}  {value}" for name, value in found.items()),
            mesh=self.kind, seconds=time.monotonic() - begun)

    def stop(self) -> Result:
        """End what runs on this computer for the mesh; the cluster keeps what was made."""
        self.close()
        return self._result("", f"what was made in namespace {self.namespace} stays; "
                            "mesh.clean() or ./workbook clean --mesh cluster removes it")

    def clean(self) -> Result:
        """Remove what the workbook made, by its label, and restore what it changed.

        Returns:
            A line for each object removed, restored or left.
        """
        begun = time.monotonic()
        lines: list[str] = []
        lines += self._clean_in(self.namespace, _KINDS)
        try:
            lines += self._clean_in(ownership.ROOT_NAMESPACE, ("configmaps", "wasmplugins",
                                                               "trafficextensions"))
        except Forbidden:
            lines.append(f"{ownership.ROOT_NAMESPACE}: may not be looked at, so nothing of ours "
                         "can be there")
        for each in self._ours_elsewhere():
            self.connection.request("DELETE", f"/api/v1/namespaces/{each}",
                                    about=About("delete", "namespaces", name=each))
            lines.append(f"namespace/{each} deleted")
        if done := placing.give_back(self.connection, self.namespace):
            lines.append(done)
        self._placed_once = False
        self.close()
        return Result(command=f"kubectl delete {','.join(_KINDS)} -n {self.namespace} "
                      f"-l {ownership.LABEL}={self.namespace}", mesh=self.kind,
                      text="\n".join(lines) or "there was nothing of ours",
                      seconds=time.monotonic() - begun)

    def _clean_in(self, where: str, kinds: tuple[str, ...]) -> list[str]:
        lines: list[str] = []
        for plural in kinds:
            if not any(plural in each.names for each in self._resources._all(False)):
                continue  # an Istio that does not know the kind has none
            which = self._resources.named(plural)
            for obj in self._list(which, where, ours=True):
                self._remove(which, where, obj["metadata"]["name"])
                lines.append(f"{which.kind.lower()}/{obj['metadata']['name']} deleted"
                             + ("" if where == self.namespace else f" in {where}"))
            if plural == "deployments":
                for obj in self._list(which, where):
                    if ownership.owner(obj) is None and self._restore(which, obj):
                        lines.append(f"deployment/{obj['metadata']['name']} restored to what it "
                                     "was before the workbook")
        return lines

    def _ours_elsewhere(self) -> list[str]:
        """Other namespaces that this learner's workbook made."""
        try:
            found = self.connection.request(
                "GET", "/api/v1/namespaces", about=About("list", "namespaces"),
                query={"labelSelector": f"{ownership.LABEL}={self.namespace}"})
        except Forbidden:
            return []
        names = [str(each["metadata"]["name"]) for each in found["items"]]
        return [name for name in names if name != self.namespace]
