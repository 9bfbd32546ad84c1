# ruff: noqa: RUF012 - pydantic copies the default of a field for each instance
"""The core group: metadata, Namespace, ConfigMap, Service, ServiceAccount."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from helpers import manifests
from helpers.mesh.local.schema_errors import FieldError, Model, duplicate, invalid, required

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

Port = Annotated[int, Field(strict=True)]


class ObjectMeta(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset({"finalizers", "ownerReferences"})

    name: str = ""
    generateName: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    # What a server fills in; manifests saved from a cluster carry it.
    uid: str = ""
    resourceVersion: str = ""
    generation: int = 0
    creationTimestamp: str | None = None
    selfLink: str = ""
    managedFields: list[dict[str, Any]] = []


class Namespace(Model):
    apiVersion: str
    kind: str
    metadata: ObjectMeta
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class ConfigMap(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset({"immutable"})

    apiVersion: str
    kind: str
    metadata: ObjectMeta
    data: dict[str, str] = {}
    binaryData: dict[str, str] = {}


class ServiceAccount(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {"secrets", "imagePullSecrets", "automountServiceAccountToken"}
    )

    apiVersion: str
    kind: str
    metadata: ObjectMeta


class ServicePort(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset({"nodePort"})

    name: str = ""
    port: Port
    targetPort: int | str = 0
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    appProtocol: str = ""


class ServiceSpec(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {
            "allocateLoadBalancerNodePorts",
            "externalIPs",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "internalTrafficPolicy",
            "ipFamilies",
            "ipFamilyPolicy",
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "publishNotReadyAddresses",
            "sessionAffinity",
            "sessionAffinityConfig",
            "trafficDistribution",
            "clusterIP",
            "clusterIPs",
        }
    )

    ports: list[ServicePort] = []
    selector: dict[str, str] = {}
    type: Literal["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"] = "ClusterIP"


class Service(Model):
    apiVersion: str
    kind: str
    metadata: ObjectMeta
    spec: ServiceSpec
    status: dict[str, Any] = {}


# -- names and labels -----------------------------------------------------------------------


def bad_label(name: str) -> str:
    """Why `name` is no RFC 1123 label; empty if it is one."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_LABEL, name):
        return ""
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
        "'-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
        f"'123-abc', regex used for validation is '{_LABEL}')"
    )


def _bad_label_1035(name: str) -> str:
    if len(name) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_LABEL_1035, name):
        return ""
    return (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
        "with an alphabetic character, and end with an alphanumeric character (e.g. "
        f"'my-name',  or 'abc-123', regex used for validation is '{_LABEL_1035}')"
    )


def metadata(kind: str, meta: Mapping[str, Any], path: str = "metadata") -> list[FieldError]:
    """What is wrong with the name, labels and annotations of an object."""
    check = {"Namespace": bad_label, "Service": _bad_label_1035}.get(kind, manifests.invalid_name)
    found: list[FieldError] = []
    name = meta.get("name", "")
    if kind and (why := check(name)):
        found.append(invalid(f"{path}.name", name, why))
    found += labels(meta.get("labels", {}), f"{path}.labels")
    for key in meta.get("annotations", {}):
        if why := _bad_key(key):
            found.append(invalid(f"{path}.annotations", key, why))
    size = sum(len(k.encode()) + len(v.encode()) for k, v in meta.get("annotations", {}).items())
    if size > 262144:
        detail = "Too long: may not be more than 262144 bytes"
        found.append(FieldError(f"{path}.annotations", detail, blocking=True))
    return found


def labels(values: Mapping[str, str], path: str) -> list[FieldError]:
    """What is wrong with the keys and values of labels."""
    found: list[FieldError] = []
    for key, value in values.items():
        if why := _bad_key(key):
            found.append(invalid(path, key, why))
        if len(value) > 63:
            found.append(invalid(path, value, "must be no more than 63 characters"))
        elif not re.fullmatch(_LABEL_VALUE, value):
            why = (
                "a valid label must be an empty string or consist of alphanumeric characters, "
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                f"'{_LABEL_VALUE}')"
            )
            found.append(invalid(path, value, why))
    return found


def _bad_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and (why := manifests.invalid_name(prefix)):
        return f"prefix part {why}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    if re.fullmatch(_QUALIFIED, name):
        return ""
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
        f"regex used for validation is '{_QUALIFIED}')"
    )


# -- rules ----------------------------------------------------------------------------------


def config_map(obj: Mapping[str, Any]) -> list[FieldError]:
    """Keys, base64 and size of a ConfigMap; the size is that of its values, as stored."""
    found: list[FieldError] = []
    total = 0
    binary = obj.get("binaryData", {})
    for key, text in obj.get("data", {}).items():
        total += len(text.encode())
        if why := manifests.invalid_key(key):
            found.append(invalid(f"data[{key}]", key, why))
        if key in binary:
            found.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    for key, text in binary.items():
        if why := manifests.invalid_key(key):
            found.append(invalid(f"binaryData[{key}]", key, why))
        try:
            total += len(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            found.append(invalid(f"binaryData[{key}]", text[:32], "illegal base64 data"))
    if total > manifests.CONFIGMAP_BYTES:
        limit = manifests.CONFIGMAP_BYTES
        found.append(FieldError("[]", f"Too long: may not be more than {limit} bytes"))
    return found


def service(obj: Mapping[str, Any]) -> list[FieldError]:
    """Ports of a Service."""
    ports = obj["spec"].get("ports", [])
    if not ports:
        return [required("spec.ports")]
    found: list[FieldError] = []
    seen: set[Any] = set()
    for i, port in enumerate(ports):
        at = f"spec.ports[{i}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            found.append(required(f"{at}.name"))
        elif name and (why := bad_label(name)):
            found.append(invalid(f"{at}.name", name, why))
        elif name in seen:
            found.append(duplicate(f"{at}.name", name))
        seen.add(name)
        target = port.get("targetPort", port["port"])
        for field, number in (("port", port["port"]), ("targetPort", target)):
            if isinstance(number, int) and not 1 <= number <= 65535:
                why = "must be between 1 and 65535, inclusive"
                found.append(invalid(f"{at}.{field}", number, why))
    return found
