"""The generated sets and objects, and what counts as a difference, without a mesh."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.comparison import compare, doubtful, reading, sets
from helpers.comparison.model import LABEL, Item, Places, PluginSet
from helpers.comparison.reading import Seen
from helpers.comparison.report import BEGIN, END, OfObject, OfSet, Report
from helpers.comparison.running import Answer
from helpers.errors import BadInput, BadManifest
from helpers.mesh.local import istiod, schema

PLACES = Places("anna", "anna-elsewhere")
SETS = sets.generate(1)
ITEMS = [item for each in SETS for item in each.items]
DOUBTFUL = doubtful.generate(1)


def module(item: Item) -> dict[str, Any]:
    found: dict[str, Any] = item.spec.get("wasm", item.spec)  # type: ignore[assignment]
    return found


# -- what is made up --------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_and_another_seed_another() -> None:
    assert sets.generate(7) == sets.generate(7)
    assert sets.generate(7) != sets.generate(8)
    assert doubtful.generate(7) == doubtful.generate(7)
    assert doubtful.generate(7) != doubtful.generate(8)


def test_there_are_enough_of_them() -> None:
    assert len(SETS) >= 60
    assert len(ITEMS) >= 250
    assert len(DOUBTFUL) >= 100
    assert {each.theme for each in SETS} == set(sets.THEMES)


def test_every_setting_occurs() -> None:
    specs = [item.spec for item in ITEMS]
    modules = [module(item) for item in ITEMS]
    assert {item.kind for item in ITEMS} == {"WasmPlugin", "TrafficExtension"}
    assert {item.place for item in ITEMS} == {"own", "root", "elsewhere"}
    phases = {"AUTHN", "AUTHZ", "STATS", "UNSPECIFIED", "UNSPECIFIED_PHASE", None}
    assert {spec.get("phase") for spec in specs} == phases
    assert {None, -10, 10, 2**31 - 1, -(2**31)} <= {spec.get("priority") for spec in specs}
    modes = {each.get("mode") for spec in specs for each in spec.get("match", ())}
    assert modes == {"SERVER", "CLIENT", "CLIENT_AND_SERVER", "UNDEFINED", None}
    for name in ("selector", "targetRef", "targetRefs", "lua"):
        assert any(name in spec for spec in specs), name
    assert {each.get("failStrategy") for each in modules} >= {"FAIL_OPEN", "FAIL_RELOAD"}
    assert {each.get("type") for each in modules} >= {"HTTP", "NETWORK", None}
    for name in ("pluginName", "pluginConfig", "vmConfig", "sha256", "imagePullSecret",
                 "imagePullPolicy", "verificationKey"):  # fmt: skip
        assert any(name in each for each in modules), name
    schemes = {each.get("url", "").partition(":")[0] for each in modules}
    assert {"file", "http", "oci"} <= schemes


def test_sets_have_objects_of_equal_name_and_of_both_kinds() -> None:
    pairs = [(item.name, item.place) for each in SETS for item in each.items]
    assert len(pairs) > len(set(pairs))
    keys = [item.key for item in ITEMS]
    assert len(keys) == len(set(keys))


def test_what_is_in_the_root_namespace_is_for_this_productpage_or_harmless() -> None:
    for item in ITEMS:
        if item.place != "root":
            continue
        labels = item.spec.get("selector", {}).get("matchLabels", {})
        harmless = item.spec.get("lua") == {"inlineCode": "-- nothing"}
        assert LABEL in labels or harmless, item


def test_age_decides_only_in_sets_about_age() -> None:
    for each in SETS:
        names = [
            item.name + (istiod.TRANSLATED if item.kind == "WasmPlugin" else "")
            for item in each.items
        ]
        assert names == sorted(names, reverse=each.aged)


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_object_of_a_set_is_taken_by_an_api_server(seed: int) -> None:
    for each in sets.generate(seed):
        for item in each.items:
            assert schema.validate(item.document(PLACES))["metadata"]["name"] == item.name


def test_doubtful_objects_are_taken_or_refused_with_a_field() -> None:
    fields = [refusal(each.manifest) for each in DOUBTFUL]
    assert "" not in fields
    assert len([field for field in fields if field is not None]) > 100
    assert fields.count(None) > 30


def refusal(manifest: Mapping[str, Any]) -> str | None:
    """The field that is refused; None for what is taken."""
    try:
        schema.validate(manifest)
    except BadManifest as error:
        return error.field
    return None


def test_a_document_names_the_namespaces_of_its_mesh() -> None:
    item = next(item for item in ITEMS if item.place == "root" and "selector" in item.spec)
    document = item.document(PLACES)
    assert document["metadata"]["namespace"] == "istio-system"
    assert document["spec"]["selector"]["matchLabels"][LABEL] == "anna"


# -- what is read -----------------------------------------------------------------------------


class Shown:
    """A mesh whose sidecar holds one plugin, as `proxy_config` shows it."""

    def __init__(self, namespace: str, version: str = "7", *, config: str = "{}") -> None:
        self._name = f"{istiod.RESOURCE_PREFIX}{namespace}.x"
        self._plain, self._version, self._config = f"{namespace}.x", version, config

    def proxy_config(self, what: str) -> Any:
        found = self._listeners() if what == "listener" else self._ecds()
        return SimpleNamespace(extra={"json": found})

    def _listeners(self) -> list[dict[str, Any]]:
        entry = {
            "name": self._name,
            "config_discovery": {
                "type_urls": [istiod.WASM_TYPE],
                "config_source": {"ads": {}, "initial_fetch_timeout": "0s"},
            },
        }
        manager = {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {"http_filters": [entry, {"name": "envoy.filters.http.router"}]},
        }
        return [
            {
                "name": "virtualInbound",
                "filter_chains": [
                    {"name": "virtualInbound", "filters": []},
                    {"name": "0.0.0.0_9080", "filters": [manager]},
                ],
            },
            {"name": "0.0.0.0_9080", "filter_chains": [{"filters": [manager]}]},
            {"name": "0.0.0.0_80", "filter_chains": [{"filters": [manager, manager]}]},
        ]

    def _ecds(self) -> list[dict[str, Any]]:
        values = {reading.VERSION: self._version, "A": "b"}
        config = {
            "name": self._plain,
            "configuration": {"value": self._config},
            "vm_config": {"environment_variables": {"key_values": values}},
        }
        typed = {"@type": istiod.WASM_TYPE, "config": config}
        draining = {"name": f"{istiod.RESOURCE_PREFIX}gone.y", "typed_config": typed}
        return [{"name": self._name, "typed_config": typed}, draining]


def seen(namespace: str = "anna", version: str = "7", **more: Any) -> Seen:
    return reading.read(
        Shown(namespace, version, **more),  # type: ignore[arg-type]
        Places(namespace, f"{namespace}-elsewhere"),
        PluginSet(1, "phases", ()),
        refused={},
        unmodelled={},
        versions={"own.x": "7"},
    )


def test_chains_are_read_in_order_by_words_of_no_mesh() -> None:
    found = seen()
    assert found.plugins("inbound http") == ("own.x",)
    assert [name for name, _ in found.filters["outbound http"]] == [
        f"{istiod.RESOURCE_PREFIX}own.x",
        "envoy.filters.http.router",
    ]
    assert set(found.ecds) == {f"{istiod.RESOURCE_PREFIX}own.x"}


def test_namespaces_do_not_count_and_versions_must_be_the_objects() -> None:
    assert compare.differences(seen("default"), seen("anna")) == []
    (found,) = compare.differences(seen(), seen(version="8"))
    assert found.what.endswith(
        f"config.vm_config.environment_variables.key_values.{reading.VERSION}"
    )
    assert (found.local, found.cluster, found.reason) == ("(resourceVersion)", "8", "")


def test_another_configuration_is_a_difference() -> None:
    (found,) = compare.differences(seen(config='{"a":1}'), seen(config='{"a":1.0}'))
    assert "configuration.value" in found.what
    assert not found.reason


def test_another_order_is_a_difference() -> None:
    one = seen()
    chain = one.filters["inbound http"]
    other = replace(one, filters={**one.filters, "inbound http": chain[::-1]})
    (found,) = compare.differences(one, other)
    assert found.what == "filters, inbound http"


def test_what_is_not_modelled_is_kept_and_its_filter_is_left_out() -> None:
    one = seen()
    name = f"{istiod.RESOURCE_PREFIX}own.x"
    without = replace(
        one,
        unmodelled={"own.x": "the local mesh does not pull 'oci://a'"},
        filters={chain: tuple(e for e in found if e[0] != name)
                 for chain, found in one.filters.items()},
        ecds={},
    )  # fmt: skip
    (found,) = compare.differences(without, one)
    assert found.reason
    (unknown,) = compare.differences(replace(without, unmodelled={"own.x": "not today"}), one)
    assert not unknown.reason


# -- answers ----------------------------------------------------------------------------------

REFUSED = Answer("refused", "spec.a", 'The WasmPlugin "x" is invalid: spec.a: no')


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Answer("taken"), {"outcome", "message"}),
        (replace(REFUSED, message="no"), {"message"}),
        (replace(REFUSED, field="spec.b"), {"field"}),
    ],
)
def test_answers_that_are_not_the_same_differ(other: Answer, what: set[str]) -> None:
    found = compare.verdict(REFUSED, other)
    assert {each.what for each in found} == what
    assert not any(each.reason for each in found)
    assert compare.verdict(REFUSED, REFUSED) == []


def test_the_order_of_complaints_does_not_count() -> None:
    one = Answer("refused", "spec.a", "invalid: \n* spec.a: no\n* spec.b: no")
    other = Answer("refused", "spec.b", "invalid: \n* spec.b: no\n* spec.a: no")
    assert compare.verdict(one, other) == []
    (found,) = compare.verdict(one, replace(other, field="spec.c"))
    assert found.what == "field"


def test_a_webhook_names_no_field() -> None:
    said = 'admission webhook "validation.istio.io" denied the request: no'
    (found,) = compare.verdict(Answer("refused", "spec.a", said), Answer("refused", "", said))
    assert found.reason == compare.WEBHOOK


def test_an_image_is_taken_by_a_cluster_alone() -> None:
    local = Answer("not modelled", "", "the local mesh does not pull 'oci://a'")
    (found,) = compare.verdict(local, Answer("taken"))
    assert found.reason
    assert any(not each.reason for each in compare.verdict(local, REFUSED))


# -- the report -------------------------------------------------------------------------------


def report(*differences: compare.Difference) -> Report:
    return Report(
        "Seed 1.",
        [OfSet(SETS[0], seen(), differences), OfSet(SETS[1], seen(), ())],
        [OfObject(DOUBTFUL[0], REFUSED, REFUSED, ())],
    )


def test_the_report_counts_and_names_what_is_unexplained() -> None:
    kept = compare.Difference("a", 1, 2, "for a reason")
    assert report(kept).unexplained == []
    assert "2 sets: 1 agree, 1 kept, 0 unexplained" in report(kept).summary()
    unexplained = report(kept, compare.Difference("b", 1, 2))
    assert len(unexplained.unexplained) == 1
    assert "2 sets: 1 agree, 0 kept, 1 unexplained" in unexplained.summary()
    assert "set 1 (phases): b\n    local   1\n    cluster 2" in unexplained.summary()
    assert "**differs**" in unexplained.markdown()


def test_the_tables_go_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    report().write(document)
    text = document.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\nSeed 1.")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert "old" not in text
    document.write_text("no marks", encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.md has no place for the table"):
        report().write(document)


def test_generated_objects_are_not_shared() -> None:
    before = copy.deepcopy(json.loads(json.dumps([dict(each.manifest) for each in DOUBTFUL])))
    for each in DOUBTFUL:
        refusal(each.manifest)
    assert [dict(each.manifest) for each in DOUBTFUL] == before
