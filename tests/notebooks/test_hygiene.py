"""Notebooks are sources: no outputs, stable ids, little code, public names only."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from helpers.setup.pristine import all_notebooks

MOST_LINES = 12
HOSTS = re.compile(r"(pypi|pythonhosted|crates\.io|static\.rust-lang|npmjs|conda\.anaconda)",
                   re.IGNORECASE)

each = pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)


def load(path: Path) -> Any:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code(path: Path) -> list[Any]:
    return [cell for cell in load(path).cells if cell.cell_type == "code"]


def tree(source: str) -> ast.Module:
    return ast.parse(TransformerManager().transform_cell(source))


def test_there_are_notebooks_to_look_at() -> None:
    assert all_notebooks()


@each
def test_it_is_a_valid_notebook_with_unique_ids(path: Path) -> None:
    notebook = load(path)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@each
def test_it_carries_no_outputs(path: Path) -> None:
    for cell in code(path):
        assert cell.outputs == []
        assert cell.execution_count is None


@each
def test_it_says_how_long_it_takes_and_what_it_verifies(path: Path) -> None:
    about = load(path).metadata["workbook"]
    assert about["minutes"] > 0
    assert len(set(about["verifies"])) == len(about["verifies"])
    assert all(isinstance(name, str) and name for name in about["verifies"])


@each
def test_what_it_promises_is_in_its_code(path: Path) -> None:
    source = "\n".join(cell.source for cell in code(path))
    for name in load(path).metadata["workbook"]["verifies"]:
        assert re.search(rf"['\"]{re.escape(name)}['\"]", source), name


@each
def test_its_kernel_is_the_environments_python(path: Path) -> None:
    assert load(path).metadata["kernelspec"]["name"] == "python3"


@each
def test_its_cells_are_short(path: Path) -> None:
    for cell in code(path):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= MOST_LINES, cell.source


@each
def test_it_uses_public_names_of_helpers_only(path: Path) -> None:
    for cell in code(path):
        for node in ast.walk(tree(cell.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not any(name.startswith("_") for name in names)
                assert "*" not in names
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
                assert not node.attr.startswith("_"), node.attr


@each
def test_it_names_no_package_registry(path: Path) -> None:
    for cell in load(path).cells:
        assert not HOSTS.search(cell.source), cell.source
