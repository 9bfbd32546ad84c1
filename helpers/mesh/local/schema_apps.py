# ruff: noqa: RUF012 - pydantic copies the default of a field for each instance
"""Deployment and the pod in it: the fields that Bookinfo and the article use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from helpers.mesh.local.schema_core import ObjectMeta, bad_label, labels, metadata
from helpers.mesh.local.schema_errors import FieldError, Model, duplicate, invalid, required


class LabelSelector(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset({"matchExpressions"})

    matchLabels: dict[str, str] = {}


class EnvVar(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset({"valueFrom"})

    name: str = ""
    value: str = ""


class ContainerPort(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset({"hostPort", "hostIP"})

    containerPort: int
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class VolumeMount(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {"mountPropagation", "recursiveReadOnly", "subPathExpr", "subPath"}
    )

    name: str = ""
    mountPath: str = ""
    readOnly: bool = False


class Container(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {
            "envFrom",
            "lifecycle",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
            "stdin",
            "stdinOnce",
            "tty",
            "volumeDevices",
            "workingDir",
            "command",
            "args",
        }
    )

    name: str = ""
    image: str = ""
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    ports: list[ContainerPort] = []
    env: list[EnvVar] = []
    volumeMounts: list[VolumeMount] = []
    # Accepted as they are: one process on this computer has no cgroup and no probe to fail.
    resources: dict[str, Any] = {}
    securityContext: dict[str, Any] = {}
    livenessProbe: dict[str, Any] = {}
    readinessProbe: dict[str, Any] = {}
    startupProbe: dict[str, Any] = {}
    terminationMessagePath: str = ""
    terminationMessagePolicy: str = ""


class KeyToPath(Model):
    key: str = ""
    path: str = ""
    mode: int = 0


class ConfigMapVolume(Model):
    name: str = ""
    items: list[KeyToPath] = []
    defaultMode: int = 0o644
    optional: bool = False


class Volume(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "cinder",
            "csi",
            "downwardAPI",
            "ephemeral",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "gitRepo",
            "glusterfs",
            "hostPath",
            "image",
            "iscsi",
            "nfs",
            "persistentVolumeClaim",
            "photonPersistentDisk",
            "portworxVolume",
            "projected",
            "quobyte",
            "rbd",
            "scaleIO",
            "secret",
            "storageos",
            "vsphereVolume",
        }
    )

    name: str = ""
    configMap: ConfigMapVolume | None = None
    emptyDir: dict[str, Any] | None = None


class PodSpec(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {
            "activeDeadlineSeconds",
            "affinity",
            "automountServiceAccountToken",
            "dnsConfig",
            "dnsPolicy",
            "enableServiceLinks",
            "ephemeralContainers",
            "hostAliases",
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "hostUsers",
            "hostname",
            "hostnameOverride",
            "imagePullSecrets",
            "initContainers",
            "nodeName",
            "nodeSelector",
            "os",
            "overhead",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "readinessGates",
            "resourceClaims",
            "resources",
            "runtimeClassName",
            "schedulerName",
            "schedulingGates",
            "serviceAccount",
            "setHostnameAsFQDN",
            "shareProcessNamespace",
            "subdomain",
            "tolerations",
            "topologySpreadConstraints",
        }
    )

    containers: list[Container] = []
    volumes: list[Volume] = []
    serviceAccountName: str = ""
    securityContext: dict[str, Any] = {}
    terminationGracePeriodSeconds: int = 30
    restartPolicy: str = "Always"


class PodTemplateSpec(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


class DeploymentSpec(Model):
    unmodelled: ClassVar[frozenset[str]] = frozenset(
        {
            "minReadySeconds",
            "paused",
            "progressDeadlineSeconds",
            "revisionHistoryLimit",
            "strategy",
        }
    )

    replicas: int = 1
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()


class Deployment(Model):
    apiVersion: str
    kind: str
    metadata: ObjectMeta
    spec: DeploymentSpec
    status: dict[str, Any] = {}


_TEMPLATE = "spec.template.spec"


def deployment(obj: Mapping[str, Any]) -> list[FieldError]:
    """What the API server finds wrong with a Deployment whose types are right."""
    spec = obj["spec"]
    found: list[FieldError] = []
    if spec.get("replicas", 1) < 0:
        why = "must be greater than or equal to 0"
        found.append(invalid("spec.replicas", spec["replicas"], why))
    if "selector" not in spec:
        found.append(required("spec.selector"))
    wanted = spec.get("selector", {}).get("matchLabels", {})
    if "selector" in spec and not wanted:
        why = "empty selector is invalid for deployment"
        found.append(invalid("spec.selector", spec["selector"], why))
    template = spec.get("template", {})
    has = template.get("metadata", {}).get("labels", {})
    found += metadata("", template.get("metadata", {}), "spec.template.metadata")
    found += labels(wanted, "spec.selector.matchLabels")
    if wanted and any(has.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        found.append(invalid("spec.template.metadata.labels", has, why))
    return found + _pod(template.get("spec", {}))


def _pod(pod: Mapping[str, Any]) -> list[FieldError]:
    found = _volumes(pod.get("volumes", []))
    volumes = {volume.get("name") for volume in pod.get("volumes", [])}
    containers = pod.get("containers", [])
    if not containers:
        found.append(required(f"{_TEMPLATE}.containers"))
    found += _names(containers, f"{_TEMPLATE}.containers")
    for i, container in enumerate(containers):
        at = f"{_TEMPLATE}.containers[{i}]"
        if not container.get("image"):
            found.append(required(f"{at}.image"))
        for j, port in enumerate(container.get("ports", [])):
            if not 1 <= port["containerPort"] <= 65535:
                why = "must be between 1 and 65535, inclusive"
                where = f"{at}.ports[{j}].containerPort"
                found.append(invalid(where, port["containerPort"], why))
        for j, env in enumerate(container.get("env", [])):
            if not env.get("name"):
                found.append(required(f"{at}.env[{j}].name"))
        found += _mounts(container.get("volumeMounts", []), volumes, f"{at}.volumeMounts")
    if pod.get("restartPolicy", "Always") != "Always":
        value = pod["restartPolicy"]
        detail = f'Unsupported value: "{value}": supported values: "Always"'
        found.append(FieldError(f"{_TEMPLATE}.restartPolicy", detail))
    return found


def _names(items: list[Mapping[str, Any]], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: Counter[str] = Counter()
    for i, item in enumerate(items):
        name = item.get("name", "")
        if not name:
            found.append(required(f"{path}[{i}].name"))
        elif why := bad_label(name):
            found.append(invalid(f"{path}[{i}].name", name, why))
        elif seen[name]:
            found.append(duplicate(f"{path}[{i}].name", name))
        seen[name] += 1
    return found


def _volumes(volumes: list[Mapping[str, Any]]) -> list[FieldError]:
    found = _names(volumes, f"{_TEMPLATE}.volumes")
    for i, volume in enumerate(volumes):
        at = f"{_TEMPLATE}.volumes[{i}]"
        sources = [name for name in ("configMap", "emptyDir") if volume.get(name) is not None]
        if len(sources) > 1:
            why = "Forbidden: may not specify more than 1 volume type"
            found.append(FieldError(f"{at}.{sources[0]}", why))
        config_map = volume.get("configMap")
        if config_map is None:
            continue
        if not config_map.get("name"):
            found.append(required(f"{at}.configMap.name"))
        mode = config_map.get("defaultMode", 0o644)
        if not 0 <= mode <= 0o777:
            why = "must be a number between 0 and 0777 (octal), both inclusive"
            found.append(invalid(f"{at}.configMap.defaultMode", mode, why))
        for j, item in enumerate(config_map.get("items", [])):
            where = f"{at}.configMap.items[{j}]"
            found += [required(f"{where}.{key}") for key in ("key", "path") if not item.get(key)]
            if item.get("path", "").startswith("/"):
                found.append(invalid(f"{where}.path", item["path"], "must be a relative path"))
            if ".." in item.get("path", "").split("/"):
                found.append(invalid(f"{where}.path", item["path"], "must not contain '..'"))
    return found


def _mounts(
    mounts: list[Mapping[str, Any]], volumes: set[str | None], path: str
) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, mount in enumerate(mounts):
        name, where = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(required(f"{path}[{i}].name"))
        elif name not in volumes:
            found.append(FieldError(f"{path}[{i}].name", f'Not found: "{name}"'))
        if not where:
            found.append(required(f"{path}[{i}].mountPath"))
        elif where in seen:
            found.append(invalid(f"{path}[{i}].mountPath", where, "must be unique"))
        seen.add(where)
    return found
