"""The command that brings a toolchain fits the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.toolchain_install import InstallPlan, install_plan


def plan(
    tmp_path: Path, *, release: str = "", system: str = "linux", root: bool = False,
    programs: tuple[str, ...] = (), **more: str,
) -> InstallPlan:
    os_release = tmp_path / "os-release"
    if release:
        os_release.write_text(release)
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in programs:
        (folder / program).write_text("#!/bin/sh\n")
        (folder / program).chmod(0o755)
    return install_plan({"PATH": str(folder), **more}, system=system, os_release=os_release,
                        root=root)


BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
TRIXIE = 'VERSION_ID="13"\nID=debian\n'


def test_root_on_debian_12_installs_by_itself_even_beside_a_rustup(tmp_path: Path) -> None:
    found = plan(tmp_path, release=BOOKWORM, root=True, programs=("rustup",))
    assert found.automatic
    assert found.packages == ("rustc-web", "cargo-web", "rust-web-src", "lld-19")
    assert found.commands[0] == ("apt-get", "update")
    assert "sudo" not in found.text


def test_a_user_on_debian_is_shown_the_command(tmp_path: Path) -> None:
    found = plan(tmp_path, release=BOOKWORM)
    assert not found.automatic
    assert found.text.startswith("sudo apt-get update && sudo apt-get install")


def test_debian_13_has_a_std_for_wasm_in_its_archive(tmp_path: Path) -> None:
    assert "libstd-rust-dev-wasm32" in plan(tmp_path, release=TRIXIE, root=True).packages


@pytest.mark.parametrize("release", ['ID=debian\nVERSION_ID="11"\n', "ID=ubuntu\nVERSION_ID=12\n"])
def test_other_systems_are_not_taken_for_debian_12(tmp_path: Path, release: str) -> None:
    assert not plan(tmp_path, release=release, root=True).automatic


def test_rustup_needs_only_the_target(tmp_path: Path) -> None:
    assert plan(tmp_path, programs=("rustup",)).text == (
        "rustup target add wasm32-unknown-unknown")


def test_a_conda_environment_gets_both_packages(tmp_path: Path) -> None:
    assert plan(tmp_path, CONDA_PREFIX="/c").packages == (
        "rust", "rust-std-wasm32-unknown-unknown")


def test_nix_has_the_articles_own_command(tmp_path: Path) -> None:
    assert plan(tmp_path, programs=("nix",)).text == "nix develop .#wasm"


@pytest.mark.parametrize(("system", "first"), [("darwin", "brew"), ("win32", "winget")])
def test_macos_and_windows_get_rustup_first(tmp_path: Path, system: str, first: str) -> None:
    found = plan(tmp_path, system=system)
    assert found.commands[0][0] == first
    assert found.commands[-1] == ("rustup", "target", "add", "wasm32-unknown-unknown")
    assert not found.automatic
