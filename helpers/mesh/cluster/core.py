"""What every verb of the cluster mesh stands on: the connection, the namespace, the pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from helpers.errors import NotFound
from helpers.mesh.cluster import podfacts
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import About
from helpers.mesh.cluster.resources import Resources
from helpers.mesh.cluster.settings import ClusterSettings
from helpers.show import Result

PRODUCTPAGE = "app=productpage"


class Core:
    """A connection to one context, and the learner's namespace in it.

    Opening it reads the kubeconfig and sends nothing.

    Args:
        settings: which cluster; None reads the environment.
        overrides: as for `ClusterSettings.read`, where no settings are given.

    Raises:
        KubeconfigProblem: there is no kubeconfig, or it has no such context.
        BadInput: an option that a cluster does not take.
    """

    kind = "cluster"

    def __init__(self, settings: ClusterSettings | None = None, **overrides: Any) -> None:
        self.settings = settings or ClusterSettings.read(**overrides)
        self.connection = Connection(self.settings)
        self.namespace = self.connection.namespace
        self._resources = Resources(self.connection)
        self._closers: list[Callable[[], Any]] = []

    def _where(self, namespace: str | None) -> str:
        """The namespace that a call means: none and "default" are the learner's own."""
        return self.namespace if namespace in (None, "", "default") else str(namespace)

    def _pods_of(self, name: str | None) -> list[dict[str, Any]]:
        """All pods that a learner means, oldest first; none that has ended, if others are left.

        Args:
            name: a pod's name, "deploy/NAME" or a label selector; None means productpage.

        Raises:
            NotFound: none fits.
        """
        here = self._list_pods()
        found = podfacts.fitting(here, name or PRODUCTPAGE)
        if not found:
            raise NotFound(
                f'Error from server (NotFound): pods "{name or PRODUCTPAGE}" not found',
                cause=f"namespace {self.namespace} has: "
                + (", ".join(pod["metadata"]["name"] for pod in here) or "no pods"),
                fix='mesh.apply(Path("manifests/bookinfo.yaml")), or another name',
            )
        return [pod for pod in found if not podfacts.is_over(pod)] or found

    def _pod(self, name: str | None) -> dict[str, Any]:
        """The pod that a learner means, as a plain dict: of several the newest ready one.

        Raises:
            NotFound: none fits.
        """
        found = self._pods_of(name)
        ready = [pod for pod in found if podfacts.is_ready(pod)]
        return (ready or found)[-1]

    def _list_pods(self, namespace: str | None = None) -> list[dict[str, Any]]:
        where = self._where(namespace)
        found = self.connection.request(
            "GET",
            f"/api/v1/namespaces/{where}/pods",
            about=About("list", "pods", "Pod", namespace=where),
        )
        return sorted(found["items"], key=podfacts.by_age)

    def _has(self, pod: dict[str, Any], container: str) -> None:
        """Raise NotFound where the pod has no such container, saying which it has."""
        names = podfacts.containers(pod)
        if container not in names:
            name, where = pod["metadata"]["name"], pod["metadata"]["namespace"]
            raise NotFound(
                f"container {container} is not valid for pod {name}",
                cause=f"it has: {', '.join(names)}"
                + (
                    f". The pod has no sidecar: {podfacts.why_no_sidecar(pod)}"
                    if container == podfacts.SIDECAR
                    else ""
                ),
                fix=f"kubectl label namespace {where} istio-injection=enabled --overwrite, then "
                "restart its Deployment"
                if container == podfacts.SIDECAR
                else f'container="{names[0]}"',
            )

    def _result(self, command: str, text: str, *notes: str, seconds: float | None = None) -> Result:
        return Result(command=command, text=text, mesh=self.kind, notes=notes, seconds=seconds)

    # -- before and after -----------------------------------------------------------------

    def _before_write(self) -> None:
        """Every verb that changes something calls this first: it asks once.

        Raises:
            NotAgreed: nobody agreed, and there is no terminal to ask on.
        """

    def _on_close(self, callback: Callable[[], Any]) -> None:
        """Have `callback` run by close(), the last one first."""
        self._closers.append(callback)

    def close(self) -> None:
        """End what runs on this computer for this mesh; nothing in the cluster changes."""
        while self._closers:
            self._closers.pop()()
        self.connection.close()

