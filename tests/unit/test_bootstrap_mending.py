"""What an interrupted set-up leaves behind is found and mended."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from helpers.setup.mending import forget_half_installed


def install(site: Path, name: str) -> Path:
    """A package as an installer leaves it, with its RECORD."""
    module = site / name / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text("answer = 42\n")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {name}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest())
    (info / "RECORD").write_text(
        f"{name}/__init__.py,sha256={digest.decode().rstrip('=')},12\n{info.name}/RECORD,,\n"
    )
    return info


def test_a_whole_package_is_left_alone(tmp_path: Path) -> None:
    info = install(tmp_path, "good")
    assert forget_half_installed(tmp_path) == []
    assert info.is_dir()


def test_a_package_with_a_missing_file_is_forgotten(tmp_path: Path) -> None:
    info = install(tmp_path, "bad")
    (tmp_path / "bad" / "__init__.py").unlink()
    assert forget_half_installed(tmp_path) == ["bad"]
    assert not info.exists()


def test_a_package_with_a_file_cut_short_is_forgotten(tmp_path: Path) -> None:
    install(tmp_path, "bad")
    (tmp_path / "bad" / "__init__.py").write_text("answ")
    assert forget_half_installed(tmp_path) == ["bad"]


def test_a_package_killed_before_its_record_was_written_is_forgotten(tmp_path: Path) -> None:
    info = install(tmp_path, "bad")
    (info / "RECORD").unlink()
    assert forget_half_installed(tmp_path) == ["bad"]


def test_a_record_cut_short_is_forgotten(tmp_path: Path) -> None:
    info = install(tmp_path, "bad")
    (info / "RECORD").write_text("bad/__in")
    (tmp_path / "good").mkdir()
    install(tmp_path / "site", "good")
    assert forget_half_installed(tmp_path) == []  # no hash, so nothing to compare
    (info / "RECORD").write_text("")
    assert forget_half_installed(tmp_path) == ["bad"]


def test_what_pip_set_aside_for_a_replacement_is_removed(tmp_path: Path) -> None:
    (tmp_path / "~umpy").mkdir()
    forget_half_installed(tmp_path)
    assert not (tmp_path / "~umpy").exists()
