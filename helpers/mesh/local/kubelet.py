"""Pods: volumes, containers, restarts, events.

There is no controller in the background. Each call of the mesh first brings the pods up to
date with the objects (`reconcile`), as if the controllers had worked in the meantime; so
nothing happens twice, and a kernel restart loses nothing.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

from helpers import files
from helpers.errors import MeshDown
from helpers.mesh.local import agent, caretaker, volumes, xds
from helpers.mesh.local.events import Events
from helpers.mesh.local.objects import Store
from helpers.mesh.local.pods import SIDECAR, Pod, Pods
from helpers.mesh.local.rollout import Rollout, bookinfo_app
from helpers.mesh.local.services import endpoints, services
from helpers.mesh.local.sidecar import Sidecar, World
from helpers.processes import Registry, tail

#: More crashes than this within the window, and a container is left in back-off.
_CRASHES = 3
_WINDOW_SECONDS = 60.0
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


class Kubelet:
    """The pods of one state folder and the processes behind them."""

    def __init__(self, state: Path, store: Store, registry: Registry) -> None:
        self._state = state
        self._store = store
        self._registry = registry
        self.pods = Pods(state)
        self.events = Events(state)
        self._rollout = Rollout(store, self.pods, self.events, self.stop)

    # -- what others ask --------------------------------------------------------------------

    def sidecar(self, pod: Pod) -> Sidecar:
        """The pod's Envoy."""
        return Sidecar(pod, self.pods, self._registry)

    def address(self, pod: Pod) -> tuple[str, int] | None:
        """Where a ready pod takes requests; None while it has no bound port."""
        bound = self.sidecar(pod).ports().get(xds.INBOUND) if pod.sidecar else None
        port = bound if pod.sidecar else self._app_port(pod)
        return None if port is None else ("127.0.0.1", port)

    def live_address(self, pod: Pod) -> tuple[str, int] | None:
        """Like `address`, and None where the pod's Envoy does not answer."""
        try:
            return self.address(pod)
        except MeshDown:  # it has just ended: no endpoint, and _watch starts it again
            return None

    def world(self) -> World:
        """What every sidecar's configuration depends on, as of now."""
        known = services(self._store.list("Service"))
        pods = self.pods.all()
        return World(
            extensions=[*self._store.list("WasmPlugin"), *self._store.list("TrafficExtension")],
            services=known,
            endpoints={
                (svc.name, svc.namespace): endpoints(svc, pods, self.live_address)
                for svc in known
            },
        )

    # -- the loop ---------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Bring pods and sidecars up to date with the objects."""
        self._rollout.roll_out()
        for pod in self.pods.all():
            self._watch(pod)
            if pod.state == "pending":
                self._mount(pod)
            elif pod.state in ("starting", "ready"):
                self._refresh(pod, now=False)
        for pod in self.pods.all():
            if pod.state == "starting":
                self._start(pod)
        self._rollout.retire()
        self._push()

    def sync(self, pod: Pod) -> None:
        """Bring changed ConfigMaps into one pod at once."""
        self._refresh(pod, now=True)

    def stop(self, pod: Pod) -> None:
        """End a pod's processes and forget it."""
        for container in pod.containers:
            self._event(pod, "Normal", "Killing", f"Stopping container {container}")
            self._registry.stop(pod.process(container))
        self.pods.remove(pod)

    # -- one pod ----------------------------------------------------------------------------

    def _mount(self, pod: Pod) -> None:
        try:
            volumes.mount_all(pod, self._store, self.pods)
        except volumes.MountFailed as error:
            self._event(pod, "Warning", "FailedMount", error.what)
            if pod.reason != error.what:
                pod.reason = error.what
                self.pods.save(pod)
            return
        pod.state, pod.reason = "starting", ""
        self.pods.save(pod)

    def _refresh(self, pod: Pod, *, now: bool) -> None:
        before = copy.deepcopy(pod.mounted)
        volumes.refresh(pod, self._store, self.pods, now=now)
        if pod.mounted != before:  # when a change was first noticed counts, too
            self.pods.save(pod)

    def _start(self, pod: Pod) -> None:
        """Start what does not run yet; mark the pod ready once everything answers."""
        caretaker.ensure(self._state, self._registry)
        if self._registry.get(pod.process(pod.app)) is None:
            self._start_app(pod)
        if pod.sidecar:
            side = self.sidecar(pod)
            if self._registry.get(pod.process(SIDECAR)) is None:
                side.start(self.world())
                self._event(pod, "Normal", "Started", f"Started container {SIDECAR}")
            if not side.ready():
                return
            side.publish_outbound()
        if self._app_port(pod) is None:
            return
        pod.state = "ready"
        self.pods.save(pod)

    def _start_app(self, pod: Pod) -> None:
        app, version = bookinfo_app(pod.template)
        ports = self.pods.app_ports(pod)
        ports.parent.mkdir(parents=True, exist_ok=True)
        ports.unlink(missing_ok=True)
        self._registry.start(
            pod.process(pod.app),
            [
                sys.executable,
                "-m",
                "helpers.mesh.local.bookinfo",
                app,
                "--ports-file",
                str(ports),
                "--outbound-file",
                str(self.pods.outbound(pod)),
                *(["--reviews-version", version] if app == "reviews" else []),
            ],
            log=self.pods.app_log(pod),
        )
        self._event(pod, "Normal", "Started", f"Started container {pod.app}")

    def _app_port(self, pod: Pod) -> int | None:
        return next(iter(self.pods.bound_ports(pod).values()), None)

    def _watch(self, pod: Pod) -> None:
        """Notice containers that ended, and start them again as a kubelet does."""
        if pod.state not in ("starting", "ready"):
            return
        for container in pod.containers:
            record = self._registry.get(pod.process(container))
            if record is not None and record.alive():
                continue
            if record is None:
                # Ended on purpose (`workbook lab` was left) while the pod was kept: start again.
                if pod.state == "ready":
                    pod.state = "starting"
                    self.pods.save(pod)
                continue
            recent = [
                at for at in pod.crashes.get(container, ()) if time.time() - at < _WINDOW_SECONDS
            ]
            pod.crashes[container] = [*recent, time.time()]
            log = self.pods.log(pod, container)
            if container == SIDECAR:
                agent.say(log, "error", "agent", "Envoy ended unexpectedly")
            self._registry.stop(record.name)  # forgets the record; the process is gone
            self._event(
                pod,
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {container} in pod {pod.name}",
            )
            if len(pod.crashes[container]) > _CRASHES:
                pod.state, pod.reason = "crashed", container
            else:
                pod.state = "starting"
                pod.restarts[container] = pod.restarts.get(container, 0) + 1
            self.pods.save(pod)

    def crashed(self, pod: Pod) -> MeshDown:
        """The error for a pod whose container is left in back-off."""
        container = pod.reason or SIDECAR
        return MeshDown(
            f"container {container} of pod {pod.name} keeps ending",
            cause=f"it ended {len(pod.crashes.get(container, ()))} times within "
            f"{_WINDOW_SECONDS:.0f} s",
            fix=f'mesh.restart("{pod.deployment}") starts a new pod; the last log lines are below',
            detail=tail(self.pods.log(pod, container)),
        )

    # -- sidecars ---------------------------------------------------------------------------

    def _push(self) -> None:
        world = self.world()
        for pod in self.pods.all():
            if not pod.sidecar:
                self._direct_outbound(pod, world)
            if pod.sidecar and pod.state in ("starting", "ready"):
                record = self._registry.get(pod.process(SIDECAR))
                if record is not None and record.alive():
                    self.sidecar(pod).push(world)

    def _direct_outbound(self, pod: Pod, world: World) -> None:
        """Without a sidecar the way out is the service itself; only reviews has one to call."""
        where = world.endpoints.get(("ratings", pod.namespace), ())
        if pod.labels.get("app") == "reviews" and where:
            text = f"{where[0][0]}:{where[0][1]}"
            outbound = self.pods.outbound(pod)
            if not outbound.exists() or outbound.read_text(encoding="utf-8") != text:
                files.write_atomic(outbound, text)

    # -- events -----------------------------------------------------------------------------

    def _event(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        self.events.add(
            kind=kind, reason=reason, obj=f"pod/{pod.name}", source="kubelet", message=message,
            namespace=pod.namespace,
        )
