"""A toolchain is chosen by what it can do, not by its name or its place in PATH."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from helpers import rust_std, rustc_probe, toolchain
from helpers.errors import ToolchainMissing
from helpers.toolchain import Toolchain

LINKS = 'case "$*" in *"linker=broken"*) echo "error: linker broken" >&2; exit 1;; esac; exit 0'
NO_LINKER = ('case "$*" in *linker=wasm-ld*) exit 0;; esac; '
             'echo "error: linker \\`rust-lld\\` not found" >&2; exit 1')


def stand_in(
    folder: Path, *, release: str = "1.90.0", std: bool = True, sources: bool = False,
    links: str = LINKS, cargo: bool = True,
) -> Path:
    """A program that answers like a rustc; its libraries are files of the right names."""
    sysroot = folder / "sysroot"
    libdir = sysroot / "lib" / "rustlib" / rustc_probe.TARGET / "lib"
    if std:
        libdir.mkdir(parents=True)
        (libdir / "libcore-0123.rlib").write_bytes(b"")
    if sources:
        library = sysroot / "lib" / "rustlib" / "src" / "rust" / "library"
        library.mkdir(parents=True)
        (library / "Cargo.lock").write_text("version = 4\n")
    folder.mkdir(parents=True, exist_ok=True)
    script(folder / "rustc", f'''
if [ "$1" = -vV ]; then
  printf 'rustc {release}\\nhost: x86_64-unknown-linux-gnu\\nrelease: {release}\\n'; exit 0; fi
if [ "$1" = --print ]; then echo "{sysroot}"; echo "{libdir}"; exit 0; fi
{links}''')
    if cargo:
        script(folder / "cargo", "exit 0")
    return folder


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def look(*folders: Path, **more: str) -> Toolchain:
    return toolchain.search({"PATH": os.pathsep.join(map(str, folders)), **more})


def test_the_first_rustc_in_path_is_passed_over_when_it_has_no_std(tmp_path: Path) -> None:
    bare, able = stand_in(tmp_path / "a", std=False), stand_in(tmp_path / "b")
    found = look(bare, able)
    assert found.rustc == able / "rustc"
    assert found.kind == "path"
    assert found.passed_over[0].path == str(bare / "rustc")
    assert "no std for wasm32-unknown-unknown" in found.passed_over[0].reason
    assert "passed over" in str(found)


def test_a_std_without_a_linker_is_no_toolchain(tmp_path: Path) -> None:
    found = look(stand_in(tmp_path / "a", links=NO_LINKER))
    assert found.kind == "prebuilt"
    assert "linker `rust-lld` not found" in found.passed_over[0].reason


def test_another_linker_in_path_is_tried_and_named(tmp_path: Path) -> None:
    folder = stand_in(tmp_path / "a", links=NO_LINKER)
    script(folder / "wasm-ld-9", "exit 0")
    script(folder / "wasm-ld-19", "exit 0")
    found = look(folder)
    assert (found.kind, found.linker) == ("path", "wasm-ld-19")


def test_a_rustc_older_than_1_85_is_passed_over(tmp_path: Path) -> None:
    found = look(stand_in(tmp_path / "a", release="1.84.1"))
    assert found.kind == "prebuilt"
    assert "1.84.1 is older than 1.85" in found.passed_over[0].reason


def test_a_rustc_without_cargo_is_passed_over(tmp_path: Path) -> None:
    assert "no cargo" in look(stand_in(tmp_path / "a", cargo=False)).passed_over[0].reason


def test_a_program_that_only_bears_the_name_is_passed_over(tmp_path: Path) -> None:
    folder = stand_in(tmp_path / "a")
    script(folder / "rustc", "echo hello")
    assert "does not answer like a rustc" in look(folder).passed_over[0].reason
    script(folder / "rustc", "echo 'no toolchain chosen' >&2; exit 1")
    assert look(folder).passed_over[0].reason == "no toolchain chosen"


def test_rustup_comes_before_conda_whatever_path_says(tmp_path: Path) -> None:
    conda, rustup = stand_in(tmp_path / "conda" / "bin"), stand_in(tmp_path / "rustup" / "bin")
    script(rustup / "rustup", "exit 0")
    found = look(conda, rustup, CONDA_PREFIX=str(tmp_path / "conda"))
    assert found.kind == "rustup"
    assert look(conda, CONDA_PREFIX=str(tmp_path / "conda")).kind == "conda"


def test_sources_and_a_linker_make_a_toolchain_that_builds_its_own_std(tmp_path: Path) -> None:
    folder = stand_in(tmp_path / "a", std=False, sources=True)
    assert look(folder).kind == "prebuilt"
    script(folder / "wasm-ld-19", "exit 0")
    found = look(folder)
    assert (found.kind, found.linker, found.ready) == ("build-std", "wasm-ld-19", False)


def test_another_compiler_gets_another_std(tmp_path: Path) -> None:
    one = stand_in(tmp_path / "a", std=False, sources=True)
    two = stand_in(tmp_path / "b", std=False, sources=True, release="1.91.0")
    for folder in (one, two):
        script(folder / "wasm-ld", "exit 0")
    assert look(one).sysroot != look(two).sysroot
    assert look(one).sysroot == look(one).sysroot


def test_nothing_at_all_leaves_the_prebuilt_modules_and_says_how_to_get_more() -> None:
    found = look()
    assert found.kind == "prebuilt"
    assert found.cargo is None
    assert "to build for yourself" in str(found)


def test_who_must_compile_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find", look)
    with pytest.raises(ToolchainMissing) as missing:
        toolchain.require()
    assert missing.value.fix == toolchain.install_plan().text


def example(tmp_path: Path) -> Toolchain:
    rustc = rustc_probe.Rustc(tmp_path / "rustc", "1.96.0", "abc", "host", tmp_path, tmp_path)
    std = rust_std.StdBuild(tmp_path / 'a "std" ☃', tmp_path / "cargo", rustc, tmp_path, "wasm-ld")
    return Toolchain(kind="build-std", rustc=tmp_path / "rustc", cargo=tmp_path / "cargo",
                     linker="wasm-ld", std=std)


def test_the_configuration_is_toml_whatever_the_path(tmp_path: Path) -> None:
    found = example(tmp_path)
    settings = tomllib.loads(found.config_toml(target_dir=tmp_path / "t\\x"))
    target = settings["target"][rustc_probe.TARGET]
    assert target == {"linker": "wasm-ld", "rustflags": ["--sysroot", str(found.sysroot)]}
    assert settings["build"] == {"rustc": str(tmp_path / "rustc"),
                                 "target-dir": str(tmp_path / "t\\x")}


def test_the_learners_own_rustflags_are_kept(tmp_path: Path) -> None:
    found = example(tmp_path)
    flags = found.env({"RUSTFLAGS": "-C debuginfo=1"})["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
    assert flags == ["-C", "debuginfo=1", "--sysroot", str(found.sysroot)]
    encoded = found.env({"CARGO_ENCODED_RUSTFLAGS": "-Ca b"})["CARGO_ENCODED_RUSTFLAGS"]
    assert encoded.split("\x1f")[0] == "-Ca b"


def test_a_configuration_that_the_learner_wrote_is_left_alone(tmp_path: Path) -> None:
    found = example(tmp_path)
    path = tmp_path / ".cargo" / "config.toml"
    assert toolchain.configure(tmp_path, found)
    assert path.read_text() == found.config_toml()
    assert toolchain.configure(tmp_path, found, target_dir=tmp_path)  # ours may be renewed
    path.write_text("# mine\n")
    assert not toolchain.configure(tmp_path, found)
    assert path.read_text() == "# mine\n"


def test_a_bare_command_name_is_never_taken_for_a_version() -> None:
    assert rustc_probe.version_of("1.96.0-nightly") == (1, 96)
    assert rustc_probe.version_of("unknown") == (0, 0)
