"""What the workbook makes of YAML, and what it refuses."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import manifests, yaml_documents
from helpers.errors import BadInput, BadManifest, NotFound

PLUGIN = """\
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: header-logger
spec:
  url: file:///etc/wasm/header-logger/istio_wasm_demo.wasm
"""


def refused(text: Any) -> BadManifest:
    with pytest.raises(BadManifest) as caught:
        manifests.load(text)
    return caught.value


def test_several_documents_are_loaded_and_empty_ones_passed_over() -> None:
    found = manifests.load(f"---\n---\n{PLUGIN}---\n# only a comment\n---\n{PLUGIN}")
    assert [obj["metadata"]["name"] for obj in found] == ["header-logger"] * 2


def test_a_path_and_a_file_name_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "größe und leer.yaml"
    path.write_text(PLUGIN, encoding="utf-8")
    assert manifests.load(path) == manifests.load(str(path)) == manifests.load(PLUGIN)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_text(PLUGIN, encoding="utf-8-sig")
    assert manifests.load(path)[0]["kind"] == "WasmPlugin"


def test_objects_pass_as_they_are_and_are_copied() -> None:
    obj = manifests.load(PLUGIN)[0]
    [copied] = manifests.load(obj)
    copied["spec"]["url"] = "changed"
    assert obj["spec"]["url"] != "changed"
    assert len(manifests.load([obj, obj])) == 2


def test_a_list_becomes_its_items() -> None:
    obj = manifests.load(PLUGIN)[0]
    assert manifests.load({"apiVersion": "v1", "kind": "List", "items": [obj, obj]}) == [obj, obj]


def test_a_tab_is_named_with_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "tabs.yaml"
    path.write_text(PLUGIN.replace("  url", "\turl"), encoding="utf-8")
    error = refused(path)
    assert "tabs.yaml, line 6, column 1: a tab" in error.what
    assert "spaces" in error.fix


def test_a_duplicate_key_is_named_with_both_lines() -> None:
    error = refused(PLUGIN + "  phase: AUTHN\n  phase: AUTHZ\n")
    assert 'line 8, column 3: key "phase" is set twice: on line 7 and on line 8' in error.what


def test_an_anchor_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 12):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
    assert "100,000 values" in refused("\n".join(lines)).what


def test_plain_anchors_and_merge_keys_work() -> None:
    [obj] = manifests.load(
        PLUGIN + "  a: &a {x: 1, y: 2}\n  b: {<<: *a, y: 3}\n  c: {<<: [*a, {z: 4}]}\n"
    )
    assert obj["spec"]["b"] == {"x": 1, "y": 3}
    assert obj["spec"]["c"] == {"x": 1, "y": 2, "z": 4}


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    assert "refers to no anchor" in refused("a: &a [*a]\n").what


def test_deep_nesting_is_refused_without_a_crash() -> None:
    assert "levels deep" in refused("a: " + "[" * 50_000).what


def test_ten_megabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"x" * 10_000_000)
    assert "has 10,000,000 bytes; a manifest may have 3,145,728" in refused(path).what
    assert "3,145,728" in refused("x" * 4_000_000).what


def test_a_binary_file_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "module.wasm"
    path.write_bytes(b"\0asm\x01\0\0\0\xff\xfe")
    assert "is not UTF-8 text" in refused(path).what


def test_a_control_character_is_named() -> None:
    assert "#x0000" in refused("a: \0").what


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        manifests.load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- a\n- b\n", "an object must be a map, here it is a list"),
        ("just text", "here it is a string"),
        ("", "no objects passed to apply"),
        ("# nothing\n---\n", "no objects passed to apply"),
        (PLUGIN.replace("kind: WasmPlugin\n", ""), "kind not set"),
        (PLUGIN.replace("apiVersion", "apiversion"), "apiVersion not set"),
        (PLUGIN.replace("  name: header-logger\n", "  labels: {}\n"), "name may not be empty"),
        (PLUGIN.replace("metadata:\n  name: header-logger\n", ""), "metadata is missing"),
        (PLUGIN + "  1: x\n", "here '1' is a number"),
        (PLUGIN + "  yes: x\n", "here 'yes' is a boolean"),
        (PLUGIN + "  [a]: x\n", "a key must be a string"),
        (PLUGIN + "  x: .nan\n", "cannot be written as JSON"),
        (PLUGIN + "  x: -.inf\n", "cannot be written as JSON"),
        (PLUGIN + "  x: !!python/object:os.system {}\n", "tag"),
        (PLUGIN + "  x: !!binary aGk=\n", "is not allowed in a manifest"),
        (PLUGIN + "  x: *nowhere\n", "alias"),
        ('a: "unclosed', "line 1"),
        ("a: b: c", "line 1, column 5"),
    ],
)
def test_what_is_ambiguous_or_incomplete_is_refused(text: str, part: str) -> None:
    assert part in refused(text).what


def test_a_key_with_a_tagged_map_value_is_refused() -> None:
    # A tag on a map would make PyYAML build an object; here it stays a plain map or an error.
    [obj] = manifests.load(PLUGIN + "  x: !!map {a: 1}\n")
    assert obj["spec"]["x"] == {"a": 1}


def test_dates_and_base_sixty_stay_text_as_in_kubernetes() -> None:
    [obj] = manifests.load(PLUGIN + "  a: 2025-01-01\n  b: 1:30\n  c: 0644\n  d: 1e3\n  e: ~\n")
    spec = obj["spec"]
    assert (spec["a"], spec["b"], spec["c"], spec["e"]) == ("2025-01-01", "1:30", 0o644, None)


def test_values_json_cannot_hold_are_refused_in_objects() -> None:
    obj = manifests.load(PLUGIN)[0]
    for value in (float("nan"), b"bytes", {1: 2}, object()):
        error = refused({**obj, "spec": {"x": value}})
        assert error.field == "spec.x"


def test_a_bad_name_is_refused_in_kubernetes_words() -> None:
    error = refused(PLUGIN.replace("header-logger", "Bad_Name", 1))
    assert error.field == "metadata.name"
    assert (
        'The WasmPlugin "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": '
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
        "'-' or '.', and must start and end with an alphanumeric character"
    ) in error.what


def test_long_names_are_refused() -> None:
    assert manifests.invalid_name("a" * 253) == ""
    assert manifests.invalid_name("a" * 254)


# -- ConfigMaps -----------------------------------------------------------------------------


def test_text_goes_to_data_and_anything_else_to_binary_data(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("grüße", encoding="utf-8")
    (tmp_path / "b").write_bytes(b"\0asm\x01\0\0\0\xff")
    obj = manifests.configmap_from_files(
        "cm", "default", {"t.txt": tmp_path / "t", "m.wasm": tmp_path / "b"}
    )
    assert obj["data"] == {"t.txt": "grüße"}
    assert base64.b64decode(obj["binaryData"]["m.wasm"]) == b"\0asm\x01\0\0\0\xff"


def test_a_configmap_over_its_limit_is_refused_in_kubernetes_words(tmp_path: Path) -> None:
    big = tmp_path / "big.wasm"
    big.write_bytes(b"\xff" * 1_048_577)
    with pytest.raises(BadManifest) as caught:
        manifests.configmap_from_files("big", "default", {"big.wasm": big})
    assert caught.value.what == (
        'error: failed to create configmap: ConfigMap "big" is invalid: []: Too long: '
        "may not be more than 1048576 bytes"
    )
    for size in (1_040_000, 1_048_576):
        big.write_bytes(b"\xff" * size)
        assert manifests.configmap_from_files("big", "default", {"big.wasm": big})["binaryData"]


@pytest.mark.parametrize("key", ["a b", "", "..", ".", "../x", "ä", "x/y", "k" * 254])
def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(BadManifest, match="not a valid key name"):
        manifests.configmap_from_files("cm", "default", {key: tmp_path / "f"})


def test_a_module_that_was_not_built_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="error reading"):
        manifests.configmap_from_files("cm", "default", {"m.wasm": tmp_path / "m.wasm"})


# -- one model, two kinds -------------------------------------------------------------------


def test_both_kinds_say_the_same_of_one_plugin() -> None:
    plugin = manifests.Plugin(
        name="x",
        url="file:///x.wasm",
        phase="AUTHN",
        priority=10,
        match=[{"mode": "SERVER"}],
        plugin_config={"log_level": "info"},
        plugin_name="root",
        selector={"app": "productpage"},
        fail_strategy="FAIL_OPEN",
        env={"A": "b"},
    )
    flat = plugin.as_wasmplugin()["spec"]
    nested = plugin.as_trafficextension()["spec"]
    assert nested.pop("wasm") | nested == flat


def test_what_is_unset_is_left_to_istio() -> None:
    assert manifests.wasmplugin("x", "file:///x")["spec"] == {"url": "file:///x"}
    assert manifests.trafficextension("x", lua="a")["spec"] == {"lua": {"inlineCode": "a"}}


def test_a_wasmplugin_cannot_carry_lua() -> None:
    with pytest.raises(BadInput, match="Lua"):
        manifests.Plugin(name="x", lua="a").as_wasmplugin()
    with pytest.raises(BadInput, match="either a url or a lua"):
        manifests.trafficextension("x")


def test_yaml_made_of_objects_reads_back_as_the_same_objects() -> None:
    objects = [manifests.wasmplugin("x", "file:///x", phase="STATS"), *manifests.load(PLUGIN)]
    assert manifests.load(manifests.to_yaml(*objects)) == objects


def test_the_sidecar_annotations_are_the_ones_of_the_manifest() -> None:
    patch = manifests.load_patch(
        Path(__file__).parents[2] / "manifests" / "patch-productpage-sidecar-volume.yaml"
    )
    made = manifests.sidecar_volume("wasm-filters", "header-logger", "/etc/wasm/header-logger")
    assert patch["spec"]["template"]["metadata"]["annotations"] == made
    assert json.loads(made["sidecar.istio.io/userVolumeMount"])[0]["readOnly"] is True


def test_a_patch_is_one_map() -> None:
    assert manifests.load_patch("spec: {a: 1}") == {"spec": {"a": 1}}
    for text in ("- a", "a: 1\n---\nb: 2", ""):
        with pytest.raises(BadManifest, match="a patch is"):
            manifests.load_patch(text)


def test_the_pure_python_reader_agrees_with_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = yaml_documents.parse(PLUGIN, "x")
    monkeypatch.setattr(yaml_documents, "_LOADER", yaml.SafeLoader)
    assert yaml_documents.parse(PLUGIN, "x") == fast
