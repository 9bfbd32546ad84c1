"""What is known while one missing log line is looked for, and how a layer says that it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.errors import NotFound
from helpers.mesh.base import CurlResult, Mesh, PodInfo
from helpers.mesh.cluster.errors import Forbidden

SIDECAR = "istio-proxy"
APP = "productpage"
ROOT_NAMESPACE = "istio-system"
PORT = 9080
KINDS = ("wasmplugin", "trafficextension")


class LayerFails(Exception):
    """A layer at which a log line is lost.

    Attributes:
        seen: what is there.
        cause: why no line comes of it.
        command: what a person types on a cluster to mend it.
        call: the same with the workbook's helpers.
    """

    def __init__(self, seen: str, *, cause: str, command: str = "", call: str = "") -> None:
        super().__init__(seen)
        self.seen = seen
        self.cause = cause
        self.command = command
        self.call = call


@dataclass
class Case:
    """One question, and what the layers that hold have found for those that follow.

    Attributes:
        template: the pod template of the pod's Deployment.
        plugin: the WasmPlugin or TrafficExtension.
        module: the bytes of the module as the ConfigMap has them, where one is mounted.
        since: when the probe requests began, seconds since the epoch.
        answers: the answers to the probe requests.
        logger: the level of the sidecar's logger for plugins.
    """

    mesh: Mesh
    namespace: str
    plugin_name: str
    text: str
    pod: PodInfo | None = None
    template: Mapping[str, Any] = field(default_factory=dict)
    plugin: Mapping[str, Any] = field(default_factory=dict)
    module: bytes | None = None
    since: float = 0.0
    answers: tuple[CurlResult, ...] = ()
    logger: str = ""

    @property
    def the_pod(self) -> PodInfo:
        assert self.pod is not None, "the pod layer comes first"
        return self.pod

    @property
    def spec(self) -> Mapping[str, Any]:
        """The plugin object's spec."""
        found: Mapping[str, Any] = self.plugin.get("spec") or {}
        return found

    @property
    def wasm(self) -> Mapping[str, Any]:
        """The part of the spec that is about the module; empty for a Lua script."""
        if self.plugin.get("kind") == "WasmPlugin":
            return self.spec
        found: Mapping[str, Any] = self.spec.get("wasm") or {}
        return found

    @property
    def file(self) -> str:
        """The module's path in the sidecar; empty when the URL is not file://."""
        url = str(self.wasm.get("url") or "")
        return url.removeprefix("file://") if url.startswith("file://") else ""

    @property
    def logger_name(self) -> str:
        """Envoy's logger for the plugin's lines."""
        return "lua" if self.spec.get("lua") else "wasm"

    @property
    def label(self) -> str:
        """Kind, namespace and name of the plugin object, in lower case as kubectl takes them."""
        return f"{str(self.plugin['kind']).lower()} {self.plugin_name} -n {self.plugin_namespace}"

    @property
    def plugin_namespace(self) -> str:
        return str(self.plugin["metadata"]["namespace"])

    def is_ours(self, name: str) -> bool:
        """Whether a filter's, ECDS resource's or log line's name is the plugin's.

        Istio 1.30 and newer append ~istio-translated-wasmplugin to a WasmPlugin's name; a
        pluginName follows after a space.
        """
        last = name.rsplit("/", 1)[-1].split(" ")[0].split("~")[0]
        return last == f"{self.plugin_namespace}.{self.plugin_name}"

    def find(self, kind: str, name: str, namespace: str) -> Mapping[str, Any] | None:
        """The object, or None when there is none (or its kind is not known to the mesh).

        On a shared cluster other namespaces may be closed to us: what is there is not seen.
        """
        try:
            found = self.mesh.get(kind, name, namespace=namespace).extra["objects"]
        except NotFound:
            return None
        except Forbidden:
            if namespace == self.namespace:
                raise
            return None
        first: Mapping[str, Any] = found[0]
        return first

    def namespaces(self) -> list[str]:
        """Every namespace of the mesh that we may see; our own where we may not list them."""
        try:
            objects = self.mesh.get("namespace").extra["objects"]
        except Forbidden:
            return [self.namespace]
        return [str(entry["metadata"]["name"]) for entry in objects]

    def holders(self, kind: str, name: str) -> list[str]:
        """The namespaces that have an object of this kind and name."""
        return [place for place in self.namespaces() if self.find(kind, name, place) is not None]

    def istiod_away(self) -> str:
        """What is wrong with istiod, in words; empty where it runs, or is nothing to be seen.

        The local mesh computes what istiod would and has no Deployment of that name.
        """
        found = self.find("deployment", "istiod", ROOT_NAMESPACE)
        if found is None or (found.get("status") or {}).get("readyReplicas"):
            return ""
        return (
            f"istiod does not run (deployment istiod in {ROOT_NAMESPACE} has no ready pod): the "
            "sidecar keeps the configuration that it has until istiod is back"
        )

    def newest_log(self, *marks: str, since: float | None = None) -> str:
        """The newest line of the sidecar's log that contains one of `marks`, or ""."""
        lines = self.mesh.logs(self.the_pod.name, since=since).lines
        return next((line for line in reversed(lines) if any(m in line for m in marks)), "")
