"""ClusterMesh: the Mesh protocol on a real Kubernetes with a real Istio."""

from __future__ import annotations

import time

from helpers.mesh.cluster import about_cluster, consent, placing
from helpers.mesh.cluster.clean import Cleaning
from helpers.mesh.cluster.verbs_envoy import EnvoyVerbs
from helpers.mesh.cluster.verbs_traffic import TrafficVerbs
from helpers.show import Result


class ClusterMesh(Cleaning, TrafficVerbs, EnvoyVerbs):
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
        if not (self.settings.yes or self.settings.ours
                or consent.is_given(self.connection, self.namespace)):
            consent.ask(self.describe().text, self.connection, self.namespace)
        self._agreed = True

    def _before_write(self) -> None:
        if not self._agreed:
            self.agree()
        if not self._placed_once:
            placing.prepare(self.connection, self.namespace)
            self._placed_once = True

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
        if about_cluster.is_strict(self.connection, self.namespace):
            words["mTLS"] = ("STRICT: plain text from istio-proxy is refused, so curl goes from "
                             "the application's container")
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
