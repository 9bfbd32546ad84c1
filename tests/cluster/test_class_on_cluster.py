"""A class on one cluster: a learner who may do everything in one namespace and nothing outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import paths, steps
from helpers.mesh.cluster import ClusterMesh, placing
from helpers.mesh.cluster.errors import About, CapabilityMissing, FieldConflict, Forbidden

Open = Callable[..., ClusterMesh]
NAMESPACE = "pupil"
RBAC = "rbac.authorization.k8s.io"
SMALL = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "metadata": {"name": "one"}}


def raw(mesh: ClusterMesh, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """A request past our verbs: what the instructor does."""
    return mesh.connection.request(method, path, body=body, about=About(), **more)


@pytest.fixture
def instructor(learner: Open) -> Iterator[ClusterMesh]:
    """Somebody with all rights, who has made the pupil's namespace with injection."""
    mesh = learner(NAMESPACE)
    raw(mesh, "POST", "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}})
    yield mesh
    raw(mesh, "DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    assert placing._is_gone(mesh.connection, NAMESPACE)


@pytest.fixture
def pupil(instructor: ClusterMesh, learner: Open, tmp_path: Path) -> ClusterMesh:
    """Kubernetes' own role `admin` in the namespace, with Istio's plugins, and nothing else."""
    top = f"/apis/{RBAC}/v1/namespaces/{NAMESPACE}"
    raw(instructor, "POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pupil"}})
    raw(instructor, "POST", f"{top}/roles", {
        "apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "plugins"},
        "rules": [{"apiGroups": ["extensions.istio.io"], "resources": ["*"], "verbs": ["*"]}]})
    for kind, name in (("ClusterRole", "admin"), ("Role", "plugins")):
        raw(instructor, "POST", f"{top}/rolebindings", {
            "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "pupil", "namespace": NAMESPACE}]})
    token = raw(instructor, "POST",
                f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/pupil/token", {
                    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                    "spec": {"expirationSeconds": 900}})["status"]["token"]
    document = yaml.safe_load(Path(str(instructor.settings.kubeconfig)).read_text())
    document["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    return learner(NAMESPACE, kubeconfig=str(path), yes=True, images="localhost/workbook")


def test_a_pupil_works_and_cleans_with_the_rights_of_one_namespace(
    instructor: ClusterMesh, pupil: ClusterMesh
) -> None:
    said = pupil.describe().text
    assert "all 13 things" in said
    assert "may not be listed" in said  # istiod's version
    steps.deploy_bookinfo(pupil)
    steps.apply_wasmplugin(pupil)
    with pytest.raises(Forbidden) as caught:
        pupil.create_configmap("x", {"k": paths.manifests() / "wasmplugin.yaml"},
                               namespace="istio-system")
    assert "kubectl auth can-i create configmaps -n istio-system" in caught.value.fix
    text = pupil.clean().text
    assert "wasmplugin/header-logger deleted" in text
    assert "deployment/productpage-v1 deleted" in text
    assert f"namespace/{NAMESPACE} deleted" not in text
    assert instructor.get("deployment").extra["objects"] == []


def test_a_pupil_without_injection_is_told_whom_to_ask(
    instructor: ClusterMesh, pupil: ClusterMesh
) -> None:
    raw(instructor, "PATCH", f"/api/v1/namespaces/{NAMESPACE}",
        {"metadata": {"labels": {"istio-injection": None}}},
        content_type="application/merge-patch+json")
    with pytest.raises(CapabilityMissing, match="you may not switch it on") as caught:
        pupil.apply(SMALL)
    assert f"kubectl label namespace {NAMESPACE} istio-injection=enabled" in caught.value.fix


def test_what_somebody_else_set_by_hand_is_not_overwritten(instructor: ClusterMesh) -> None:
    instructor.apply(SMALL)
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/one"
    raw(instructor, "PATCH", path, {"data": {"a": "by hand"}}, query={"fieldManager": "a-hand"},
        content_type="application/merge-patch+json")
    with pytest.raises(FieldConflict) as caught:
        instructor.apply(SMALL)
    assert (caught.value.field, caught.value.owner) == (".data.a", "a-hand")
    assert raw(instructor, "GET", path)["data"] == {"a": "by hand"}


def test_our_own_patch_may_be_applied_over(instructor: ClusterMesh) -> None:
    instructor.apply(SMALL)
    instructor.patch("configmap", "one", {"data": {"a": "patched"}})
    assert instructor.apply(SMALL).text == "configmap/one configured"
