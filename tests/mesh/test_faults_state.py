"""State that is damaged, a disk that is full, folders with odd names or no permission."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from helpers import steps
from helpers.cli.clean import clear
from helpers.errors import BadState
from helpers.files import DiskProblem
from helpers.mesh.local import LocalMesh
from helpers.processes import Recorded, Registry


@contextlib.contextmanager
def running(state: Path) -> Iterator[LocalMesh]:
    """A mesh with Bookinfo, ended at last by what it runs: its records may be damaged."""
    mesh = LocalMesh(state=state)
    try:
        steps.deploy_bookinfo(mesh)
        yield mesh
    finally:
        clear(state)


def alive(state: Path) -> list[Recorded]:
    return [record for record in Registry(state).all() if record.alive()]


def envoys(records: list[Recorded]) -> list[Recorded]:
    return [record for record in records if record.name.endswith(".istio-proxy")]


def _object(state: Path) -> Path:
    return state / "objects" / "default" / "Deployment" / f"{steps.DEPLOYMENT}.json"


def _pod(state: Path) -> Path:
    return next(state.glob("pods/productpage-*/pod.json"))


def _process(state: Path) -> Path:
    return next(state.glob("processes/productpage-*.istio-proxy.json"))


def _events(state: Path) -> Path:
    return state / "events.json"


def _truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _other_version(path: Path) -> None:
    document = json.loads(path.read_text())
    document["version"] = 99
    path.write_text(json.dumps(document))


def _use_everything(mesh: LocalMesh) -> None:
    mesh.restart(steps.DEPLOYMENT)
    mesh.events()


ALL = (_object, _pod, _events, _process)


@pytest.mark.parametrize(("damage", "kinds"), [(_truncate, ALL), (_other_version, (_pod,))])
def test_damaged_state_is_named_left_alone_and_reset_recovers_without_an_orphan(
    tmp_path: Path,
    damage: Callable[[Path], None],
    kinds: tuple[Callable[[Path], Path], ...],
) -> None:
    state = tmp_path / "state"
    with running(state) as mesh:
        for which in kinds:
            before = alive(state)
            assert len(envoys(before)) == 1
            path = which(state)
            damage(path)
            content = path.read_bytes()
            with pytest.raises(BadState) as caught:
                _use_everything(mesh)
            assert str(path) in caught.value.what
            assert "workbook clean" in caught.value.fix
            assert path.read_bytes() == content
            mesh.reset()
            assert not [record.name for record in before if record.alive()], which.__name__
            assert mesh.pods().pods == ()
            steps.deploy_bookinfo(mesh)
        assert steps.curl(mesh).status == 200


def test_clean_sets_damaged_state_aside_and_ends_the_envoy_whose_record_is_damaged(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    with running(state):
        before = alive(state)
        _truncate(_process(state))
        said = "\n".join(clear(state))
        assert "damaged" in said
        assert not [record.name for record in before if record.alive()]
        assert not state.exists()
        (aside,) = tmp_path.glob("state.damaged-*")
        assert (aside / "objects").is_dir()
    with running(state) as mesh:
        assert steps.curl(mesh).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has tmpfs")
def test_a_full_disk_refuses_a_change_keeps_the_old_and_works_once_space_is_freed(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, (
        f"this test needs root, to mount a small tmpfs (mount said: {done.stderr.strip()})"
    )
    try:
        with running(disk / "state") as mesh:
            before = mesh.get("deployment", steps.DEPLOYMENT).extra["objects"]
            pids = {record.pid for record in alive(disk / "state")}
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb") as handle:
                for _ in range(10_000):
                    handle.write(bytes(4096))
                    handle.flush()
            assert os.statvfs(disk).f_bavail == 0
            with pytest.raises(DiskProblem) as caught:
                mesh.apply({"apiVersion": "v1", "kind": "ConfigMap",
                            "metadata": {"name": "no-room"}, "data": {"key": "x" * 20_000}})
            assert str(disk) in caught.value.what
            assert "No space left" in caught.value.what
            assert "free space" in caught.value.fix
            assert mesh.get("deployment", steps.DEPLOYMENT).extra["objects"] == before
            assert steps.curl(mesh).status == 200, "the mesh serves on"
            filler.unlink()
            mesh.apply({"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": "after"}, "data": {"key": "x" * 20_000}})
            assert mesh.get("cm", "after").rows
            assert {record.pid for record in alive(disk / "state")} == pids
    finally:
        _umount(disk)


def _umount(disk: Path) -> None:
    deadline = time.monotonic() + 10
    while subprocess.run(["umount", str(disk)], check=False, capture_output=True).returncode:
        assert time.monotonic() < deadline, "something still works in the small disk"
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["ünï cödé dir 工", "/".join(["long-" * 20] * 3)])
def test_the_mesh_works_in_a_folder_of_any_name(
    tmp_path: Path, wasm: dict[str, Path], name: str
) -> None:
    state = tmp_path / name / "state"
    with running(state) as mesh:
        steps.start_from(mesh, "deployed", wasm=wasm["header-logger"])
        begun = time.time()
        assert steps.curl(mesh).status == 200
        assert steps.wait_for_log(mesh, "User-Agent: MyTestClient", since=begun).lines
        (ecds,) = mesh.proxy_config("ecds").extra["json"]
        assert f'"{steps.MOUNT_PATH}/{steps.KEY}"' in json.dumps(ecds), "the container's path"
        mesh.stop()
        assert not [p for p in psutil.process_iter(["cmdline"])
                    if any(str(state) in word for word in p.info["cmdline"] or ())]


_AS_NOBODY = """
import os, sys, traceback
from pathlib import Path
from helpers import steps
from helpers.errors import WorkbookError
from helpers.mesh.local import LocalMesh
if os.geteuid() == 0:  # permissions do not bind root
    os.setgid(65534)
    os.setuid(65534)
try:
    LocalMesh(state=Path(sys.argv[1])).pods()
except WorkbookError as error:
    print(type(error).__name__, error.what, error.cause, error.fix, sep="|")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_may_not_be_written_is_named_with_cause_and_fix(mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed = Path(folder) / "closed"
        (closed / "state").mkdir(parents=True)
        for path in (closed / "state", closed):
            path.chmod(mode)
        for state in (closed / "state", closed / "new"):
            done = subprocess.run([sys.executable, "-c", _AS_NOBODY, str(state)],
                                  capture_output=True, text=True, timeout=60, check=False,
                                  env={**os.environ, "HOME": folder})
            assert done.stderr == ""
            kind, what, cause, fix = done.stdout.strip().split("|")
            assert kind == DiskProblem.__name__
            assert str(closed) in what
            assert "Permission denied" in what
            assert "may not write" in cause
            assert "permission" in fix
        closed.chmod(0o755)
        (closed / "state").chmod(0o755)
