"""What every verb of the local mesh stands on: its state, its lock, its pods."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from helpers import files, paths
from helpers.errors import Busy, NotFound, NotReady
from helpers.mesh.local import kubectl
from helpers.mesh.local.kubelet import Kubelet
from helpers.mesh.local.objects import Store
from helpers.mesh.local.pods import SIDECAR, Pod
from helpers.processes import Registry
from helpers.show import Result

_LOCK_SECONDS = 60.0


class Core:
    """The state folder and the parts of the mesh that work on it."""

    kind = "local"

    def __init__(self, namespace: str = "default", state: Path | None = None) -> None:
        self.namespace = namespace
        self.state = state or paths.state()
        self._registry = Registry(self.state)
        self._store = Store(self.state)
        self._kubelet = Kubelet(self.state, self._store, self._registry)
        self._gate = filelock.FileLock(self.state / "mesh.lock", timeout=_LOCK_SECONDS)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with files.writing(self.state):
                self.state.mkdir(parents=True, exist_ok=True)
                self._gate.acquire()
        except filelock.Timeout as error:
            raise Busy(
                f"the mesh under {self.state} is in use by another process",
                cause=f"it has not finished within {_LOCK_SECONDS:.0f} s",
                fix="let the other notebook or `workbook` command finish, then run this again",
            ) from error
        try:
            yield
        finally:
            self._gate.release()

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Bring the mesh up to date before a call, and again after it changed objects."""
        with self._locked():
            version = self._store.version()
            self._kubelet.reconcile()
            yield
            if self._store.version() != version:
                self._kubelet.reconcile()

    def _result(self, command: str, text: str, *notes: str, seconds: float | None = None) -> Result:
        return Result(command=command, text=text, mesh=self.kind, notes=notes, seconds=seconds)

    def _pod(self, name: str | None) -> Pod:
        found = kubectl.pick(self._kubelet.pods.all(), name, self.namespace)
        if found.state == "crashed":
            raise self._kubelet.crashed(found)
        return found

    def _sidecar_pod(self, name: str | None) -> Pod:
        found = self._pod(name)
        self._has(found, SIDECAR)
        if self._registry.get(found.process(SIDECAR)) is None:
            raise NotReady(
                f"the sidecar of pod {found.name} does not run yet",
                cause=found.reason or "the pod is starting",
                fix=f'mesh.wait_ready("{found.deployment}")',
            )
        return found

    def _has(self, pod: Pod, container: str) -> None:
        if container not in pod.containers:
            raise NotFound(
                f"container {container} is not valid for pod {pod.name}",
                cause="it has: "
                + ", ".join(pod.containers)
                + ("" if pod.sidecar else " (the local mesh gives only productpage a sidecar)"),
                fix=f'container="{pod.containers[0]}"',
            )
