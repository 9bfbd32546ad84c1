"""What the API server says: the rows of a real cluster, word for word."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest

from helpers import manifests
from helpers.errors import BadManifest, NotModelled
from helpers.mesh.local import schema

MANIFESTS = Path(__file__).parents[2] / "manifests"
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object "
    "was invalid; correct the existing errors to complete validation"
)


def plugin(kind: str = "WasmPlugin", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": spec,
    }


def deployment() -> dict[str, Any]:
    found = [
        obj
        for obj in manifests.load(MANIFESTS / "bookinfo.yaml")
        if obj["kind"] == "Deployment" and obj["metadata"]["name"] == "productpage-v1"
    ]
    return found[0]


def service(**spec: Any) -> dict[str, Any]:
    base = {"ports": [{"name": "http", "port": 9080}], "selector": {"app": "x"}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {**base, **spec},
    }


def refusal(obj: dict[str, Any]) -> BadManifest:
    with pytest.raises(BadManifest) as caught:
        schema.validate(obj)
    return caught.value


URL = "file:///a.wasm"


@pytest.mark.parametrize(
    ("obj", "field", "sentence"),
    [
        (
            plugin(url=URL, phase="NOPE"),
            "spec.phase",
            'Unsupported value: "NOPE": supported values: '
            '"UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"',
        ),
        (plugin(), "spec.url", "Required value"),
        (
            plugin(url=URL, priority="a"),
            "spec.priority",
            'Invalid value: "string": spec.priority in body must be of type integer: "string"',
        ),
        (
            plugin(url=URL, sha256="zz"),
            "spec.sha256",
            "Invalid value: \"zz\": spec.sha256 in body should match '(^$|^[a-f0-9]{64}$)'",
        ),
        (
            plugin(url=URL, match=[{"ports": [{"number": 0}]}]),
            "spec.match[0].ports[0].number",
            "Invalid value: 0: spec.match[0].ports[0].number in body should be greater than or "
            "equal to 1",
        ),
        (
            plugin(url=URL, match=[{"ports": [{"number": 65536}]}]),
            "spec.match[0].ports[0].number",
            "Invalid value: 65536: spec.match[0].ports[0].number in body should be less than or "
            "equal to 65535",
        ),
        (
            plugin(url="ftp://example.com/a.wasm"),
            "spec.url",
            'Invalid value: "string": url must have schema one of [http, https, file, oci]',
        ),
        (
            plugin(url=URL, selector={"matchLabels": {"a": "b"}}, targetRefs=[]),
            "spec",
            'Invalid value: "object": only one of targetRefs or selector can be set',
        ),
        (
            plugin(url=URL, vmConfig={"env": [{"name": "A", "valueFrom": "HOST", "value": "b"}]}),
            "spec.vmConfig.env[0]",
            'Invalid value: "object": value may only be set when valueFrom is INLINE',
        ),
        (
            plugin("TrafficExtension", wasm={"url": URL}, lua={"inlineCode": "x"}),
            "spec",
            'Invalid value: "object": exactly one of wasm or lua must be set',
        ),
        (
            plugin("TrafficExtension", phase="AUTHN"),
            "spec",
            'Invalid value: "object": exactly one of wasm or lua must be set',
        ),
        (
            plugin("TrafficExtension", wasm={"url": URL}, phase="UNSPECIFIED_PHASE"),
            "spec.phase",
            'Unsupported value: "UNSPECIFIED_PHASE": supported values: '
            '"UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"',
        ),
        (
            plugin("TrafficExtension", lua={"inlineCode": "x" * 65537}),
            "spec.lua.inlineCode",
            "Too long: may not be more than 65536 bytes",
        ),
        (
            plugin(url=URL, match=[{"ports": [{"number": 1}, {"number": 1}]}]),
            "spec.match[0].ports[1]",
            'Duplicate value: {"number":1}',
        ),
        (
            plugin(url=URL, selector={"matchLabels": {"app": "*"}}),
            "spec.selector.matchLabels[app]",
            'Invalid value: "string": wildcard not allowed in label value match',
        ),
    ],
)
def test_istio_objects_are_refused_word_for_word(
    obj: dict[str, Any], field: str, sentence: str
) -> None:
    error = refusal(obj)
    assert error.field == field
    assert error.what.startswith(f'The {obj["kind"]} "x" is invalid: ')
    assert f"{field}: {sentence}" in error.what


def test_rules_that_the_server_skips_are_said_to_be_skipped() -> None:
    assert refusal(plugin()).what == (
        f'The WasmPlugin "x" is invalid: \n* spec.url: Required value\n* {UNCHECKED}'
    )
    assert UNCHECKED not in refusal(plugin(url=URL, sha256="zz")).what


def test_all_unknown_fields_are_named_at_once() -> None:
    with pytest.raises(BadManifest) as caught:
        schema.validate(plugin(url=URL, foo=1, match=[{"bar": 2}]), source="wasmplugin.yaml")
    assert caught.value.what.startswith(
        'Error from server (BadRequest): error when creating "wasmplugin.yaml": WasmPlugin in '
        'version "v1alpha1" cannot be handled as a WasmPlugin: strict decoding error: '
    )
    assert 'unknown field "spec.foo"' in caught.value.what
    assert 'unknown field "spec.match[0].bar"' in caught.value.what


def test_a_bad_name_and_a_bad_label_are_refused() -> None:
    obj = plugin(url=URL)
    obj["metadata"]["labels"] = {"app": "a b"}
    assert "a valid label must be an empty string or consist of" in refusal(obj).what
    obj["metadata"] = {"name": "Bad_Name"}
    assert "a lowercase RFC 1123 subdomain must consist of" in refusal(obj).what


def test_annotations_must_be_strings() -> None:
    obj = plugin(url=URL)
    obj["metadata"]["annotations"] = {"a": 1}
    assert (
        "json: cannot unmarshal number into Go struct field ObjectMeta.annotations of type string"
    ) in refusal(obj).what
    assert refusal(obj).field == "metadata.annotations"


@pytest.mark.parametrize(
    "url",
    [
        "file:///a.wasm",
        "http://127.0.0.1:80/a.wasm",
        "https://example.com/a.wasm",
        "oci://example.com/a:v1",
        "example.com/a:v1",
    ],
)
def test_urls_that_istio_takes_are_taken(url: str) -> None:
    assert schema.validate(plugin(url=url))["spec"]["url"] == url


def test_a_priority_of_null_is_the_same_as_none() -> None:
    assert schema.validate(plugin(url=URL, priority=None))


def test_wasm_beside_lua_fits_two_schemas() -> None:
    both = plugin("TrafficExtension", wasm={"url": URL}, lua={"inlineCode": "x"})
    assert (
        '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). '
        "Found 2 valid alternatives"
    ) in refusal(both).what


@pytest.mark.parametrize(
    "url",
    [
        "localhost:5000/a:v1",
        "data:,a",
        "http://a/%zz",
        "FTP://a",
        "a b/%",
        "s3://a\x7f",
    ],
)
def test_what_is_no_url_and_no_image_is_refused(url: str) -> None:
    assert refusal(plugin(url=url)).field == "spec.url"


@pytest.mark.parametrize(
    "spec",
    [
        {"targetRefs": [{"kind": "Service", "name": "a"}]},
        {"targetRef": {"kind": "Gateway", "name": "g", "group": "gateway.networking.k8s.io"}},
        {"type": "NETWORK"},
        {"pluginConfig": None},
        {"selector": None, "targetRefs": []},
        {"priority": 3.0},
    ],
)
def test_what_a_cluster_takes_is_taken(spec: dict[str, Any]) -> None:
    assert schema.validate(plugin(url=URL, **spec))


def test_null_is_absent_but_for_a_priority_and_in_a_configuration() -> None:
    found = schema.validate(plugin(url=URL, phase=None, priority=None, pluginConfig={"a": None}))
    assert found["spec"] == {"url": URL, "priority": None, "pluginConfig": {"a": None}}
    assert "spec.url: Required value" in refusal(plugin(url=None)).what


@pytest.mark.parametrize(
    ("spec", "field", "sentence"),
    [
        (
            {"priority": 2**31},
            "spec.priority",
            "error decoding configuration: json: cannot unmarshal number 2147483648 into Go value "
            "of type int32",
        ),
        (
            {"pluginName": "é" * 200},
            "spec.pluginName",
            "configuration is invalid: pluginName field must be less than 255 characters long",
        ),
        (
            {"targetRefs": [{"group": "apps", "kind": "Deployment", "name": "a"}]},
            "spec.targetRefs[0].kind",
            "configuration is invalid: targetRef must be to one of [core/v1/Service "
            "networking.istio.io/v1/ServiceEntry gateway.networking.k8s.io/v1/Gateway "
            "gateway.networking.k8s.io/v1/GatewayClass] but was apps/Deployment",
        ),
    ],
)
def test_what_istios_webhook_refuses_is_refused(
    spec: dict[str, Any], field: str, sentence: str
) -> None:
    error = refusal(plugin(url=URL, **spec))
    assert error.field == field
    assert error.what == (
        'Error from server (BadRequest): error when creating "STDIN": admission webhook '
        f'"validation.istio.io" denied the request: {sentence}'
    )


def test_a_map_where_none_should_be_is_a_matter_of_unknown_fields() -> None:
    error = refusal(plugin(url=URL, match={"mode": "SERVER"}, phase=[{"a": 1}]))
    assert error.field == "spec.match.mode"
    assert 'unknown field "spec.match.mode", unknown field "spec.phase[0].a"' in error.what


def test_an_old_version_of_a_kind_is_no_match() -> None:
    obj = plugin(url=URL) | {"apiVersion": "extensions.istio.io/v1beta1"}
    assert 'no matches for kind "WasmPlugin" in version "extensions.istio.io/v1beta1"' in (
        refusal(obj).what
    )


def test_kinds_that_only_a_cluster_runs_are_named() -> None:
    obj = deployment() | {"kind": "DaemonSet"}
    with pytest.raises(NotModelled, match="the local mesh does not run DaemonSets: use a cluster"):
        schema.validate(obj)


# -- Deployments ----------------------------------------------------------------------------


def pod(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]
    return found


def test_a_real_field_that_is_not_modelled_is_named_with_its_path() -> None:
    obj = deployment()
    pod(obj)["hostNetwork"] = True
    with pytest.raises(NotModelled, match=r"does not model spec\.template\.spec\.hostNetwork"):
        schema.validate(obj)


def test_a_field_that_nobody_knows_is_a_decoding_error() -> None:
    obj = deployment()
    pod(obj)["hostNetwrok"] = True
    assert 'strict decoding error: unknown field "spec.template.spec.hostNetwrok"' in (
        refusal(obj).what
    )


def test_a_mount_needs_its_volume() -> None:
    obj = deployment()
    mount = {"name": "wasm-filters", "mountPath": "/etc/wasm"}
    pod(obj)["containers"][0]["volumeMounts"] = [mount]
    assert refusal(obj).what == (
        'The Deployment "productpage-v1" is invalid: '
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "wasm-filters"'
    )


def test_the_selector_must_match_the_template() -> None:
    obj = deployment()
    obj["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    assert (
        'spec.template.metadata.labels: Invalid value: {"app":"other"}: '
        "`selector` does not match template `labels`"
    ) in refusal(obj).what


def test_the_selector_never_changes() -> None:
    old = schema.validate(deployment())
    new = copy.deepcopy(old)
    for labels in (new["spec"]["selector"]["matchLabels"], new["spec"]["template"]["metadata"]):
        labels.clear()
    new["spec"]["selector"]["matchLabels"] = {"app": "new"}
    new["spec"]["template"]["metadata"]["labels"] = {"app": "new"}
    with pytest.raises(BadManifest, match="field is immutable"):
        schema.validate(new, old=old)


def test_a_wrong_type_is_said_as_the_server_decodes_it() -> None:
    obj = deployment()
    obj["spec"]["replicas"] = "2"
    assert (
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas "
        "of type int32"
    ) in refusal(obj).what


def test_replicas_beyond_one_are_not_modelled() -> None:
    obj = deployment()
    obj["spec"]["replicas"] = 3
    with pytest.raises(NotModelled, match=r"spec\.replicas: it runs one replica, not 3"):
        schema.validate(obj)
    obj["spec"]["replicas"] = 0
    assert schema.validate(obj)["spec"]["replicas"] == 0


def test_missing_and_double_parts_are_named() -> None:
    obj = deployment()
    pod(obj)["containers"].append({"name": "productpage"})
    what = refusal(obj).what
    assert 'spec.template.spec.containers[1].name: Duplicate value: "productpage"' in what
    assert "spec.template.spec.containers[1].image: Required value" in what
    pod(obj)["containers"] = []
    assert "spec.template.spec.containers: Required value" in refusal(obj).what


def test_defaults_are_filled_as_the_server_does() -> None:
    obj = deployment()
    del obj["spec"]["replicas"]
    stored = schema.validate(obj)
    assert stored["spec"]["replicas"] == 1
    assert stored["metadata"]["namespace"] == "default"
    assert schema.validate(service())["spec"]["ports"][0]["targetPort"] == 9080


def test_null_means_absent_in_a_built_in_kind() -> None:
    obj = deployment()
    pod(obj)["volumes"] = None
    pod(obj)["containers"][0]["volumeMounts"] = None
    assert "volumes" not in pod(schema.validate(obj))


# -- Services and ConfigMaps ----------------------------------------------------------------


def test_services_are_checked() -> None:
    assert "spec.ports: Required value" in refusal(service(ports=[])).what
    assert "must be between 1 and 65535, inclusive" in refusal(service(ports=[{"port": 0}])).what
    assert "spec.ports[1].name: Required value" in (
        refusal(service(ports=[{"name": "a", "port": 1}, {"port": 2}])).what
    )
    with pytest.raises(NotModelled, match="no NodePort"):
        schema.validate(service(type="NodePort"))
    obj = service()
    obj["metadata"]["name"] = "1x"
    assert "a DNS-1035 label must consist of" in refusal(obj).what


def test_configmaps_are_checked() -> None:
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}}
    big = base64.b64encode(b"\xff" * 1_048_577).decode()
    assert 'The ConfigMap "big" is invalid: []: Too long: may not be more than 1048576 bytes' in (
        refusal({**base, "binaryData": {"m": big}}).what
    )
    assert "illegal base64" in refusal({**base, "binaryData": {"m": "#"}}).what
    assert "a valid config key must" in refusal({**base, "data": {"a b": "x"}}).what
    assert "duplicate of key" in refusal({**base, "data": {"m": "x"}, "binaryData": {"m": ""}}).what


# -- the manifests that we ship -------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_manifest_that_we_ship_is_valid(path: Path) -> None:
    if not path.name.startswith("patch-"):
        assert [schema.validate(obj) for obj in manifests.load(path)]
        return
    assert set(manifests.load_patch(path)) == {"spec"}


def test_there_are_manifests() -> None:
    assert len(list(MANIFESTS.glob("*.yaml"))) >= 8
