"""Which kinds of object the local mesh knows, and what kubectl calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from helpers.errors import BadManifest, NotModelled

#: Where Istio's own objects live; a plugin here applies to every namespace.
ROOT_NAMESPACE = "istio-system"


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    Attributes:
        kind: as in a manifest, "WasmPlugin".
        plural: as in a URL, "wasmplugins".
        group: the API group, empty for the core group.
        short: kubectl's abbreviations.
    """

    kind: str
    plural: str
    group: str
    version: str
    short: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The apiVersion of a manifest: "extensions.istio.io/v1alpha1", "v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name in messages: "wasmplugins.extensions.istio.io", "configmaps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def names(self) -> set[str]:
        """Everything that a person may type for this kind, in lower case."""
        bare = {self.kind.lower(), self.plural, *self.short}
        if not self.group:
            return bare
        return bare | {
            f"{name}.{tail}"
            for name in (self.kind.lower(), self.plural)
            for tail in (self.group, f"{self.version}.{self.group}")
        }


NAMESPACE = Kind("Namespace", "namespaces", "", "v1", ("ns",), namespaced=False)
CONFIG_MAP = Kind("ConfigMap", "configmaps", "", "v1", ("cm",))
SERVICE = Kind("Service", "services", "", "v1", ("svc",))
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts", "", "v1", ("sa",))
DEPLOYMENT = Kind("Deployment", "deployments", "apps", "v1", ("deploy",))
WASM_PLUGIN = Kind("WasmPlugin", "wasmplugins", "extensions.istio.io", "v1alpha1")
TRAFFIC_EXTENSION = Kind("TrafficExtension", "trafficextensions", "extensions.istio.io", "v1alpha1")

#: The kinds that can be applied.
MODELLED = (
    NAMESPACE,
    CONFIG_MAP,
    SERVICE,
    SERVICE_ACCOUNT,
    DEPLOYMENT,
    WASM_PLUGIN,
    TRAFFIC_EXTENSION,
)

#: Can be asked for with `get crd`, not applied.
CRD = Kind(
    "CustomResourceDefinition",
    "customresourcedefinitions",
    "apiextensions.k8s.io",
    "v1",
    ("crd", "crds"),
    namespaced=False,
)

#: The custom resources among the modelled kinds.
CUSTOM = (WASM_PLUGIN, TRAFFIC_EXTENSION)

#: Kinds that exist on a cluster with Istio and that this mesh does not run.
_ELSEWHERE = (
    "Pod",
    "ReplicaSet",
    "DaemonSet",
    "StatefulSet",
    "Job",
    "CronJob",
    "Secret",
    "Ingress",
    "NetworkPolicy",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Endpoints",
    "EndpointSlice",
    "Node",
    "Event",
    "LimitRange",
    "ResourceQuota",
    "StorageClass",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "CustomResourceDefinition",
    "EnvoyFilter",
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Sidecar",
    "WorkloadEntry",
    "WorkloadGroup",
    "ProxyConfig",
    "Telemetry",
    "PeerAuthentication",
    "RequestAuthentication",
    "AuthorizationPolicy",
    "HTTPRoute",
    "GRPCRoute",
    "GatewayClass",
    "ReferenceGrant",
)


def _plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    if kind.endswith("s"):
        return kind if kind == "Endpoints" else f"{kind}es"
    return f"{kind}s"


def _not_modelled(kind: str) -> NotModelled:
    known = ", ".join(each.kind for each in MODELLED)
    fix = f"use a cluster for it; the local mesh takes {known}"
    if kind in ("Pod", "ReplicaSet"):
        fix = "apply a Deployment: the local mesh makes the pod from its template"
    return NotModelled(
        f"the local mesh does not run {_plural(kind)}: use a cluster",
        cause="it stands for one node with one sidecar, and refuses what it cannot do honestly",
        fix=fix,
    )


def resolve(name: str) -> Kind:
    """The kind behind what a person types after `kubectl get`, in any case.

    Raises:
        NotModelled: a real kind that only a cluster has.
        BadManifest: no such kind anywhere.
    """
    wanted = name.strip().lower()
    for kind in (*MODELLED, CRD):
        if wanted in kind.names():
            return kind
    head = wanted.split(".", 1)[0]
    for elsewhere in _ELSEWHERE:
        if head in (elsewhere.lower(), _plural(elsewhere).lower()):
            raise _not_modelled(elsewhere)
    raise BadManifest(
        f'error: the server doesn\'t have a resource type "{name}"',
        fix="one of " + ", ".join(sorted(kind.plural for kind in MODELLED)),
    )


def of_manifest(api_version: str, kind: str, name: str) -> Kind:
    """The kind of a manifest.

    Raises:
        NotModelled: a real kind that only a cluster has.
        BadManifest: no such kind, or not in this version.
    """
    for each in MODELLED:
        if each.kind == kind and each.api_version == api_version:
            return each
    same_kind = [each for each in MODELLED if each.kind == kind]
    if not same_kind and kind in _ELSEWHERE:
        raise _not_modelled(kind)
    fix = (
        f"write apiVersion: {same_kind[0].api_version}"
        if same_kind
        else "check the spelling; kinds are " + ", ".join(each.kind for each in MODELLED)
    )
    error = BadManifest(
        f'error: resource mapping not found for name: "{name}": '
        f'no matches for kind "{kind}" in version "{api_version}"',
        cause="no CustomResourceDefinition or built-in API serves that kind in that version",
        fix=fix,
    )
    error.field = "apiVersion" if same_kind else "kind"
    raise error


def definitions(created: str) -> list[dict[str, Any]]:
    """The CustomResourceDefinitions, as `kubectl get crd` shows them; `created` as RFC 3339."""
    return [
        {
            "apiVersion": CRD.api_version,
            "kind": CRD.kind,
            "metadata": {"name": each.resource, "creationTimestamp": created},
            "spec": {
                "group": each.group,
                "names": {"kind": each.kind, "plural": each.plural},
                "scope": "Namespaced",
                "versions": [{"name": each.version, "served": True, "storage": True}],
            },
        }
        for each in sorted(CUSTOM, key=lambda each: each.resource)
    ]
