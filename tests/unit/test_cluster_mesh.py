"""The cluster mesh's rules without a cluster: whose an object is, what is refused, what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cluster_fake import FakeConnection

from helpers import paths, steps
from helpers.errors import BadManifest, Cancelled
from helpers.mesh.base import Event
from helpers.mesh.cluster import ClusterMesh, consent, ownership
from helpers.mesh.cluster.errors import (
    CapabilityMissing,
    KindMissing,
    NotAgreed,
    NotOurs,
    StrategyMissing,
)
from helpers.mesh.cluster.resources import Resources
from helpers.mesh.cluster.settings import ClusterSettings
from helpers.mesh.cluster.waiting import why_not_ready

NAMESPACE = "/api/v1/namespaces/anna"
DEPLOYMENTS = "/apis/apps/v1/namespaces/anna/deployments"


@pytest.fixture
def fake() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def mesh(fake: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> ClusterMesh:
    monkeypatch.setattr("helpers.mesh.cluster.core.Connection", lambda _: fake)
    fake.namespace = "anna"
    return ClusterMesh(ClusterSettings(namespace="anna", yes=True, images="localhost/workbook"))


def test_the_namespace_is_made_with_injection_at_the_first_write(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    mesh.apply(paths.manifests() / "bookinfo.yaml")
    labels = fake.objects[NAMESPACE]["metadata"]["labels"]
    assert labels == {"istio-injection": "enabled", ownership.LABEL: "anna"}
    assert [path for method, path in fake.asked if method == "POST"] == ["/api/v1/namespaces"]


def test_looking_makes_nothing(mesh: ClusterMesh, fake: FakeConnection) -> None:
    mesh.get("configmap")
    assert {method for method, _ in fake.asked} == {"GET"}


def test_bookinfos_images_get_the_prefix_and_it_is_said(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    said = mesh.apply(paths.manifests() / "bookinfo.yaml")
    pod = fake.objects[f"{DEPLOYMENTS}/productpage-v1"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].startswith("localhost/workbook/examples-bookinfo-")
    assert "localhost/workbook" in said.notes[0]


def test_created_unchanged_and_configured_are_told_apart(mesh: ClusterMesh) -> None:
    assert steps.apply_wasmplugin(mesh).text.endswith("created")
    assert steps.apply_wasmplugin(mesh).text.endswith("unchanged")
    assert steps.apply_wasmplugin(mesh, phase="AUTHN").text.endswith("configured")


def test_a_deployment_of_others_is_patched_only_after_its_template_is_kept(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    template: dict[str, Any] = {"metadata": {}, "spec": {"containers": []}}
    fake.put(f"{DEPLOYMENTS}/productpage-v1", {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "productpage-v1", "namespace": "anna", "generation": 1},
        "spec": {"template": template}})
    steps.patch_deployment(mesh, "patch-productpage-log-level.yaml")
    kept = fake.objects[f"{DEPLOYMENTS}/productpage-v1"]
    assert kept["spec"]["template"]["metadata"]["annotations"]
    assert ownership.original(kept) == {"metadata": {}, "spec": {"containers": []}}
    assert "restored" in mesh.delete("deployment", "productpage-v1").text
    restored = fake.objects[f"{DEPLOYMENTS}/productpage-v1"]
    assert restored["spec"]["template"] == {"metadata": {}, "spec": {"containers": []}}
    assert ownership.original(restored) is None


def test_what_others_made_is_neither_overwritten_nor_deleted(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    path = "/apis/extensions.istio.io/v1alpha1/namespaces/anna/wasmplugins/header-logger"
    fake.put(path, {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
                    "metadata": {"name": "header-logger", "namespace": "anna",
                                 "labels": {ownership.LABEL: "bob"}}, "spec": {}})
    with pytest.raises(NotOurs, match="belongs to the learner in namespace bob"):
        steps.apply_wasmplugin(mesh)
    assert "left alone" in mesh.delete("wasmplugin", "header-logger").text
    assert path in fake.objects


def test_clean_removes_what_is_ours_and_nothing_else(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    fake.put(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "anna", "labels": {"istio-injection": "enabled"}}})
    fake.put(f"{NAMESPACE}/configmaps/theirs", {"metadata": {
        "name": "theirs", "namespace": "anna"}})
    mesh.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
    said = mesh.clean().text
    assert "configmap/mine deleted" in said
    assert "left, since it is not the workbook's: configmap/theirs" in said
    assert list(fake.objects) == [NAMESPACE, f"{NAMESPACE}/configmaps/theirs"]


def test_an_istio_that_knows_wasmplugin_only_is_told_from_none() -> None:
    old = Resources(FakeConnection(without="TrafficExtension"))  # type: ignore[arg-type]
    extension = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension",
                 "metadata": {"name": "x"}}
    with pytest.raises(KindMissing) as caught:
        old.of_manifest(extension)
    assert "WasmPlugin only" in caught.value.cause
    assert "as_wasmplugin" in caught.value.fix
    assert old.named("wasmplugins.extensions.istio.io").kind == "WasmPlugin"


def test_a_kind_that_nobody_serves_is_refused_with_its_name(mesh: ClusterMesh) -> None:
    with pytest.raises(BadManifest, match='resource type "frobs"'):
        mesh.get("frobs")
    with pytest.raises(BadManifest, match='no matches for kind "Deployment"') as caught:
        mesh.apply({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "x"}})
    assert caught.value.field == "apiVersion"
    assert "apps/v1" in caught.value.fix


@pytest.mark.parametrize(("labels", "what"), [
    ({"istio.io/dataplane-mode": "ambient"}, "ambient mode"),
    ({"istio-injection": "disabled"}, "switched off"),
])
def test_a_namespace_without_sidecars_is_refused(
    mesh: ClusterMesh, fake: FakeConnection, labels: dict[str, str], what: str
) -> None:
    fake.put(NAMESPACE, {"metadata": {"name": "anna", "labels": labels}})
    with pytest.raises(CapabilityMissing, match=what):
        mesh.apply(paths.manifests() / "bookinfo.yaml")
    assert list(fake.objects) == [NAMESPACE]


def test_nobody_is_asked_where_nobody_can_answer(
    fake: FakeConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(NotAgreed) as caught:
        consent.ask("what is known", fake, "anna")  # type: ignore[arg-type]
    assert caught.value.detail == "what is known"


def test_a_yes_is_remembered_for_this_place_and_a_no_is_not(
    fake: FakeConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    answers = iter(["no", "y"])
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path))
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    with pytest.raises(Cancelled):
        consent.ask("text", fake, "anna")  # type: ignore[arg-type]
    consent.ask("text", fake, "anna")  # type: ignore[arg-type]
    consent.ask("text", fake, "anna")  # type: ignore[arg-type]
    assert next(answers, None) is None
    with pytest.raises(StopIteration):
        consent.ask("text", fake, "bob")  # type: ignore[arg-type]


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"metadata": {"name": "p-1"}, "status": {"phase": "Pending", "containerStatuses": [
        {"name": "app", "state": {"waiting": {"reason": reason, "message": message}}}]}}


@pytest.mark.parametrize(("deployment", "pods", "events", "expected"), [
    ({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True",
                                 "message": "exceeded quota: few"}]}}, [], [],
     "no pod can be made: exceeded quota: few"),
    ({}, [], [], "there is no pod yet"),
    ({}, [waiting("ErrImagePull", "not found")], [], "waits: ErrImagePull. not found"),
    ({}, [waiting("CrashLoopBackOff")], [], "ends again and again"),
    ({}, [{"metadata": {"name": "p-1"}, "status": {"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "Insufficient memory"}]}}], [],
     "pod p-1 has no node: Insufficient memory"),
    ({}, [waiting("PodInitializing")],
     [Event(1.0, "Warning", "FailedMount", "pod/p-1", "kubelet", 'configmap "x" not found')],
     'pod p-1: FailedMount: configmap "x" not found'),
    ({}, [waiting("PodInitializing")],
     [Event(1.0, "Warning", "FailedMount", "pod/p-1", "kubelet", 'configmap "x" not found'),
      Event(2.0, "Warning", "FailedMount", "pod/p-1", "kubelet",
            "failed to sync configmap cache: timed out waiting for the condition")],
     'pod p-1: FailedMount: configmap "x" not found'),
    ({}, [{"metadata": {"name": "p-1", "deletionTimestamp": "x"}, "status": {}}], [],
     "an old pod is still ending"),
])
def test_why_a_rollout_waits_is_told_in_the_clusters_words(
    deployment: dict[str, Any], pods: list[Any], events: list[Event], expected: str
) -> None:
    deployment = {"metadata": {"name": "p", "namespace": "anna"}, **deployment}
    assert expected in why_not_ready(deployment, pods, events).cause


def test_a_namespace_of_ours_stays_while_others_have_things_in_it(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    mesh.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
    theirs = f"{NAMESPACE}/configmaps/theirs"
    fake.put(theirs, {"metadata": {"name": "theirs", "namespace": "anna"}})
    assert "namespace/anna stays: it holds what the workbook did not make: configmap/theirs" in (
        mesh.clean().text)
    del fake.objects[theirs]
    assert "namespace/anna deleted" in mesh.clean().text
    assert not fake.objects


def test_an_older_istio_has_no_traffic_extensions_and_says_so(
    mesh: ClusterMesh, fake: FakeConnection
) -> None:
    fake.without = "TrafficExtension"
    found = mesh.get("trafficextension")
    assert found.extra["objects"] == []
    assert "knows WasmPlugin only" in found.notes[0]
    assert mesh.delete("trafficextension", "x", missing_ok=True).text == ""
    with pytest.raises(KindMissing):
        mesh.get("trafficextension", "x")
    with pytest.raises(KindMissing):
        mesh.delete("trafficextension", "x")


def test_a_strategy_that_only_newer_istios_know_is_told_from_a_mistake(
    mesh: ClusterMesh, fake: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ('The WasmPlugin "header-logger" is invalid: spec.failStrategy: Unsupported value: '
            '"FAIL_RELOAD": supported values: "FAIL_CLOSE", "FAIL_OPEN"')
    refuse = BadManifest(said)
    refuse.field = "spec.failStrategy"
    real = fake.request

    def request(method: str, path: str, **more: Any) -> Any:
        if (more.get("query") or {}).get("dryRun"):
            raise refuse
        return real(method, path, **more)

    monkeypatch.setattr(fake, "request", request)
    with pytest.raises(StrategyMissing, match="FAIL_RELOAD") as caught:
        steps.apply_wasmplugin(mesh, failStrategy="FAIL_RELOAD")
    assert caught.value.field == "spec.failStrategy"
    assert "newer Istio" in caught.value.fix
