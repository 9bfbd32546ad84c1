"""Causes that only a cluster adds: istiod away, no sidecar, namespaces closed to us."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from helpers.doctor import layers_envoy, layers_objects
from helpers.doctor.case import Case, LayerFails
from helpers.errors import NotFound
from helpers.mesh.base import Mesh, PodInfo
from helpers.mesh.cluster.errors import Forbidden

Objects = Mapping[tuple[str, str, str], Mapping[str, Any]]
POD = PodInfo("productpage-1", "anna", "1/1", "Running", 0, 1.0,
              {"app": "productpage"}, ("productpage",))


class FakeMesh:
    """Objects by kind, namespace and name; some namespaces are closed."""

    def __init__(self, objects: Objects, closed: tuple[str, ...] = ()) -> None:
        self.namespace = "anna"
        self._objects, self._closed = objects, closed

    def get(self, kind: str, name: str | None = None, *, namespace: str = "anna") -> Any:
        if namespace in self._closed or (kind == "namespace" and "*" in self._closed):
            raise Forbidden(f"{kind} is forbidden in {namespace}")
        if name is not None and (kind, namespace, name) not in self._objects:
            raise NotFound(f"{kind} {name} not found")
        found = [obj for (k, n, each), obj in self._objects.items()
                 if (k, n) == (kind, namespace) and name in (None, each)]
        return SimpleNamespace(extra={"objects": found})

    def pods(self, selector: str, *, namespace: str) -> Any:
        return SimpleNamespace(pods=(POD,))

    def proxy_config(self, what: str, pod: str) -> Any:
        held = {"name": "a/anna.x", "typed_config": {"config": {"vm_config": {
            "environment_variables": {"key_values": {
                "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"}}}}}}
        return SimpleNamespace(extra={"json": [held] if what == "ecds" else []})


def case(objects: Objects, *closed: str) -> Case:
    plugin = {"kind": "WasmPlugin", "spec": {},
              "metadata": {"name": "x", "namespace": "anna", "resourceVersion": "2"}}
    return Case(cast(Mesh, FakeMesh(objects, closed)), "anna", "x", "", pod=POD, plugin=plugin)


ISTIOD = ("deployment", "istio-system", "istiod")


@pytest.mark.parametrize("layer", [layers_envoy.filters, layers_envoy.accepted])
def test_an_istiod_that_is_away_is_the_cause_of_an_old_configuration(layer: Any) -> None:
    with pytest.raises(LayerFails) as caught:
        layer(case({ISTIOD: {"status": {}}}))
    assert "istiod does not run" in caught.value.cause
    assert caught.value.command == "kubectl rollout status deploy/istiod -n istio-system"


@pytest.mark.parametrize(("objects", "closed"), [
    ({ISTIOD: {"status": {"readyReplicas": 1}}}, ()), ({}, ()),
    ({ISTIOD: {"status": {}}}, ("istio-system",))])
def test_an_istiod_that_runs_or_cannot_be_seen_is_no_cause(
    objects: Objects, closed: tuple[str, ...]
) -> None:
    assert case(objects, *closed).istiod_away() == ""


def test_namespaces_that_we_may_not_list_leave_our_own() -> None:
    asked = case({("configmap", "anna", "c"): {}}, "*")
    assert asked.namespaces() == ["anna"]
    assert asked.holders("configmap", "c") == ["anna"]


def test_what_is_forbidden_in_our_own_namespace_is_said() -> None:
    with pytest.raises(Forbidden):
        case({}, "anna").find("configmap", "c", "anna")


@pytest.mark.parametrize(("labels", "template", "cause"), [
    ({}, {}, "had no label istio-injection=enabled"),
    ({"istio-injection": "disabled"}, {}, "has the label istio-injection=disabled"),
    ({"istio.io/dataplane-mode": "ambient"}, {}, "is in ambient mode"),
    ({"istio-injection": "enabled"}, {"labels": {"sidecar.istio.io/inject": "false"}},
     "the pod template says sidecar.istio.io/inject: false"),
    ({}, {"annotations": {"sidecar.istio.io/inject": "false"}}, "the pod template says"),
])
def test_a_pod_without_a_sidecar_tells_which_switch_is_off(
    labels: dict[str, str], template: dict[str, Any], cause: str
) -> None:
    objects: Objects = {
        ("namespace", "anna", "anna"): {"metadata": {"name": "anna", "labels": labels}},
        ("deployment", "anna", "productpage-v1"): {"spec": {
            "selector": {"matchLabels": {"app": "productpage"}},
            "template": {"metadata": template}}},
    }
    with pytest.raises(LayerFails, match="no sidecar") as caught:
        layers_objects.pod(case(objects))
    assert cause in caught.value.cause
    assert caught.value.command
