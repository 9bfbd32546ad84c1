"""A state file is whole or untouched, and what cannot be read says so."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import files
from helpers.errors import BadState
from helpers.files import DiskProblem


@contextlib.contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """A file system of its own with room for `size`: the only honest way to a full disk."""
    where.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"this test needs root, to mount a small tmpfs (mount said: {done.stderr.strip()})"
    )
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has tmpfs")
def test_a_full_disk_leaves_the_old_file_and_works_again_after_space_is_freed(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        state = disk / "state.json"
        files.write_json(state, "old", version=1)
        filler = disk / "filler"
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            filler.write_bytes(bytes(1_000_000))
        with pytest.raises(DiskProblem) as caught:
            files.write_json(state, "new" * 10_000, version=1)
        assert str(state) in caught.value.what
        assert os.strerror(errno.ENOSPC) in caught.value.what
        assert "full" in caught.value.cause
        assert "free space" in caught.value.fix
        assert files.read_json(state, version=1) == "old"
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "state.json"]
        filler.unlink()
        files.write_json(state, "new" * 10_000, version=1)
        assert files.read_json(state, version=1) == "new" * 10_000


def test_a_folder_in_the_place_of_the_file_is_a_disk_problem_and_stays(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    with pytest.raises(DiskProblem, match=r"could not write .*it"):
        files.write_atomic(tmp_path / "it", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_file_in_the_place_of_a_folder_is_a_disk_problem(tmp_path: Path) -> None:
    (tmp_path / "it").write_text("text")
    with pytest.raises(DiskProblem):
        files.write_atomic(tmp_path / "it" / "below", "text")


def test_an_interrupted_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    files.write_atomic(path, "old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"", b'{"version": 1, "data": [1, 2', b"\xff\xfe\x00", b"[]", b"7", b'{"data": 1}']
)
def test_a_damaged_file_is_bad_state_and_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(content)
    with pytest.raises(BadState) as caught:
        files.read_json(path, version=1)
    assert str(path) in caught.value.what
    assert "workbook clean" in caught.value.fix
    assert path.read_bytes() == content


def test_another_versions_file_names_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    files.write_json(path, {}, version=7)
    with pytest.raises(BadState, match=r"schema 7, ours 1") as caught:
        files.read_json(path, version=1)
    assert "workbook clean" in caught.value.fix


def test_what_is_not_there_is_left_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "it.json", version=1)


def test_plain_json_is_only_replaced_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    assert files.write_json_plain(path, {"ü": 1})
    before = path.stat().st_ino
    assert not files.write_json_plain(path, {"ü": 1})
    assert path.stat().st_ino == before
    path.write_bytes(b"\xff")
    assert files.write_json_plain(path, {"ü": 1}), "what cannot be read is written anew"


_READER = """
import sys, time
from pathlib import Path
path = Path(sys.argv[1])
sizes = set()
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    sizes.add(len(path.read_text()))
print(sorted(sizes))
"""


def test_a_reader_never_sees_half_a_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, end = Path(folder, "it"), Path(folder, "end")
        files.write_atomic(path, "a" * 100_000)
        reader = subprocess.Popen(
            [sys.executable, "-c", _READER, str(path), str(end)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for number in range(100):
            files.write_atomic(path, "b" * (200_000 if number % 2 else 100_000))
        end.touch()
        said, _ = reader.communicate(timeout=60)
    assert set(said.strip("[]\n").split(", ")) <= {"100000", "200000"}
