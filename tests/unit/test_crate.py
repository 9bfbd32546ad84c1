"""A learner's crate is never overwritten silently, and files stay inside it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from helpers import crate as crates
from helpers import paths
from helpers.crate import Crate
from helpers.errors import BadInput, NotFound


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crate:
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path))
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "Cargo.toml").write_text('[package]\nname = "demo"\nversion = "0.1.0"\n')
    return Crate("demo", folder)


@pytest.mark.parametrize("name", [
    "", "my crate", "3scale", "-x", "濾器", "café", "a/b", "../up", "fn", "test", "a.b", "x" * 65,
    "nul\0", "new\nline",
])
def test_what_cargo_would_not_take_as_a_name_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(BadInput) as refused:
        crates.check_name(name)
    assert refused.value.cause
    assert "istio-wasm-demo" in refused.value.fix


@pytest.mark.parametrize("name", ["istio-wasm-demo", "a", "_x", "Header_Logger2"])
def test_names_that_cargo_takes_are_taken(name: str) -> None:
    assert crates.check_name(name) == name


def test_a_file_is_written_and_the_difference_shown(demo: Crate) -> None:
    first = crates.write_file(demo, "src/lib.rs", "fn a() {}\n")
    assert "+fn a() {}" in first.diff
    second = crates.write_file(demo, "src/lib.rs", "fn b() {}")
    assert "-fn a() {}" in second.diff
    assert "<b>+fn b() {}</b>" in second._repr_html_()
    assert second.path.read_text() == "fn b() {}\n"


def test_writing_the_same_again_leaves_the_file_untouched(demo: Crate) -> None:
    path = crates.write_file(demo, "src/lib.rs", "fn a() {}\n").path
    before = path.stat().st_mtime_ns
    again = crates.write_file(demo, "src/lib.rs", "fn a() {}\n")
    assert again.diff == ""
    assert "already" in str(again)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["../x.rs", "/etc/passwd", "src/../../x", "", "C:x", "..\\x"])
def test_a_file_outside_the_crate_is_refused(demo: Crate, name: str) -> None:
    with pytest.raises(BadInput, match="is no file of the crate"):
        crates.write_file(demo, name, "x")


def test_a_crate_set_aside_keeps_all_its_files(demo: Crate) -> None:
    (demo.path / "mine.txt").write_text("precious")
    kept = crates.set_aside(demo)
    assert not demo.path.exists()
    assert (kept / "mine.txt").read_text() == "precious"
    demo.path.mkdir()
    assert crates.set_aside(demo) != kept


def test_a_crate_that_is_not_there_is_named_with_the_step_that_makes_it(demo: Crate) -> None:
    assert crates.get("demo") == demo
    with pytest.raises(NotFound) as missing:
        crates.get("other")
    assert missing.value.fix == "make it: steps.cargo_new('other')"


def test_a_broken_manifest_does_not_hide_the_crate(demo: Crate) -> None:
    (demo.path / "Cargo.toml").write_text("[package\nname=")
    assert crates.get("demo").name == "demo"


def test_the_module_is_where_the_article_has_it() -> None:
    module = Crate("istio-wasm-demo", Path("c")).module()
    assert module.as_posix() == (
        "c/target/wasm32-unknown-unknown/release/istio_wasm_demo.wasm")


def test_the_articles_sources_have_its_omissions() -> None:
    texts = crates.article_sources()
    manifest = tomllib.loads(texts["Cargo.toml"])
    assert manifest["dependencies"] == {"proxy-wasm": "0.2"}
    assert manifest["lib"] == {"crate-type": ["cdylib"]}
    assert "#[unsafe(no_mangle)]\npub fn _start()" in texts["src/lib.rs"]
    assert "get_type" not in texts["src/lib.rs"]
    assert "create_http_context" not in texts["src/lib.rs"]


@pytest.mark.parametrize("plugin", crates.plugin_names())
def test_every_plugin_can_stand_alone_as_a_crate(plugin: str) -> None:
    texts = crates.plugin_sources(plugin, "mine")
    manifest = tomllib.loads(texts["Cargo.toml"])
    assert manifest["package"]["name"] == "mine"
    assert "proxy-wasm" in manifest["dependencies"]
    assert "src/lib.rs" in texts


def test_every_plugin_has_a_readme() -> None:
    assert {"as-printed", "header-logger", "naive", "noop", "not-configured", "panics"} <= set(
        crates.plugin_names())
    for plugin in crates.plugin_names():
        assert len((paths.plugins() / plugin / "README.md").read_text().split()) > 20, plugin


def test_a_plugin_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(NotFound) as missing:
        crates.plugin_sources("nope")
    assert "header-logger" in missing.value.cause


def test_the_plugins_that_read_settings_read_them_by_the_same_file() -> None:
    # A copy each, because `write_plugin` gives a learner one plugin's folder and nothing beside.
    copies = sorted(paths.plugins().glob("*/src/settings.rs"))
    assert len(copies) > 1
    assert len({file.read_bytes() for file in copies}) == 1, [str(file) for file in copies]
