"""Which kinds the cluster serves, and the path of an object: asked of the API server itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from helpers.errors import BadManifest
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import About, KindMissing

#: Aggregated discovery (KEP-3352): one answer for all groups. v2 since Kubernetes 1.30; the
#: others for older servers, which give the first that they know.
_ACCEPT = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    for version in ("v2", "v2beta1")
)
_ISTIO = "extensions.istio.io"
_PLUGIN_KINDS = ("WasmPlugin", "TrafficExtension")


@dataclass(frozen=True)
class Resource:
    """One kind as the cluster serves it.

    Attributes:
        names: everything that a person may type for it, in lower case.
        verbs: what can be done with it: "list", "delete" …
    """

    kind: str
    plural: str
    group: str
    version: str
    namespaced: bool
    names: frozenset[str]
    verbs: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        """The apiVersion of a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full(self) -> str:
        """The name in messages: "wasmplugins.extensions.istio.io"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "") -> str:
        """The path of an object, or of all of them in a namespace; of the cluster's, with ""."""
        top = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{top}{where}/{self.plural}" + (f"/{name}" if name else "")

    def about(self, verb: str, namespace: str, name: str = "", **more: str) -> About:
        """What is being done, for messages."""
        where = namespace if self.namespaced else ""
        return About(verb, self.full, self.kind, name=name, namespace=where, **more)


class Resources:
    """The kinds of one cluster; read once, and again when a kind is not among them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: list[Resource] = []

    def named(self, name: str) -> Resource:
        """The kind behind what a person types after `kubectl get`.

        Raises:
            BadManifest: the cluster has no such kind.
            KindMissing: it would have, with Istio (or a newer one) installed.
        """
        wanted = name.strip().lower()
        for again in (False, True):
            for each in self._all(again):
                if wanted in each.names:
                    return each
        if wanted.split(".")[0].rstrip("s") in ("wasmplugin", "trafficextension"):
            raise self._no_istio(f'error: the server doesn\'t have a resource type "{name}"', name)
        raise BadManifest(f'error: the server doesn\'t have a resource type "{name}"',
                          cause="no API of this cluster serves it",
                          fix="kubectl api-resources lists what it serves")

    def of_manifest(self, document: Mapping[str, Any]) -> Resource:
        """The kind of a manifest.

        Raises:
            BadManifest: the cluster has no such kind in that version; `field` says which.
            KindMissing: it would have, with Istio (or a newer one) installed.
        """
        version, kind = str(document["apiVersion"]), str(document["kind"])
        for again in (False, True):
            for each in self._all(again):
                if each.kind == kind and each.api_version == version:
                    return each
        what = (f'error: resource mapping not found for name: "{document["metadata"]["name"]}": '
                f'no matches for kind "{kind}" in version "{version}"')
        same = [each for each in self._known if each.kind == kind]
        if version.startswith(f"{_ISTIO}/") and kind in _PLUGIN_KINDS and not same:
            raise self._no_istio(what, kind)
        error = BadManifest(
            what, cause="no CustomResourceDefinition or built-in API serves that kind in that "
            "version", fix=f"write apiVersion: {same[0].api_version}" if same
            else "check the spelling; kubectl api-resources lists what the cluster serves")
        error.field = "apiVersion" if same else "kind"
        raise error

    def has(self, kind: str) -> bool:
        """Whether the cluster serves a kind, such as "TrafficExtension"."""
        return any(each.kind == kind for each in self._all(False))

    def preferred(self) -> list[Resource]:
        """Every kind once, in the version that the server prefers."""
        seen: dict[tuple[str, str], Resource] = {}
        for each in self._all(False):
            seen.setdefault((each.group, each.plural), each)
        return list(seen.values())

    def _no_istio(self, what: str, name: str) -> KindMissing:
        if self.has("WasmPlugin"):
            return KindMissing(
                what, cause=f"this cluster's Istio knows WasmPlugin only; {name} came with "
                "Istio 1.30", fix="apply the plugin as a WasmPlugin: plugin.as_wasmplugin()")
        return KindMissing(
            what, cause=f"this cluster has no {name}: Istio is not installed in it, or is older "
            "than 1.12", fix="kubectl get crd wasmplugins.extensions.istio.io; istioctl version")

    def _all(self, again: bool) -> list[Resource]:
        if again or not self._known:
            found: list[Resource] = []
            for path in ("/api", "/apis"):
                answer = self._connection.request("GET", path, accept=_ACCEPT,
                                                  about=About("get", path))
                found += _read(answer)
            self._known = found
        return self._known


def _read(answer: Mapping[str, Any]) -> list[Resource]:
    found = []
    for group in answer.get("items") or ():
        name = str(group["metadata"].get("name") or "")
        # The first version is the one that the server prefers; a manifest may name another.
        for version in group.get("versions") or ():
            for each in version.get("resources") or ():
                plural, kind = str(each["resource"]), str(each["responseKind"]["kind"])
                bare = {plural, kind.lower(), str(each.get("singularResource") or kind.lower()),
                        *(each.get("shortNames") or ())}
                long = {f"{one}.{tail}" for one in bare for tail in
                        (name, f"{version['version']}.{name}")} if name else set()
                found.append(Resource(kind, plural, name, str(version["version"]),
                                      each.get("scope") == "Namespaced", frozenset(bare | long),
                                      frozenset(each.get("verbs") or ())))
    return found
