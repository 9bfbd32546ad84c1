"""A namespace without injection: the plugin is accepted there and has no effect."""

from __future__ import annotations

import pytest

from helpers import paths, steps
from helpers.errors import NotFound, NotModelled
from helpers.mesh.local import LocalMesh


def test_a_plugin_where_nothing_is_injected_is_accepted_and_does_nothing(mesh: LocalMesh) -> None:
    mesh.create_namespace("quiet")
    try:
        there = LocalMesh(namespace="quiet", state=mesh.state)
        there.apply(paths.manifests() / "bookinfo.yaml", namespace="quiet")
        there.wait_ready(steps.DEPLOYMENT)
        (pod,) = there.pods("app=productpage").pods
        assert (pod.ready, pod.containers) == ("1/1", ("productpage",))
        plugin = {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": "header-logger", "namespace": "quiet"},
            "spec": {"url": f"file://{steps.MOUNT_PATH}/{steps.KEY}"},
        }
        assert there.apply(plugin).text == "wasmplugin.extensions.istio.io/header-logger created"
        answer = there.curl(steps.URL, container="productpage")
        assert answer.status == 200
        assert not [event for event in there.events().events if event.type == "Warning"]
        with pytest.raises(NotFound, match="istio-proxy"):
            there.logs()
    finally:
        mesh.delete("namespace", "quiet")


def test_what_needs_a_cluster_is_refused_by_name(mesh: LocalMesh) -> None:
    strict = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "default"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    with pytest.raises(NotModelled, match="PeerAuthentication"):
        mesh.apply(strict)
