"""A std built here is there whole and tried, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import rust_std
from helpers.errors import BuildFailed
from helpers.rust_std import StdBuild
from helpers.rustc_probe import Rustc

BUILDS = """
while [ $# -gt 0 ]; do [ "$1" = --target-dir ] && out="$2"; shift; done
mkdir -p "$out/wasm32-unknown-unknown/release/deps"
touch "$out/wasm32-unknown-unknown/release/deps/libcore-1.rlib"
touch "$out/wasm32-unknown-unknown/release/deps/libwasm_std-1.rlib"
echo "RUSTC_BOOTSTRAP=$RUSTC_BOOTSTRAP"
"""


def build_with(folder: Path, *, cargo: str, rustc: str = "exit 0") -> StdBuild:
    for name, body in (("cargo", cargo), ("rustc", rustc)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    compiler = Rustc(folder / "rustc", "1.96.0", "abc", "host", folder, folder)
    sources = folder / "src" / "library"
    sources.mkdir(parents=True)
    return StdBuild(folder / "std" / "1.96.0-key", folder / "cargo", compiler, sources, "wasm-ld")


def libraries(build: StdBuild) -> list[str]:
    folder = build.sysroot / "lib" / "rustlib" / "wasm32-unknown-unknown" / "lib"
    return [path.name for path in folder.iterdir()]


def test_the_std_is_laid_out_as_a_sysroot_and_built_once(tmp_path: Path) -> None:
    build = build_with(tmp_path, cargo=BUILDS)
    lines: list[str] = []
    rust_std.ensure(build, sink=lines.append)
    assert libraries(build) == ["libcore-1.rlib"]
    assert "RUSTC_BOOTSTRAP=1" in lines
    assert any("-Zbuild-std=std,panic_abort" in line for line in lines)
    assert rust_std.ensure(build) == 0.0


def test_a_refused_build_leaves_no_std_and_keeps_cargos_words(tmp_path: Path) -> None:
    build = build_with(tmp_path, cargo="echo 'error: no such thing'; exit 101")
    with pytest.raises(BuildFailed) as failed:
        rust_std.ensure(build)
    assert "no such thing" in failed.value.detail
    assert not build.ready


def test_a_std_that_does_not_link_is_not_used(tmp_path: Path) -> None:
    build = build_with(tmp_path, cargo=BUILDS, rustc="echo 'error: bad std' >&2; exit 1")
    with pytest.raises(BuildFailed) as failed:
        rust_std.ensure(build)
    assert "bad std" in failed.value.detail
    assert not build.ready


def test_a_build_after_a_failed_one_succeeds(tmp_path: Path) -> None:
    build = build_with(tmp_path, cargo="exit 1")
    with pytest.raises(BuildFailed):
        rust_std.ensure(build)
    (tmp_path / "cargo").write_text(f"#!/bin/sh\n{BUILDS}\n")
    rust_std.ensure(build)
    assert libraries(build) == ["libcore-1.rlib"]
