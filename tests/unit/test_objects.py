"""The store: what kubectl would see, after crashes and with two processes too."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers import manifests
from helpers.errors import AlreadyExists, BadManifest, BadState, Busy, NotFound, NotModelled
from helpers.mesh.local import LocalMesh
from helpers.mesh.local.objects import Store

MANIFESTS = Path(__file__).parents[2] / "manifests"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state mit Leerzeichen")


def plugin(name: str = "x", **spec: Any) -> dict[str, Any]:
    return manifests.wasmplugin(name, "file:///a.wasm") | {
        "spec": {"url": "file:///a.wasm", **spec}
    }


def config_map(name: str = "header-logger", ns: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": ns},
        "data": {"a": "b"},
    }


def productpage() -> dict[str, Any]:
    return next(
        obj
        for obj in manifests.load(MANIFESTS / "bookinfo.yaml")
        if obj["kind"] == "Deployment" and obj["metadata"]["name"] == "productpage-v1"
    )


def pod(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]
    return found


def test_default_and_istio_system_are_there_from_the_start(store: Store) -> None:
    assert store.namespaces() == ["default", "istio-system"]
    store.create_namespace("shop")
    assert store.namespaces() == ["default", "istio-system", "shop"]


def test_what_was_created_is_there_for_another_store(store: Store) -> None:
    made = store.create(plugin())
    again = Store(store.folder)
    assert again.get("wasmplugin", "default", "x") == made
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")


def test_creating_twice_says_already_exists(store: Store) -> None:
    store.create(config_map())
    with pytest.raises(AlreadyExists) as caught:
        store.create(config_map())
    assert caught.value.what == (
        'Error from server (AlreadyExists): configmaps "header-logger" already exists'
    )


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        store.get("wasmplugin", "default", "x")
    assert caught.value.what == (
        'Error from server (NotFound): wasmplugins.extensions.istio.io "x" not found'
    )
    for action in (store.get, store.delete):
        with pytest.raises(NotFound, match=r'deployments\.apps "y" not found'):
            action("deploy", None, "y")


def test_a_missing_namespace_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match='namespaces "nope" not found'):
        store.create(config_map(ns="nope"))
    with pytest.raises(NotFound, match='namespaces "nope" not found'):
        store.apply(config_map(ns="nope"))


def test_the_same_name_may_be_used_in_two_namespaces(store: Store) -> None:
    store.create(config_map(ns="istio-system"))
    with pytest.raises(NotFound):
        store.get("cm", "default", "header-logger")
    store.create(config_map())
    assert len(store.list("cm")) == 2
    assert len(store.list("cm", "default")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "wasmplugin",
        "WasmPlugin",
        "wasmplugins",
        "wasmplugins.extensions.istio.io",
        "wasmplugins.v1alpha1.extensions.istio.io",
    ],
)
def test_kinds_go_by_kubectls_names(store: Store, name: str) -> None:
    store.create(plugin())
    assert store.get(name, None, "x")["kind"] == "WasmPlugin"


def test_short_names_work(store: Store) -> None:
    for obj in manifests.load(MANIFESTS / "bookinfo.yaml"):
        store.apply(obj)
    assert len(store.list("svc")) == len(store.list("sa")) == len(store.list("deploy")) == 4
    assert len(store.list("ns")) == 2


def test_kinds_of_a_cluster_and_kinds_of_nobody_are_told_apart(store: Store) -> None:
    with pytest.raises(NotModelled, match="does not run DaemonSets: use a cluster"):
        store.list("daemonsets")
    with pytest.raises(NotModelled, match="does not run NetworkPolicies"):
        store.list("networkpolicy")
    with pytest.raises(BadManifest, match="doesn't have a resource type"):
        store.list("frobnicators")


def test_the_crd_check_of_the_article_answers(store: Store) -> None:
    crd = store.get("crd", None, "wasmplugins.extensions.istio.io")
    assert crd["metadata"]["creationTimestamp"]
    assert len(store.list("crd")) == 2
    with pytest.raises(NotFound, match="customresourcedefinitions"):
        store.get("crd", None, "nothing.example.com")


# -- apply, replace, patch ------------------------------------------------------------------


def test_apply_creates_then_configures_then_leaves_alone(store: Store) -> None:
    assert store.apply(plugin())[0] == "created"
    before = store.version()
    assert store.apply(plugin())[0] == "unchanged"
    assert store.version() == before
    word, obj = store.apply(plugin(phase="AUTHN"))
    assert (word, obj["metadata"]["generation"]) == ("configured", 2)
    assert int(obj["metadata"]["resourceVersion"]) == store.version() > before


def test_apply_removes_what_the_manifest_no_longer_has(store: Store) -> None:
    store.apply(plugin(phase="AUTHN"))
    _, obj = store.apply(plugin())
    assert "phase" not in obj["spec"]


def test_apply_keeps_what_a_patch_added(store: Store) -> None:
    store.apply(productpage())
    store.patch(
        "deploy",
        None,
        "productpage-v1",
        manifests.load_patch(MANIFESTS / "patch-productpage-app-volume.yaml"),
    )
    word, obj = store.apply(productpage())
    assert word == "unchanged"
    assert [volume["name"] for volume in pod(obj)["volumes"]] == ["wasm-filters", "tmp"]


def test_an_annotation_changes_the_version_and_not_the_generation(store: Store) -> None:
    old = store.create(plugin())
    new = store.patch("wasmplugin", None, "x", {"metadata": {"annotations": {"a": "b"}}})
    assert new["metadata"]["generation"] == 1
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    assert new["metadata"]["uid"] == old["metadata"]["uid"]


def test_replace_exchanges_the_whole_object(store: Store) -> None:
    with pytest.raises(NotFound):
        store.replace(config_map())
    store.create(config_map())
    new = store.replace(config_map() | {"data": {"c": "d"}})
    assert new["data"] == {"c": "d"}


def test_a_patch_of_a_custom_resource_follows_rfc_7386(store: Store) -> None:
    store.create(plugin(match=[{"mode": "SERVER"}, {"mode": "CLIENT"}], phase="AUTHN"))
    new = store.patch("wasmplugin", None, "x", {"spec": {"match": [{}], "phase": None}})
    assert new["spec"] == {"url": "file:///a.wasm", "match": [{}]}


def test_a_patch_of_a_deployment_merges_named_items(store: Store) -> None:
    store.apply(productpage())
    patch = manifests.load_patch(MANIFESTS / "patch-productpage-app-volume.yaml")
    new = store.patch("deployment", "default", "productpage-v1", patch)
    [container] = pod(new)["containers"]
    assert container["image"].startswith("docker.io/istio/examples-bookinfo-productpage")
    assert {m["mountPath"] for m in container["volumeMounts"]} == {
        "/etc/wasm/header-logger",
        "/tmp",
    }
    assert new["metadata"]["generation"] == 2
    for name in ("sidecar-volume", "log-level"):
        patch = manifests.load_patch(MANIFESTS / f"patch-productpage-{name}.yaml")
        new = store.patch("deployment", "default", "productpage-v1", patch)
    assert len(new["spec"]["template"]["metadata"]["annotations"]) == 3


def test_a_patch_can_delete_a_named_item(store: Store) -> None:
    store.apply(productpage())
    gone = {
        "containers": [
            {
                "name": "productpage",
                "volumeMounts": [{"$patch": "delete", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"$patch": "delete", "name": "tmp"}],
    }
    new = store.patch("deploy", None, "productpage-v1", {"spec": {"template": {"spec": gone}}})
    assert pod(new)["volumes"] == []
    assert pod(new)["containers"][0]["volumeMounts"] == []


def test_a_refused_change_changes_nothing(store: Store) -> None:
    old = store.create(plugin())
    for change in ({"spec": {"phase": "NOPE"}}, {"metadata": {"name": "y"}}, {"spec": {"z": 1}}):
        with pytest.raises(BadManifest):
            store.patch("wasmplugin", None, "x", change)
    with pytest.raises(BadManifest):
        store.apply(plugin(phase="NOPE"))
    assert store.get("wasmplugin", None, "x") == old


def test_apply_drops_a_list_item_that_the_manifest_no_longer_has(store: Store) -> None:
    store.apply(productpage())
    obj = productpage()
    del pod(obj)["volumes"], pod(obj)["containers"][0]["volumeMounts"]
    word, new = store.apply(obj)
    assert word == "configured"
    assert "volumes" not in pod(new)
    obj = productpage()
    pod(obj)["volumes"].append({"name": "more", "emptyDir": {}})
    _, new = store.apply(obj)
    assert [volume["name"] for volume in pod(new)["volumes"]] == ["tmp", "more"]
    _, new = store.apply(productpage())
    assert [volume["name"] for volume in pod(new)["volumes"]] == ["tmp"]


# -- delete ---------------------------------------------------------------------------------


def test_deleting_counts_as_a_change(store: Store) -> None:
    store.create(plugin())
    before = store.version()
    assert store.delete("wasmplugin", None, "x")["metadata"]["name"] == "x"
    assert store.version() == before + 1
    assert store.create(plugin())["metadata"]["generation"] == 1


def test_a_namespace_takes_its_objects_along(store: Store) -> None:
    store.create_namespace("shop")
    store.create(config_map(ns="shop"))
    store.delete("ns", None, "shop")
    assert store.list("cm") == []
    for name in ("default", "istio-system"):
        with pytest.raises(NotModelled, match="may not be deleted"):
            store.delete("ns", None, name)


def test_a_name_never_leads_out_of_the_folder(store: Store) -> None:
    for name in ("../x", "..", "a/b", "a\\b", ""):
        with pytest.raises(NotFound):
            store.delete("cm", "default", name)
        with pytest.raises(NotFound):
            store.get("cm", name or "..", "x")


# -- faults ---------------------------------------------------------------------------------


def file_of(store: Store, name: str) -> Path:
    [path] = store.folder.glob(f"objects/**/{name}.json")
    return path


@pytest.mark.parametrize(
    "content", ["", '{"version": 1, "da', "[]", '{"version": 1, "data": {"object": {}}}']
)
def test_a_truncated_object_is_bad_state(store: Store, content: str) -> None:
    store.create(plugin())
    file_of(store, "x").write_text(content)
    with pytest.raises(BadState, match="damaged"):
        store.get("wasmplugin", None, "x")
    with pytest.raises(BadState):
        store.list("wasmplugin")


def test_state_of_another_version_is_bad_state(store: Store) -> None:
    store.create(plugin())
    path = file_of(store, "x")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(BadState, match="another version"):
        store.get("wasmplugin", None, "x")


def test_a_damaged_counter_is_bad_state(store: Store) -> None:
    file_of(store, "resource-version").write_text('{"version": 1, "data": "7"}')
    with pytest.raises(BadState):
        store.create(plugin())


def test_a_lock_held_elsewhere_is_busy(tmp_path: Path) -> None:
    first = Store(tmp_path)
    second = Store(tmp_path, timeout=0.05)
    caught: list[Exception] = []

    def write() -> None:
        try:
            second.create(plugin())
        except Busy as error:
            caught.append(error)

    with first.lock():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(caught) == 1
    write()
    assert len(caught) == 1


def test_the_holder_of_the_lock_may_write(store: Store) -> None:
    with store.lock():
        store.create(plugin())
    assert store.get("wasmplugin", None, "x")


def test_two_processes_never_share_a_resource_version(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from helpers.mesh.local.objects import Store\n"
        "store = Store(Path(sys.argv[1]), timeout=60)\n"
        "for i in range(15):\n"
        "    store.create({'apiVersion': 'v1', 'kind': 'ConfigMap',"
        " 'metadata': {'name': f'{sys.argv[2]}-{i}'}})\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name])
        for name in ("a", "b")
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    found = [obj["metadata"]["resourceVersion"] for obj in Store(tmp_path).list("cm")]
    assert len(found) == len(set(found)) == 30


def test_a_patch_that_is_refused_leaves_the_object_as_it_was(store: Store) -> None:
    store.create(plugin())
    before = store.get("wasmplugin", "default", "x")

    def refuse(_: object) -> None:
        raise NotModelled("not here")

    with pytest.raises(NotModelled):
        store.patch("wasmplugin", "default", "x", {"spec": {"url": "oci://a/b"}}, check=refuse)
    assert store.get("wasmplugin", "default", "x") == before


def test_the_mesh_stores_nothing_that_it_could_not_run(tmp_path: Path) -> None:
    mesh = LocalMesh(state=tmp_path)
    mesh.apply(plugin())
    before = mesh.get("wasmplugin", "x").extra["objects"]
    with pytest.raises(NotModelled):
        mesh.patch("wasmplugin", "x", {"spec": {"url": "oci://registry.example/x:1"}})
    assert mesh.get("wasmplugin", "x").extra["objects"] == before


def test_a_manifest_with_one_bad_object_changes_nothing(tmp_path: Path) -> None:
    mesh = LocalMesh(state=tmp_path)
    with pytest.raises(BadManifest):
        mesh.apply([config_map("good"), plugin(phase="NEVER")])
    assert mesh.get("configmap").rows == ()


def test_a_name_of_253_letters_is_kept_and_found(store: Store) -> None:
    long, other = "x" * 253, "x" * 252 + "y"
    store.create(plugin(long))
    store.create(plugin(other))
    assert store.get("wasmplugin", "default", long)["metadata"]["name"] == long
    assert len(store.list("wasmplugin")) == 2
    store.delete("wasmplugin", "default", long)
    assert [each["metadata"]["name"] for each in store.list("wasmplugin")] == [other]
