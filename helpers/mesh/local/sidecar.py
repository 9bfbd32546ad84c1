"""The istio-proxy container of one pod: from the mesh's objects to a running, configured Envoy."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import files
from helpers.mesh.local import agent, envoy, istiod, xds
from helpers.mesh.local.pods import SIDECAR, Pod, Pods
from helpers.mesh.local.services import Service, outbound_ports
from helpers.processes import Recorded, Registry

#: The port of Bookinfo's apps, and of the outbound listener that stands for it.
APP_PORT = 9080
LOG_LEVEL = "sidecar.istio.io/componentLogLevel"
_SETTLE_SECONDS = 10.0
# A file for each direction. Envoy refuses a listener that joins a subscription whose last
# content it refused; over ADS both listeners wait for the content together and both answer
# 500. With a file each, they do so here too.
_SIDES = ("inbound", "outbound")
#: What the sidecar says of itself; plugins read it as node.metadata.
ISTIO_VERSION = "1.31.0"


@dataclass(frozen=True)
class World:
    """What the configuration of every sidecar depends on.

    Attributes:
        extensions: stored WasmPlugins and TrafficExtensions.
        endpoints: service name and namespace to addresses of its ready pods.
    """

    extensions: Sequence[Mapping[str, Any]]
    services: Sequence[Service]
    endpoints: Mapping[tuple[str, str], Sequence[tuple[str, int]]]


class Sidecar:
    """One pod's Envoy."""

    def __init__(self, pod: Pod, pods: Pods, registry: Registry) -> None:
        self.pod = pod
        self.files = pods.sidecar(pod)
        self.admin = envoy.Admin(self.files)
        self._pods = pods
        self._outbound = pods.outbound(pod)
        self._registry = registry

    def start(self, world: World) -> Recorded:
        """Write the configuration, let Envoy check it, start Envoy."""
        metadata = {
            "NAME": self.pod.name,
            "NAMESPACE": self.pod.namespace,
            "OWNER": f"kubernetes://apis/apps/v1/namespaces/{self.pod.namespace}"
            f"/deployments/{self.pod.deployment}",
            "WORKLOAD_NAME": self.pod.deployment,
            "LABELS": self.pod.labels,
            "ANNOTATIONS": self.pod.annotations,
            "APP_CONTAINERS": self.pod.app,
            "SERVICE_ACCOUNT": self.pod.template["spec"].get("serviceAccountName", "default"),
            "MESH_ID": "cluster.local",
            "CLUSTER_ID": "Kubernetes",
            "ISTIO_VERSION": ISTIO_VERSION,
        }
        document = xds.bootstrap(
            node_id=f"sidecar~127.0.0.1~{self.pod.name}.{self.pod.namespace}"
            f"~{self.pod.namespace}.svc.cluster.local",
            cluster=f"{self.pod.labels.get('app', self.pod.deployment)}.{self.pod.namespace}",
            metadata=metadata,
            xds=self.files.xds,
        )
        self._write(world)
        files.write_json_plain(self.files.bootstrap, document)
        self._validate(document)
        return envoy.start(
            self._registry,
            self.pod.process(SIDECAR),
            self.files,
            components=self.pod.annotations.get(LOG_LEVEL, ""),
        )

    def ports(self) -> dict[str, int]:
        """Bound ports by listener name; empty until Envoy has bound them."""
        return self.admin.ports()

    def ready(self) -> bool:
        """Whether Envoy serves and both listeners are bound."""
        return self.admin.live() and {xds.INBOUND, f"0.0.0.0_{APP_PORT}"} <= set(self.ports())

    def publish_outbound(self) -> None:
        """Tell the application its way out: the outbound listener's address."""
        port = self.ports()[f"0.0.0.0_{APP_PORT}"]
        text = f"127.0.0.1:{port}"
        if not self._outbound.exists() or self._outbound.read_text() != text:
            files.write_atomic(self._outbound, text)

    def push(self, world: World) -> bool:
        """Bring changed configuration to the running Envoy and wait until it took or refused it.

        Returns:
            Whether anything changed.
        """
        before = self._counters()
        owed = self._write(world)
        if owed:
            self._settle(before, owed)
        return bool(owed)

    # -- files ------------------------------------------------------------------------------

    def _write(self, world: World) -> dict[str, int]:
        """Write what differs.

        Returns:
            For each part that did ("ecds", "cds", "rds", "lds"): how many answers Envoy owes.
        """
        owed: dict[str, int] = {}
        chosen = istiod.all_for_workload(
            world.extensions, namespace=self.pod.namespace, labels=self.pod.labels
        )
        chains = {
            (side, network): self._chain(world, side, network=network)
            for side in _SIDES
            for network in (False, True)
        }
        wanted = {ext.resource_name: ext for ext in chosen if ext.wasm is not None}
        for ext in wanted.values():
            changed = self._write_ecds(self._ecds_folder(ext), istiod.ecds(ext))
            if changed:
                # Only a direction that has the filter is subscribed to its file.
                subscribed = sum(
                    ext in chain for (side, _), chain in chains.items() if side in changed
                )
                owed["ecds"] = owed.get("ecds", 0) + subscribed
        if files.write_json_plain(self._xds("cds"), xds.discovery(self._clusters(world))):
            owed["cds"] = 1
        listed = outbound_ports(world.services).get(APP_PORT, {})
        if files.write_json_plain(self._xds("rds"), xds.discovery([xds.routes(APP_PORT, listed)])):
            owed["rds"] = 0  # routes are read with their listener
        if files.write_json_plain(self._xds("lds"), xds.discovery(self._listeners(chains))):
            owed["lds"] = 1
        self._forget({self._ecds_folder(ext).name for ext in wanted.values()})
        return owed

    def _xds(self, part: str) -> Path:
        return self.files.xds / part / f"{part}.json"

    def _ecds_folder(self, ext: istiod.Extension) -> Path:
        # One folder a resource: a watched folder wakes every subscription in it. A plugin that
        # was deleted and made again has another uid, hence another folder: a listener that
        # still drains keeps the old subscription, whose last content the new one must not get.
        key = f"{ext.resource_name} {ext.uid}"
        return self.files.xds / "ecds" / hashlib.sha256(key.encode()).hexdigest()[:16]

    def _write_ecds(self, folder: Path, resource: dict[str, Any]) -> list[str]:
        """Write a plugin's file for each direction; the directions whose file changed."""
        source = folder / "istiod.json"
        text = json.dumps(resource, indent=1, ensure_ascii=False) + "\n"
        if source.exists() and source.read_text(encoding="utf-8") == text:
            return []
        local = agent.to_local(
            resource,
            root=self.files.root,
            cache=self.files.folder / "wasm-cache",
            log=self.files.log,
        )
        document = xds.discovery([local])
        changed = [
            side for side in _SIDES if files.write_json_plain(folder / side / "ecds.json", document)
        ]
        files.write_atomic(source, text)
        return changed

    def _forget(self, keep: set[str]) -> None:
        for folder in (self.files.xds / "ecds").glob("*"):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _clusters(self, world: World) -> list[dict[str, Any]]:
        inbound = [("127.0.0.1", port) for port in self._pods.bound_ports(self.pod).values()]
        found = [xds.cluster(f"inbound|{APP_PORT}||", inbound)]
        for service in world.services:
            where = world.endpoints.get((service.name, service.namespace), ())
            found += [
                xds.cluster(xds.outbound_cluster(service.name, service.namespace, port), where)
                for port in service.ports
            ]
        return found

    def _chain(self, world: World, side: str, *, network: bool) -> list[istiod.Extension]:
        return istiod.for_listener(
            world.extensions,
            namespace=self.pod.namespace,
            labels=self.pod.labels,
            inbound=side == _SIDES[0],
            port=APP_PORT,
            network=network,
        )

    def _listeners(
        self, chains: Mapping[tuple[str, bool], list[istiod.Extension]]
    ) -> list[dict[str, Any]]:
        inbound, outbound = (
            [istiod.http_filter(ext, self._ecds_source(ext, side)) for ext in chains[side, False]]
            for side in _SIDES
        )
        inbound_network, outbound_network = (
            [istiod.network_filter(ext, self._ecds_source(ext, side)) for ext in chains[side, True]]
            for side in _SIDES
        )
        return [
            xds.inbound_listener(
                port=APP_PORT,
                extensions=inbound,
                network=inbound_network,
                access_log=self.files.log,
            ),
            xds.outbound_listener(
                port=APP_PORT,
                extensions=outbound,
                network=outbound_network,
                access_log=self.files.log,
                rds=self._xds("rds"),
            ),
        ]

    def _ecds_source(self, ext: istiod.Extension, side: str) -> dict[str, Any]:
        path = self._ecds_folder(ext) / side / "ecds.json"
        # 0: wait for ever. istiod says the same, since a plugin may guard the workload.
        return {**xds.path_source(path), "initial_fetch_timeout": "0s"}

    # -- Envoy --------------------------------------------------------------------------------

    def _validate(self, document: Mapping[str, Any]) -> None:
        """Check bootstrap, listeners and clusters together, as static resources."""
        static = dict(document)
        del static["dynamic_resources"]
        static["static_resources"] = {
            "listeners": _bare(self._xds("lds")),
            "clusters": _bare(self._xds("cds")),
        }
        envoy.validate(static, self.files.folder / "validate.json")

    def _counters(self) -> dict[str, int]:
        return self.admin.stats(
            r"^(listener_manager\.(lds\.|total_listeners_warming)|cluster_manager\.cds\."
            r"|extension_config_discovery\.)"
        )

    def _settle(self, before: Mapping[str, int], owed: Mapping[str, int]) -> None:
        """Wait until Envoy has taken or refused everything, or the time is up."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            now = self._counters()
            answered = all(_answers(part, before, now) >= count for part, count in owed.items())
            if answered and not now.get("listener_manager.total_listeners_warming"):
                return
            time.sleep(0.02)


#: The counters that move when Envoy has taken or refused an update.
_ANSWERS = {
    "lds": ("listener_manager.lds.update_success", "listener_manager.lds.update_rejected"),
    "cds": ("cluster_manager.cds.update_success", "cluster_manager.cds.update_rejected"),
    "ecds": (".config_reload", ".config_fail", ".update_rejected", ".config_conflict"),
}


def _answers(part: str, before: Mapping[str, int], now: Mapping[str, int]) -> int:
    """How many answers came since `before`.

    Counter by counter: those of a filter that is gone go away once its last chain has drained.
    """
    endings = _ANSWERS.get(part)
    if endings is None:
        return 0
    return sum(
        max(0, value - before.get(name, 0)) for name, value in now.items() if name.endswith(endings)
    )


def _bare(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["resources"]
    return [{key: value for key, value in entry.items() if key != "@type"} for entry in found]
