"""What istiod computes from objects, without an Envoy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.mesh.local import istiod

LABELS = {"app": "productpage", "version": "v1"}


def plugin(
    name: str,
    *,
    kind: str = "WasmPlugin",
    created: str = "2026-01-01T00:00:00Z",
    namespace: str = "default",
    **spec: Any,
) -> dict[str, Any]:
    body = {"url": "file:///x.wasm", **spec} if kind == "WasmPlugin" else spec
    return {
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": created,
            "resourceVersion": "7",
        },
        "spec": body,
    }


def names(objects: list[dict[str, Any]], *, inbound: bool = True, port: int = 9080) -> list[str]:
    found = istiod.for_listener(
        objects, namespace="default", labels=LABELS, inbound=inbound, port=port
    )
    return [ext.name.removesuffix(istiod.TRANSLATED) for ext in found]


def test_a_wasmplugin_is_translated_and_named_so() -> None:
    ext = istiod.extension(plugin("header-logger"))
    assert ext.config_name == "default.header-logger~istio-translated-wasmplugin"
    assert ext.resource_name == (
        "extensions.istio.io/trafficextension/default.header-logger~istio-translated-wasmplugin"
    )


def test_a_trafficextension_keeps_its_name() -> None:
    ext = istiod.extension(plugin("x", kind="TrafficExtension", wasm={"url": "file:///x.wasm"}))
    assert ext.config_name == "default.x"


def test_equal_priorities_go_by_age_then_name() -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
    assert names(
        [
            plugin("b", priority=1, created=new),
            plugin("a", priority=1, created=new),
            plugin("c", priority=1, created=old),
        ]
    ) == ["c", "a", "b"]


def test_no_priority_is_after_the_most_negative_one() -> None:
    assert names([plugin("none"), plugin("low", priority=-2147483648 + 1)]) == ["low", "none"]


def test_no_priority_is_the_lowest_one() -> None:
    lowest = plugin("z", priority=-2147483648)
    assert names([lowest, plugin("a")]) == ["a", "z"]


def test_the_workloads_namespace_comes_before_the_root_namespace() -> None:
    assert names(
        [
            plugin("root", namespace="istio-system", created="2020-01-01T00:00:00Z"),
            plugin("own"),
        ]
    ) == ["own", "root"]


@pytest.mark.parametrize("phase", ["", "UNSPECIFIED_PHASE", "UNSPECIFIED", None])
def test_every_way_to_say_no_phase_is_last(phase: str | None) -> None:
    assert names([plugin("x", phase=phase), plugin("s", phase="STATS")]) == ["s", "x"]


@pytest.mark.parametrize(
    ("match", "inbound", "applies"),
    [
        (None, True, True),
        ([{"mode": "SERVER"}], True, True),
        ([{"mode": "SERVER"}], False, False),
        ([{"mode": "CLIENT"}], True, False),
        ([{"mode": "CLIENT"}], False, True),
        ([{"mode": "CLIENT_AND_SERVER"}], False, True),
        ([{}], True, True),
        ([{"ports": [{"number": 9080}]}], True, True),
        ([{"ports": [{"number": 80}]}], True, False),
        ([{"mode": "SERVER", "ports": [{"number": 80}]}, {"mode": "SERVER"}], True, True),
    ],
)
def test_match_says_where(match: Any, inbound: bool, applies: bool) -> None:
    assert names([plugin("x", match=match)], inbound=inbound) == (["x"] if applies else [])


def test_target_refs_are_not_for_a_sidecar() -> None:
    assert names([plugin("t", targetRefs=[{"kind": "Gateway", "name": "g"}])]) == []
    assert names([plugin("t", targetRef={"kind": "Service", "name": "productpage"})]) == []


def test_network_filters_have_a_chain_of_their_own() -> None:
    both = [plugin("n", type="NETWORK"), plugin("h", type="HTTP")]
    assert names(both) == ["h"]
    (found,) = istiod.for_listener(
        both, namespace="default", labels=LABELS, inbound=True, port=9080, network=True
    )
    assert found.name == f"n{istiod.TRANSLATED}"
    assert istiod.network_filter(found, {})["config_discovery"]["type_urls"] == [
        istiod.NETWORK_WASM_TYPE,
        istiod.NETWORK_RBAC_TYPE,
    ]
    assert istiod.ecds(found)["typed_config"]["@type"] == istiod.NETWORK_WASM_TYPE


def test_a_module_whose_url_cannot_be_read_is_passed_over() -> None:
    assert names([plugin("x", url="http://a b/c.wasm"), plugin("y")]) == ["y"]


def test_a_selector_needs_every_label() -> None:
    assert names([plugin("x", selector={"matchLabels": {"app": "productpage", "tier": "x"}})]) == []


def test_no_plugin_config_means_no_configuration() -> None:
    config = istiod.ecds(istiod.extension(plugin("x")))["typed_config"]["config"]
    assert config["configuration"] == {}
    assert config["failure_policy"] == "FAIL_CLOSED"


def test_plugin_config_is_json_text() -> None:
    config = istiod.ecds(istiod.extension(plugin("x", pluginConfig={"b": 1, "a": "ü"})))
    value = config["typed_config"]["config"]["configuration"]["value"]
    assert json.loads(value) == {"a": "ü", "b": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (9007199254740993, "9007199254740992"),
        (123456789012345678, "123456789012345680"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (-2.5e-9, "-2.5e-9"),
        (0.1, "0.1"),
        (None, "null"),
        ("<é>&\u2028\b", '"\\u003cé\\u003e\\u0026\\u2028\\b"'),
    ],
)
def test_plugin_config_is_written_as_go_does(value: Any, text: str) -> None:
    config = istiod.ecds(istiod.extension(plugin("x", pluginConfig={"a": value})))
    written = config["typed_config"]["config"]["configuration"]["value"]
    assert written == f'{{"a":{text}}}'


def test_a_pull_secret_that_is_not_there_is_an_empty_variable() -> None:
    config = istiod.ecds(istiod.extension(plugin("x", imagePullSecret="none")))
    variables = config["typed_config"]["config"]["vm_config"]["environment_variables"]
    assert variables["key_values"]["ISTIO_META_WASM_IMAGE_PULL_SECRET"] == ""


def test_environment_comes_inline_or_from_the_host() -> None:
    ext = istiod.extension(
        plugin(
            "x",
            vmConfig={
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": "HOST"},
                ]
            },
        )
    )
    variables = istiod.ecds(ext)["typed_config"]["config"]["vm_config"]["environment_variables"]
    assert variables == {
        "key_values": {"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "7", "A": "1"},
        "host_env_keys": ["B"],
    }


def test_a_remote_module_is_left_to_the_agent() -> None:
    ext = istiod.extension(plugin("x", url="https://example.org/x.wasm", sha256="ab"))
    code = istiod.ecds(ext)["typed_config"]["config"]["vm_config"]["code"]
    assert code["remote"]["http_uri"]["uri"] == "https://example.org/x.wasm"
    assert code["remote"]["sha256"] == "ab"


def test_lua_stands_in_the_chain_itself() -> None:
    ext = istiod.extension(plugin("x", kind="TrafficExtension", lua={"inlineCode": "-- lua"}))
    entry = istiod.http_filter(ext, {})
    assert entry["typed_config"]["default_source_code"] == {"inline_string": "-- lua"}
