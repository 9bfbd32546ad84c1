"""What is known of a cluster: versions, what its Istio can do, how strict it is."""

from __future__ import annotations

from typing import Any

from helpers.errors import NotFound
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import About, Forbidden
from helpers.mesh.cluster.ownership import ROOT_NAMESPACE

_STRICT = "/apis/security.istio.io/v1/namespaces/{}/peerauthentications"
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/wasmplugins.extensions.istio.io"


def kubernetes_version(connection: Connection) -> str:
    """The server's version, such as "v1.34.2"."""
    found = connection.request("GET", "/version", about=About("get", "/version"))
    return str(found["gitVersion"])


def istio_versions(connection: Connection) -> list[str]:
    """istiod's versions, from the tags of its images; empty when it is not seen.

    Raises:
        Forbidden: pods of istio-system may not be listed.
    """
    found = connection.request(
        "GET", f"/api/v1/namespaces/{ROOT_NAMESPACE}/pods", query={"labelSelector": "app=istiod"},
        about=About("list", "pods", "Pod", namespace=ROOT_NAMESPACE))
    images = {str(pod["spec"]["containers"][0]["image"]) for pod in found["items"]}
    return sorted(image.split("@")[0].rpartition(":")[2] for image in images)


def strategies(connection: Connection) -> list[str]:
    """The failStrategy values that the cluster's WasmPlugin takes; FAIL_RELOAD is newer."""
    try:
        crd = connection.request("GET", _CRD, about=About("get", "customresourcedefinitions"))
    except (NotFound, Forbidden):
        return []
    spec: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return list(spec["spec"]["properties"].get("failStrategy", {}).get("enum") or ())


def is_strict(connection: Connection, namespace: str) -> bool:
    """Whether a PeerAuthentication makes mTLS STRICT for every pod of the namespace.

    Ports and single workloads are not looked at. False where it may not be read.
    """
    for where in (namespace, ROOT_NAMESPACE):
        try:
            found = connection.request("GET", _STRICT.format(where),
                                       about=About("list", "peerauthentications",
                                                   namespace=where))
        except (NotFound, Forbidden):
            continue
        for each in found["items"]:
            spec = each.get("spec") or {}
            if "selector" not in spec:
                return str((spec.get("mtls") or {}).get("mode")) == "STRICT"
    return False


def described(connection: Connection, *, words: dict[str, str]) -> dict[str, str]:
    """What is said about the cluster, by heading; `words` are added at the end."""
    try:
        istio = ", ".join(istio_versions(connection)) or "not seen in istio-system"
    except Forbidden:
        istio = "unknown: pods of istio-system may not be listed"
    known = strategies(connection)
    return {
        "context": connection.context,
        "server": connection.server,
        "Kubernetes": kubernetes_version(connection),
        "Istio": istio,
        "failStrategy": ", ".join(known) or "unknown",
        **words,
    }
