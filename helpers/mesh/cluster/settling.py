"""After a change of Istio's objects: wait until the sidecars of productpage have taken it.

istiod collects changes for 100 ms and then sends each sidecar its listeners, and behind them the
content of extensions (ECDS). A request that is sent before meets the old configuration. The local
mesh waits for Envoy's own counters; a real sidecar keeps fewer of them (Istio's bootstrap drops
those of ECDS), so this watches the counter of listener updates, which every push raises, and then
the ECDS content for the object's new resourceVersion. Measured on a Kubernetes v1.34.2 with Istio
1.31: the push is there 150 to 180 ms after the write.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from helpers.errors import NotFound, WorkbookError
from helpers.mesh.cluster import podfacts
from helpers.mesh.cluster.execing import Place
from helpers.mesh.cluster.forward import PodAdmin

if TYPE_CHECKING:
    from helpers.mesh.cluster.core import Core

_UPDATES = "listener_manager.lds.update_success"
_ECDS = "/config_dump?resource=ecds_filters"

#: Seconds until a push must be there. A change that concerns no sidecar of ours brings none.
_PUSH_SECONDS = 2.5
#: Seconds behind the push until content is there that Envoy does not refuse.
_CONTENT_SECONDS = 1.0
#: Seconds for what is sent behind the listeners, and for the workers, to whom Envoy's main
#: thread hands what it has taken.
_WORKERS_SECONDS = 0.15
_PAUSE = 0.03


class Change:
    """One write, as it is seen by those who wait for it.

    Attributes:
        versions: resourceVersions that the write gave to plugin objects.
        made: whether anything was changed that istiod tells the sidecars of.
    """

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.made = False

    def note(self, obj: Mapping[str, Any] | None) -> None:
        """Something was written: an object as it is now, or None for one that was removed."""
        self.made = True
        if obj is not None and obj.get("kind") in ("WasmPlugin", "TrafficExtension"):
            self.versions.append(str(obj["metadata"]["resourceVersion"]))


@contextmanager
def settled(core: Core, *, concerns: bool) -> Iterator[Change]:
    """Around a write: when it ends, productpage's sidecars have taken or refused the change.

    A sidecar that cannot be asked is not waited for: the write itself went well.

    Args:
        concerns: whether the write is about objects of Istio's.
    """
    change = Change()
    sidecars = _sidecars(core) if concerns else []
    try:
        before = [(each, count) for each in sidecars if (count := _updates(each)) is not None]
        yield change
        if change.made:
            for sidecar, count in before:
                _wait(sidecar, count, change.versions)
    finally:
        for each in sidecars:
            each.close()


def is_istios(group: str) -> bool:
    """Whether istiod tells sidecars of objects of this API group."""
    return group.endswith(".istio.io")


def _sidecars(core: Core) -> list[PodAdmin]:
    try:
        pods = core._pods_of(None)
    except NotFound:
        return []
    return [
        PodAdmin(core.connection, Place(core.namespace, pod["metadata"]["name"], podfacts.SIDECAR))
        for pod in pods
        if podfacts.is_ready(pod) and podfacts.SIDECAR in podfacts.containers(pod)
    ]


def _updates(sidecar: PodAdmin) -> int | None:
    try:
        return sidecar.stats(rf"^{_UPDATES}$").get(_UPDATES)
    except WorkbookError:
        return None


def _wait(sidecar: PodAdmin, before: int, versions: list[str]) -> None:
    deadline = time.monotonic() + _PUSH_SECONDS
    while (now := _updates(sidecar)) is not None and now <= before:
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE)
    deadline = time.monotonic() + _CONTENT_SECONDS
    wanted = list(versions)
    try:
        while wanted and time.monotonic() < deadline:
            held = sidecar.get(_ECDS)
            wanted = [version for version in wanted if f'"{version}"' not in held]
            if wanted:
                time.sleep(_PAUSE)
    except WorkbookError:
        return
    time.sleep(_WORKERS_SECONDS)
