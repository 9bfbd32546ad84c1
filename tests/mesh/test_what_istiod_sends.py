"""Envoy holds what a real istiod would have sent."""

from __future__ import annotations

import time
from typing import Any

import pytest

from helpers import listeners, steps
from helpers.mesh.local import LocalMesh

NAME = "default.header-logger~istio-translated-wasmplugin"
FILTER = f"extensions.istio.io/trafficextension/{NAME}"


def filters(mesh: LocalMesh) -> dict[str, list[str]]:
    return {
        listener["name"]: [
            name for _, chain in listeners.http_filters(listener) for name in chain
        ]
        for listener in mesh.proxy_config("listener").extra["json"]
    }


@pytest.fixture
def mounted(deployed: LocalMesh) -> LocalMesh:
    """The module's file is in the sidecar, and no plugin uses it yet."""
    deployed.delete("wasmplugin", "header-logger")
    return deployed


def plugin(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": spec.pop("namespace", "default")},
        "spec": {"url": f"file://{steps.MOUNT_PATH}/{steps.KEY}", **spec},
    }


def inbound(mesh: LocalMesh) -> list[str]:
    """Our plugins on the inbound listener, in order, by bare name."""
    prefix = "extensions.istio.io/trafficextension/"
    return [
        name.removeprefix(prefix).removesuffix("~istio-translated-wasmplugin")
        for name in filters(mesh)["virtualInbound"]
        if name.startswith(prefix)
    ]


def test_the_filter_is_on_both_directions_before_istios_own(deployed: LocalMesh) -> None:
    own = [f"envoy.filters.http.{name}" for name in ("grpc_stats", "fault", "cors", "router")]
    assert filters(deployed) == {
        "virtualInbound": [FILTER, *own],
        "0.0.0.0_9080": [FILTER, *own],
    }


def test_the_ecds_content_is_istiods(deployed: LocalMesh) -> None:
    (resource,) = deployed.proxy_config("ecds").extra["json"]
    stored = deployed.get("wasmplugin", "header-logger").extra["objects"][0]
    config = resource["typed_config"]["config"]
    assert resource["name"] == FILTER
    assert resource["typed_config"]["@type"] == (
        "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
    )
    assert config["name"] == NAME
    assert "root_id" not in config
    assert config["configuration"]["@type"] == ("type.googleapis.com/google.protobuf.StringValue")
    assert config["configuration"]["value"] == '{"log_level":"info"}'
    assert config["failure_policy"] == "FAIL_CLOSED"
    vm = config["vm_config"]
    assert vm["runtime"] == "envoy.wasm.runtime.v8"
    assert vm["code"]["local"]["filename"] == f"{steps.MOUNT_PATH}/{steps.KEY}"
    assert vm["environment_variables"]["key_values"] == {
        "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": stored["metadata"]["resourceVersion"]
    }


def test_plugin_name_env_and_policy_reach_envoy(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(
        deployed,
        pluginName="my_root",
        failStrategy="FAIL_OPEN",
        vmConfig={"env": [{"name": "TEAM", "value": "blue"}]},
    )
    (resource,) = deployed.proxy_config("ecds").extra["json"]
    config = resource["typed_config"]["config"]
    assert config["root_id"] == "my_root"
    assert config["failure_policy"] == "FAIL_OPEN"
    assert config["vm_config"]["environment_variables"]["key_values"]["TEAM"] == "blue"
    begun = time.time()
    steps.curl(deployed)
    assert steps.wait_for_log(
        deployed, f"wasm log {NAME} my_root: User-Agent: MyTestClient", since=begun
    ).lines


def test_higher_priority_is_first_and_none_is_last_even_after_negative(mounted: LocalMesh) -> None:
    for name, priority in (("p10", 10), ("none", None), ("p20", 20), ("m5", -5), ("q20", 20)):
        mounted.apply(
            plugin(name, phase="AUTHZ", **({} if priority is None else {"priority": priority}))
        )
    assert inbound(mounted) == [
        "default.p20",
        "default.q20",
        "default.p10",
        "default.m5",
        "default.none",
    ]


def test_phases_come_in_istios_order(mounted: LocalMesh) -> None:
    for name, phase in (("last", None), ("stats", "STATS"), ("authz", "AUTHZ"), ("authn", "AUTHN")):
        mounted.apply(plugin(name, **({} if phase is None else {"phase": phase})))
    assert inbound(mounted) == ["default.authn", "default.authz", "default.stats", "default.last"]


def test_the_root_namespace_applies_to_all_another_to_none(mounted: LocalMesh) -> None:
    mounted.create_namespace("elsewhere")
    try:
        mounted.apply(plugin("everywhere", namespace="istio-system"))
        mounted.apply(plugin("nowhere", namespace="elsewhere"))
        assert inbound(mounted) == ["istio-system.everywhere"]
    finally:
        mounted.delete("namespace", "elsewhere")
        mounted.delete("wasmplugin", "everywhere", namespace="istio-system")


def test_a_selector_that_matches_another_app_changes_nothing(mesh: LocalMesh) -> None:
    mesh.apply(plugin("other", selector={"matchLabels": {"app": "details"}}))
    assert inbound(mesh) == []
    assert steps.curl(mesh).status == 200


def test_match_server_is_inbound_client_is_outbound_another_port_is_nowhere(
    mounted: LocalMesh,
) -> None:
    steps.apply_wasmplugin(mounted, match=[{"mode": "SERVER"}])
    found = filters(mounted)
    assert (FILTER in found["virtualInbound"], FILTER in found["0.0.0.0_9080"]) == (True, False)
    steps.apply_wasmplugin(mounted, match=[{"mode": "CLIENT"}])
    found = filters(mounted)
    assert (FILTER in found["virtualInbound"], FILTER in found["0.0.0.0_9080"]) == (False, True)
    steps.apply_wasmplugin(mounted, match=[{"ports": [{"number": 9999}]}])
    found = filters(mounted)
    assert (FILTER in found["virtualInbound"], FILTER in found["0.0.0.0_9080"]) == (False, False)


def test_without_match_a_request_is_logged_inbound_and_once_for_each_call(
    deployed: LocalMesh,
) -> None:
    begun = time.time()
    steps.curl(deployed, user_agent="count-me")
    steps.wait_for_log(deployed, "inbound|9080||", since=begun)
    assert len(deployed.logs(grep="User-Agent: count-me", since=begun).lines) == 3


def test_from_the_applications_container_it_is_logged_outbound_first(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, match=[{"mode": "SERVER"}, {"mode": "CLIENT"}])
    begun = time.time()
    reply = steps.curl(deployed, user_agent="from-app", container="productpage")
    assert reply.status == 200
    steps.wait_for_log(
        deployed, "outbound|9080||productpage.default.svc.cluster.local", since=begun
    )
    lines = deployed.logs(grep="from-app", since=begun).lines
    access = [line for line in lines if '"GET /productpage ' in line]
    assert len(access) == 2
    # The same request id on the way out and on the way in.
    assert len({line.split('"')[9] for line in access}) == 1


def test_a_trafficextension_is_the_same_filter_under_its_own_name(deployed: LocalMesh) -> None:
    deployed.delete("wasmplugin", "header-logger")
    deployed.apply(
        {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "TrafficExtension",
            "metadata": {"name": "header-logger", "namespace": "default"},
            "spec": {
                "phase": "AUTHZ",
                "wasm": {"url": f"file://{steps.MOUNT_PATH}/{steps.KEY}"},
            },
        }
    )
    names = [row[0] for row in deployed.proxy_config("ecds").rows]
    assert "extensions.istio.io/trafficextension/default.header-logger" in names
    begun = time.time()
    steps.curl(deployed, user_agent="by-extension")
    assert steps.wait_for_log(
        deployed, "wasm log default.header-logger: User-Agent: by-extension", since=begun
    ).lines


def test_a_lua_extension_runs_inline(mesh: LocalMesh) -> None:
    mesh.apply(
        {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "TrafficExtension",
            "metadata": {"name": "greeter", "namespace": "default"},
            "spec": {
                "match": [{"mode": "SERVER"}],
                "lua": {
                    "inlineCode": "function envoy_on_response(handle)\n"
                    '  handle:headers():add("x-lua", "hello")\nend\n'
                },
            },
        }
    )
    assert steps.curl(mesh).headers["x-lua"] == "hello"


def test_clusters_and_listeners_are_named_as_in_a_cluster(mesh: LocalMesh) -> None:
    rows = mesh.proxy_config("cluster").rows
    assert ("details.default.svc.cluster.local", "9080", "-", "outbound", "STATIC", "") in rows
    destinations = {row[0]: row[4] for row in mesh.proxy_config("listener").rows}
    assert destinations == {
        "virtualInbound": "Cluster: inbound|9080||",
        "0.0.0.0_9080": "Route: 9080",
    }


def ecds(mesh: LocalMesh, name: str) -> dict[str, Any]:
    """One plugin's configuration; a chain that drains may still have others."""
    (found,) = [
        each["typed_config"]
        for each in mesh.proxy_config("ecds").extra["json"]
        if each["name"].endswith(f"/{name}~istio-translated-wasmplugin")
    ]
    return dict(found)


def test_a_network_filter_is_before_the_connection_manager(mounted: LocalMesh) -> None:
    mounted.apply(plugin("low", type="NETWORK", match=[{"mode": "SERVER"}]))
    (listener,) = [
        each
        for each in mounted.proxy_config("listener").extra["json"]
        if each["name"] == "virtualInbound"
    ]
    (chain,) = listener["filter_chains"]
    assert [part["name"] for part in chain["filters"]] == [
        "extensions.istio.io/trafficextension/default.low~istio-translated-wasmplugin",
        "envoy.filters.network.http_connection_manager",
    ]
    assert ecds(mounted, "default.low")["@type"] == (
        "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm"
    )


def test_a_plugin_with_target_refs_is_taken_and_is_for_no_sidecar(mounted: LocalMesh) -> None:
    refs = [{"kind": "Service", "name": "productpage"}]
    assert "created" in mounted.apply(plugin("waypoint", targetRefs=refs)).text
    assert inbound(mounted) == []


def test_a_selector_may_name_what_the_injector_adds(mounted: LocalMesh) -> None:
    labels = {"service.istio.io/canonical-name": "productpage"}
    mounted.apply(plugin("canonical", selector={"matchLabels": labels}))
    assert inbound(mounted) == ["default.canonical"]


def test_a_module_whose_pull_secret_is_missing_is_not_fetched(mounted: LocalMesh) -> None:
    mounted.apply(
        plugin("secret", url="http://127.0.0.1:9/a.wasm", imagePullSecret="none", type="NETWORK")
    )
    assert ecds(mounted, "default.secret") == {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
        "rules": {},
        "stat_prefix": "wasm-default-deny",
    }
    assert mounted.logs(grep="missing image pulling secret").lines
