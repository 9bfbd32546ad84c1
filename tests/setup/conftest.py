"""A throw-away clone with a small lock, installed from wheels on this disk: no network."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata as metadata
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import paths

#: What the editable install and helpers.cli need; the real lock has 160 more.
PACKAGES = ("editables", "filelock", "hatchling", "packaging", "pathspec", "pluggy", "psutil",
            "trove-classifiers")

Workbook = Callable[..., "subprocess.CompletedProcess[str]"]


def _repack(name: str, folder: Path) -> Path:
    """The wheel that an installed distribution came from, as far as it matters here."""
    distribution = metadata.distribution(name)
    files = [path for path in distribution.files or []
             if ".." not in path.parts and path.suffix != ".pyc"
             and path.name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}]
    (info,) = {path.parts[0] for path in files if path.parts[0].endswith(".dist-info")}
    tag = next(line.split(": ")[1] for line in (distribution.read_text("WHEEL") or "").splitlines()
               if line.startswith("Tag: "))
    wheel = folder / f"{info.removesuffix('.dist-info')}-{tag}.whl"
    record = ""
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in files:
            data = Path(str(distribution.locate_file(path))).read_bytes()
            archive.writestr(path.as_posix(), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{path.as_posix()},sha256={digest},{len(data)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of wheels, and the lock that names them with their hashes."""
    folder = tmp_path_factory.mktemp("wheels")
    lock = ""
    for name in PACKAGES:
        wheel = _repack(name, folder)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock += f"{name}=={metadata.version(name)} \\\n    --hash=sha256:{digest}\n"
    return folder, lock


@pytest.fixture
def clone(tmp_path: Path, wheels: tuple[Path, str]) -> Path:
    """The files of this clone in a folder whose name has spaces and other scripts."""
    folder = tmp_path / "ein Ordner, 工作簿"
    folder.mkdir()
    for name in ("workbook", "pyproject.toml", "README.md"):
        shutil.copy2(paths.ROOT / name, folder / name)
    shutil.copytree(paths.ROOT / "helpers", folder / "helpers",
                    ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "00_start.ipynb").write_text("{}")
    (folder / "requirements.lock").write_text(wheels[1])
    return folder


@pytest.fixture
def environ(tmp_path: Path, wheels: tuple[Path, str]) -> dict[str, str]:
    """An empty home, the system's own programs only, and an installer without a network."""
    home = tmp_path / "home"
    home.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    # The Python that made our own environment, which has the module venv.
    python = Path(os.path.realpath(shutil.which("python3", path="/usr/bin:/usr/local/bin")
                                   or os.environ["PATH"]))
    (programs / "python3").symlink_to(python)
    return {"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8",
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels[0])}


@pytest.fixture
def workbook(clone: Path, environ: dict[str, str], tmp_path: Path) -> Workbook:
    """Runs `./workbook` in the clone from another folder, with stdin closed."""

    def call(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(clone / "workbook"), *words], cwd=tmp_path,
                              env={**environ, **more}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)

    return call
