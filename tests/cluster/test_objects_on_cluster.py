"""What is whose in a cluster, and what its API server and controllers refuse, for real."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import manifests, paths, steps
from helpers.errors import BadManifest, NotFound, NotReady
from helpers.mesh.cluster import ClusterMesh, ownership, placing
from helpers.mesh.cluster.errors import (
    About,
    CapabilityMissing,
    Forbidden,
    NotAgreed,
    NotOurs,
    QuotaExceeded,
    Unauthorized,
    WebhookDown,
)

Open = Callable[..., ClusterMesh]
SMALL = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}


def raw(mesh: ClusterMesh, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """A request past our verbs: what somebody else does to the cluster."""
    return mesh.connection.request(method, path, body=body, about=About(), **more)


def remove(mesh: ClusterMesh, namespace: str) -> None:
    """Delete a namespace and wait until it is gone, so that the next test may make it anew."""
    raw(mesh, "DELETE", f"/api/v1/namespaces/{namespace}")
    while placing.read(mesh.connection, namespace) is not None:
        time.sleep(0.2)


@pytest.fixture
def stranger(learner: Open) -> Iterator[ClusterMesh]:
    """A namespace that was there before the workbook, with injection, and a mesh in it."""
    mesh = learner("stranger")
    raw(mesh, "POST", "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "stranger", "labels": {"istio-injection": "enabled"}}})
    yield mesh
    remove(mesh, "stranger")


def bookinfo_of_a_stranger(mesh: ClusterMesh) -> None:
    """Bookinfo as somebody else applied it: the same objects without our label."""
    for document in manifests.load(paths.manifests() / "bookinfo.yaml"):
        placed, _ = mesh._with_images(document)
        which = mesh._resources.of_manifest(placed)
        raw(mesh, "POST", which.path(mesh.namespace), placed)


def test_everything_that_is_made_carries_the_learners_label(mesh: ClusterMesh) -> None:
    for kind in ("deployment", "service", "serviceaccount"):
        for obj in mesh.get(kind).extra["objects"]:
            if obj["metadata"]["name"] not in ("default", "kubernetes"):
                assert ownership.owner(obj) == mesh.namespace
    template = mesh.get("deployment", steps.DEPLOYMENT).extra["objects"][0]["spec"]["template"]
    assert ownership.LABEL not in template["metadata"]["labels"]


def test_bookinfo_of_a_stranger_is_used_patched_and_restored(
    stranger: ClusterMesh, wasm: dict[str, Path]
) -> None:
    bookinfo_of_a_stranger(stranger)
    before = stranger.get("deployment", steps.DEPLOYMENT).extra["objects"][0]["spec"]["template"]
    steps.start_from(stranger, "bookinfo")
    steps.create_configmap(stranger, wasm["header-logger"])
    steps.patch_deployment(stranger, "patch-productpage-sidecar-volume.yaml")
    patched = stranger.get("deployment", steps.DEPLOYMENT).extra["objects"][0]
    assert "sidecar.istio.io/userVolume" in patched["spec"]["template"]["metadata"]["annotations"]
    said = stranger.clean().text
    after = stranger.get("deployment", steps.DEPLOYMENT).extra["objects"][0]
    assert after["spec"]["template"] == before
    assert ownership.ORIGINAL not in after["metadata"].get("annotations", {})
    assert f"deployment/{steps.DEPLOYMENT} restored" in said
    assert {obj["metadata"]["name"] for obj in stranger.get("service").extra["objects"]} >= {
        "productpage", "details", "reviews", "ratings"}


def test_a_strangers_plugin_is_not_taken_over(stranger: ClusterMesh) -> None:
    plugin = manifests.load(paths.manifests() / "wasmplugin.yaml")[0]
    plugin["metadata"]["namespace"] = "stranger"
    which = stranger._resources.of_manifest(plugin)
    raw(stranger, "POST", which.path("stranger"), plugin)
    with pytest.raises(NotOurs, match="left alone: it belongs to whoever made it before"):
        steps.apply_wasmplugin(stranger)
    assert "left alone" in stranger.delete("wasmplugin", "header-logger").text
    assert stranger.get("wasmplugin").extra["objects"]


def test_two_learners_meet_in_istios_namespace_and_neither_loses(
    learner: Open, wasm: dict[str, Path]
) -> None:
    anna, bob = learner("anna"), learner("bob")
    first = steps.create_configmap(anna, wasm["noop"], namespace="istio-system")
    second = steps.create_configmap(bob, wasm["naive"], namespace="istio-system")
    assert first.text.endswith("created")
    assert "left alone: it belongs to the learner in namespace anna" in second.text
    gone = bob.delete("configmap", steps.CONFIGMAP, namespace="istio-system", missing_ok=True)
    assert gone.text == ""
    assert "left alone" in gone.notes[0]
    assert "left alone" not in anna.delete("configmap", steps.CONFIGMAP,
                                           namespace="istio-system").text


def test_default_in_a_manifest_means_the_learners_namespace(mesh: ClusterMesh) -> None:
    steps.apply_wasmplugin(mesh)
    found = mesh.get("wasmplugin", steps.PLUGIN).extra["objects"][0]
    assert found["metadata"]["namespace"] == mesh.namespace != "default"


def test_a_rejected_object_names_its_field_and_the_old_one_stays(mesh: ClusterMesh) -> None:
    steps.apply_wasmplugin(mesh)
    with pytest.raises(BadManifest, match="strict decoding error") as caught:
        steps.apply_wasmplugin(mesh, foo=1)
    assert caught.value.field == "spec.foo"
    assert "foo" not in mesh.get("wasmplugin", steps.PLUGIN).extra["objects"][0]["spec"]


def test_a_field_that_is_applied_no_more_goes_away(mesh: ClusterMesh) -> None:
    steps.apply_wasmplugin(mesh, match=[{"mode": "SERVER"}])
    assert steps.apply_wasmplugin(mesh).text.endswith("configured")
    assert "match" not in mesh.get("wasmplugin", steps.PLUGIN).extra["objects"][0]["spec"]
    assert steps.apply_wasmplugin(mesh).text.endswith("unchanged")


def test_a_quota_is_named_where_no_pod_can_be_made(learner: Open) -> None:
    mesh = learner("quota")
    mesh._before_write()
    raw(mesh, "POST", "/api/v1/namespaces/quota/resourcequotas", {
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "0", "configmaps": "1"}}})
    mesh.apply(paths.manifests() / "bookinfo.yaml")
    with pytest.raises(NotReady, match="not ready") as caught:
        mesh.wait_ready(steps.DEPLOYMENT, timeout=8)
    assert "exceeded quota: few" in caught.value.cause
    with pytest.raises(QuotaExceeded, match="exceeded quota: few"):
        mesh.apply({**SMALL, "metadata": {"name": "one"}})


def test_podsecurity_is_named_where_it_forbids_the_sidecars_init(learner: Open) -> None:
    mesh = learner("restricted")
    mesh._before_write()
    raw(mesh, "PATCH", "/api/v1/namespaces/restricted", {
        "metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        content_type="application/merge-patch+json")
    mesh.apply(paths.manifests() / "bookinfo.yaml")
    with pytest.raises(NotReady) as caught:
        mesh.wait_ready(steps.DEPLOYMENT, timeout=8)
    assert 'violates PodSecurity "restricted' in caught.value.cause


def test_an_image_that_cannot_be_pulled_is_named(learner: Open) -> None:
    mesh = learner("pull", images="localhost/nowhere")
    mesh.apply(paths.manifests() / "bookinfo.yaml")
    with pytest.raises(NotReady) as caught:
        mesh.wait_ready(steps.DEPLOYMENT, timeout=20)
    assert "localhost/nowhere/examples-bookinfo-productpage-v1" in caught.value.cause
    assert "--images" in caught.value.cause


def test_a_webhook_that_is_down_is_named(learner: Open) -> None:
    mesh = learner("hooked")
    mesh._before_write()
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    raw(mesh, "POST", path, {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "workbook-test-hook"},
        "webhooks": [{
            "name": "down.workbook.test", "sideEffects": "None", "failurePolicy": "Fail",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hooked"}},
            "clientConfig": {"service": {"name": "nobody", "namespace": "hooked"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                       "resources": ["configmaps"]}]}]})
    try:
        with pytest.raises(WebhookDown, match=r"down\.workbook\.test"):
            mesh.apply({**SMALL, "metadata": {"name": "one"}})
    finally:
        raw(mesh, "DELETE", f"{path}/workbook-test-hook")


def limited(mesh: ClusterMesh, folder: Path) -> Path:
    """A kubeconfig of a ServiceAccount that may only look at pods."""
    where = mesh.namespace
    mesh._before_write()
    raw(mesh, "POST", f"/api/v1/namespaces/{where}/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "looker"}})
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{where}"
    raw(mesh, "POST", f"{rbac}/roles", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "looker"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]})
    raw(mesh, "POST", f"{rbac}/rolebindings", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "looker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "looker"},
        "subjects": [{"kind": "ServiceAccount", "name": "looker", "namespace": where}]})
    token = raw(mesh, "POST", f"/api/v1/namespaces/{where}/serviceaccounts/looker/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600}})["status"]["token"]
    return with_token(mesh, folder, token)


def with_token(mesh: ClusterMesh, folder: Path, token: str) -> Path:
    """Our kubeconfig with another user."""
    document = yaml.safe_load(Path(str(mesh.settings.kubeconfig)).read_text())
    document["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def test_what_rbac_forbids_is_named_with_the_question_to_ask(
    learner: Open, tmp_path: Path
) -> None:
    mesh = learner("looked-at")
    looker = learner("looked-at", kubeconfig=str(limited(mesh, tmp_path)), yes=True)
    assert looker.pods().pods == ()
    with pytest.raises(Forbidden, match="cannot") as caught:
        looker.create_configmap("x", {"k": paths.manifests() / "configmap.yaml"})
    assert "kubectl auth can-i" in caught.value.fix
    assert "create configmaps" in looker.describe().text.split("may", 1)[1]


def test_credentials_that_hold_no_more_are_named(learner: Open, tmp_path: Path) -> None:
    path = with_token(learner("whoever"), tmp_path, "expired")
    with pytest.raises(Unauthorized, match="You must be logged in"):
        learner("whoever", kubeconfig=str(path), yes=True).pods()


def test_nothing_is_written_to_a_cluster_that_nobody_agreed_to(
    learner: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path))
    monkeypatch.delenv("WORKBOOK_YES", raising=False)
    own = learner("agreed")
    copy = tmp_path / "kubeconfig"
    copy.write_bytes(Path(str(own.settings.kubeconfig)).read_bytes())
    mesh = learner("agreed", kubeconfig=str(copy))
    with pytest.raises(NotAgreed, match="nobody has agreed") as caught:
        mesh.apply({**SMALL, "metadata": {"name": "one"}})
    assert "v1.34" in caught.value.detail
    assert placing.read(mesh.connection, "agreed") is None


@pytest.mark.parametrize(("labels", "what"), [
    ({"istio.io/dataplane-mode": "ambient"}, "is in ambient mode"),
    ({"istio-injection": "disabled"}, "injection is switched off"),
])
def test_a_namespace_without_sidecars_is_refused_before_anything_is_made(
    learner: Open, labels: dict[str, str], what: str
) -> None:
    mesh = learner("no-sidecars")
    raw(mesh, "POST", "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "no-sidecars", "labels": labels}})
    try:
        with pytest.raises(CapabilityMissing, match=what):
            mesh.apply(paths.manifests() / "bookinfo.yaml")
        assert mesh.get("deployment").extra["objects"] == []
    finally:
        remove(mesh, "no-sidecars")


def test_clean_leaves_nothing_of_ours_anywhere(learner: Open, wasm: dict[str, Path]) -> None:
    mesh = learner("tidy")
    steps.start_from(mesh, "bookinfo")
    steps.create_configmap(mesh, wasm["noop"], namespace="istio-system")
    said = mesh.clean().text
    assert "configmap/header-logger deleted in istio-system" in said
    assert "namespace/tidy deleted" in said
    for path in ("/api/v1/configmaps", "/apis/apps/v1/deployments", "/api/v1/services",
                 "/api/v1/serviceaccounts", "/apis/extensions.istio.io/v1alpha1/wasmplugins"):
        left = raw(mesh, "GET", path, query={"labelSelector": f"{ownership.LABEL}=tidy"})
        assert left["items"] == []


def test_a_namespace_that_only_got_its_label_from_us_loses_it_again(learner: Open) -> None:
    mesh = learner("plain")
    raw(mesh, "POST", "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plain"}})
    try:
        mesh._before_write()
        found = placing.read(mesh.connection, "plain")
        assert found is not None
        assert placing.injects(found)
        mesh.clean()
        found = placing.read(mesh.connection, "plain")
        assert found is not None
        assert "istio-injection" not in found["metadata"]["labels"]
        with pytest.raises(NotFound):
            mesh.get("configmap", "one")
    finally:
        remove(mesh, "plain")
