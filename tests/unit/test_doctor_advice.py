"""What the doctor and the troubleshooting page tell people to type does exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers import doctor, paths, steps
from helpers.mesh.base import Mesh

SOURCES = [
    paths.ROOT / "docs" / "troubleshooting.md",
    *(paths.ROOT / "helpers/doctor").glob("*.py"),
]


def named(pattern: str) -> set[str]:
    found: set[str] = set()
    for source in SOURCES:
        found |= set(re.findall(pattern, source.read_text(encoding="utf-8")))
    return found


def test_every_step_that_is_advised_exists() -> None:
    advised = named(r"\bsteps\.(\w+)\(")

    assert {"deploy", "create_configmap", "patch_deployment"} <= advised
    assert not {name for name in advised if not hasattr(steps, name)}


def test_every_verb_of_the_mesh_that_is_advised_exists() -> None:
    advised = named(r"(?<![\w.])mesh\.(\w+)\(")

    assert {"set_log_level", "sync_volumes", "file_sha256"} <= advised
    assert not {name for name in advised if not hasattr(Mesh, name)}


def test_every_question_to_the_doctor_that_is_advised_exists() -> None:
    assert named(r"\bdoctor\.(\w+)\(") == {"report", "why_no_log"}
    assert hasattr(doctor, "report")
    assert hasattr(doctor, "why_no_log")


@pytest.mark.parametrize("name", sorted(named(r"(?:manifests/|\")((?:patch-)?[\w-]+\.yaml)")))
def test_every_manifest_that_is_advised_exists(name: str) -> None:
    assert (paths.manifests() / name).is_file()


def test_every_subcommand_that_is_advised_exists() -> None:
    known = set(
        re.findall(
            r'add\("(\w+)"',
            Path(paths.ROOT / "helpers/setup/arguments.py").read_text(encoding="utf-8"),
        )
    )
    advised = named(r"\./workbook (\w+)\b") - {"command", "made", "makes"}

    assert {"clean", "doctor", "lab"} <= advised
    assert advised <= known


def test_every_link_of_the_page_has_its_heading() -> None:
    text = SOURCES[0].read_text(encoding="utf-8")
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^## (.+)$", text)}

    assert set(re.findall(r"\(#([\w-]+)\)", text)) == anchors


def test_every_entry_of_the_page_says_what_it_means_or_how_to_mend_it() -> None:
    entries = re.split(r"(?m)^### ", SOURCES[0].read_text(encoding="utf-8"))[1:]

    assert len(entries) > 30
    for entry in entries:
        assert "**Means**" in entry or "**Fix**" in entry, entry.splitlines()[0]
