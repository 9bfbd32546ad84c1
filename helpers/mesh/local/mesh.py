"""LocalMesh: the Mesh protocol on this computer."""

from __future__ import annotations

import contextlib
import shutil

from helpers import files
from helpers.ending import end_strays
from helpers.errors import BadState
from helpers.mesh.local import caretaker
from helpers.mesh.local.kubelet import Kubelet
from helpers.mesh.local.objects import Store
from helpers.mesh.local.verbs_envoy import EnvoyVerbs
from helpers.mesh.local.verbs_objects import ObjectVerbs
from helpers.mesh.local.verbs_traffic import TrafficVerbs
from helpers.show import Result


class LocalMesh(ObjectVerbs, TrafficVerbs, EnvoyVerbs):
    """One real Envoy as productpage's sidecar, driven by the manifests that a cluster takes.

    Opening it starts nothing. Its state lies in `paths.state()`; processes that an earlier
    kernel started there are found again.

    Args:
        namespace: the namespace that calls without one work in.
        state: another state folder, for tests.
    """

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
            # First, or it would leave by itself in the middle and be still leaving afterwards.
            self._registry.stop(caretaker.NAME)
            for pod in self._kubelet.pods.all():
                self._kubelet.stop(pod)
            ended = self._registry.stop_all()
        return self._result("", "stopped" + (f": {', '.join(ended)}" if ended else ""))

    def reset(self) -> Result:
        """End every process and forget every object: an empty cluster again.

        Raises:
            DiskProblem: something cannot be removed.
        """
        with self._locked():
            with contextlib.suppress(BadState):  # damaged records go with the folder below
                self._registry.stop_all()
            # A damaged record cannot tell its pid, but the process can tell its folder.
            end_strays(self.state)
            with files.writing(self.state):
                for name in ("objects", "pods", "processes"):
                    if (self.state / name).exists():
                        shutil.rmtree(self.state / name)
                (self.state / "events.json").unlink(missing_ok=True)
        self._store = Store(self.state)
        self._kubelet = Kubelet(self.state, self._store, self._registry)
        return self._result("", "the local mesh is empty")
