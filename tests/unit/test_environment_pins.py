"""environment.yml, pyproject.toml and requirements.lock agree."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.version import Version

from helpers import paths

#: Names that conda-forge spells in another way.
CONDA = {"python-kubernetes": "kubernetes"}
NO_PYTHON_PACKAGES = {"python", "pip", "rust", "rust-std-wasm32-unknown-unknown"}
PYTHON = "3.11"


def locked(python: str = PYTHON) -> dict[str, str]:
    """The locked versions by name, for one Python on Linux."""
    text = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for line in re.findall(r"^([a-z0-9][^\\\n]*)", text, flags=re.MULTILINE):
        requirement = line.strip()
        name, version, marker = re.fullmatch(  # type: ignore[union-attr]
            r"([a-z0-9._-]+)==([^\s;]+)(?:\s*;\s*(.*))?", requirement
        ).groups()
        given = {"python_version": python, "python_full_version": f"{python}.9",
                 "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux",
                 "platform_machine": "x86_64", "implementation_name": "cpython",
                 "platform_python_implementation": "CPython"}
        if marker is None or Marker(marker).evaluate(given):
            found[name] = version
    return found


def pyproject() -> Any:
    return tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def conda() -> tuple[dict[str, str], dict[str, str]]:
    """environment.yml's pins: those from conda-forge, those from pip."""
    document = yaml.safe_load((paths.ROOT / "environment.yml").read_text(encoding="utf-8"))
    plain = [item for item in document["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in document["dependencies"] if isinstance(item, dict)]
    return (dict(([*item.split("="), ""])[:2] for item in plain),
            dict(item.split("==") for item in pip))


def test_conda_pins_what_the_lock_pins() -> None:
    forge, pip = conda()
    wanted = locked()
    for name, version in {**forge, **pip}.items():
        if name not in NO_PYTHON_PACKAGES:
            assert wanted[CONDA.get(name, name)] == version, name


def test_conda_has_every_direct_dependency() -> None:
    forge, pip = conda()
    have = {CONDA.get(name, name) for name in {**forge, **pip}}
    for text in pyproject()["project"]["dependencies"]:
        assert Requirement(text).name in have


def test_rust_and_its_wasm_std_are_the_very_same_version() -> None:
    forge, _ = conda()
    assert forge["rust"] == forge["rust-std-wasm32-unknown-unknown"]
    assert Version(forge["rust"]) >= Version("1.85")


@pytest.mark.parametrize("group", ["dependencies", "build", "test"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_satisfies_every_requirement(group: str, python: str) -> None:
    project = pyproject()["project"]
    texts = project["dependencies"] if group == "dependencies" else (
        project["optional-dependencies"][group])
    versions = locked(python)
    for text in texts:
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        assert requirement.specifier.contains(versions[name]), text


def test_everything_in_the_lock_has_a_hash() -> None:
    text = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_lock_names_no_index() -> None:
    text = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
