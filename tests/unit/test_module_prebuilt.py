"""Prebuilt modules are what their provenance says, and are never shown without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers import cargo, paths, prebuilt, toolchain
from helpers.errors import BadState, ToolchainMissing
from helpers.module import inspect
from helpers.toolchain import Toolchain


@pytest.fixture
def no_rust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path))
    monkeypatch.setattr(toolchain, "find", lambda: Toolchain(kind="prebuilt", why="a test"))
    return tmp_path


def test_each_file_has_the_sha256_of_its_provenance() -> None:
    found = prebuilt.load()
    assert {one.plugin for one in found} == set(prebuilt.PLUGINS)
    for one in found:
        assert inspect(one.path).sha256 == one.sha256
        assert inspect(one.path).problems == ()


def test_each_file_was_built_from_the_sources_that_are_here_now() -> None:
    for one in prebuilt.load():
        assert prebuilt.source_digest(one.plugin) == one.source_sha256, (
            f"plugins/{one.plugin} has changed: run `python -m helpers.prebuilt`")


def test_no_module_holds_a_path_of_the_machine_that_built_it() -> None:
    for one in prebuilt.load():
        data = one.path.read_bytes()
        assert b"/cargo/registry/" in data
        for private in (b"/root/", b"/home/", b"/Users/", b"/work/", b"\\Users\\"):
            assert private not in data, (one.plugin, private)


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(prebuilt.folder(), tmp_path / "prebuilt")
    monkeypatch.setattr(paths, "plugins", lambda: tmp_path)
    assert len(prebuilt.load()) == 2
    (tmp_path / "prebuilt" / "as_printed.wasm").write_bytes(b"other")
    with pytest.raises(BadState, match="not the module that its provenance describes"):
        prebuilt.load()


def test_with_no_rust_a_build_gives_the_prebuilt_module_labelled_as_such(no_rust: Path) -> None:
    made = cargo.new()
    built = cargo.build(made.crate, sink=None)
    assert built.toolchain == "prebuilt"
    assert built.module == made.crate.module()
    text = str(built)
    for word in ("PREBUILT", "source commit", "rustc 1.", "sha256 "):
        assert word in text
    assert "your own changes are not in it" in text


def test_with_no_rust_another_profile_is_a_missing_toolchain(no_rust: Path) -> None:
    made = cargo.new()
    with pytest.raises(ToolchainMissing):
        cargo.build(made.crate, profile="tuned", sink=None)


def test_with_no_rust_the_repaired_filter_gets_the_repaired_module(no_rust: Path) -> None:
    from helpers import steps_build

    made = cargo.new()
    steps_build.write_plugin(made, "header-logger")
    assert "plugins/header-logger" in str(cargo.build(made.crate, sink=None))
