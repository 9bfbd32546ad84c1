"""Real kernels, interrupted and killed in the middle of work: nothing orphaned, nothing lost."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.manager import KernelManager

from helpers import steps
from helpers.mesh.local import LocalMesh
from helpers.processes import Registry

SETUP = (
    "from helpers import steps, traffic, cargo\n"
    "from helpers.mesh.local import LocalMesh\n"
    "mesh = LocalMesh()\n"
)


class Kernel:
    """One real ipykernel, driven as JupyterLab drives it."""

    def __init__(self, env: dict[str, str]) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=env)
        self.client: Any = None
        self._connect()

    def _connect(self) -> None:
        if self.client is not None:
            self.client.stop_channels()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def start(self, code: str) -> str:
        """Run a cell without waiting for its end."""
        return str(self.client.execute(code))

    def finish(self, message: str, timeout: float = 60) -> tuple[str, str]:
        """Wait for a cell: "ok" and what it printed, or "error" and the error's name and text."""
        text = ""
        status, name = "ok", ""
        deadline = time.monotonic() + timeout
        while True:
            found = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if found["parent_header"].get("msg_id") != message:
                continue
            kind, content = found["msg_type"], found["content"]
            if kind == "stream":
                text += content["text"]
            elif kind == "error":
                status, name = "error", f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                return status, name if status == "error" else text

    def run(self, code: str) -> str:
        """Run a cell that must work; what it printed."""
        status, text = self.finish(self.start(code))
        assert status == "ok", text
        return text

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def kill_and_restart(self) -> None:
        """SIGKILL at once, as the button does when a kernel does not answer."""
        self.manager.restart_kernel(now=True)
        self._connect()
        self.run(SETUP)

    def pid(self) -> int:
        return int(self.run("import os; print(os.getpid())"))

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def descendants(pid: int) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    return found


def running(processes: list[psutil.Process]) -> list[str]:
    names = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                names.append(process.name())
    return names


@pytest.fixture(scope="module")
def kernel(shared_mesh: LocalMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    env = {
        **os.environ,
        "WORKBOOK_STATE": str(shared_mesh.state),
        "WORKBOOK_WORKSPACE": str(tmp_path_factory.mktemp("work")),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    it = Kernel(env)
    try:
        it.run(SETUP + 'steps.start_from(mesh, "bookinfo")')
        yield it
    finally:
        it.close()


def pids(mesh: LocalMesh) -> dict[str, int]:
    return {r.name: r.pid for r in Registry(mesh.state).all() if r.alive()}


def test_a_killed_kernel_finds_the_mesh_again_with_the_same_processes(
    kernel: Kernel, shared_mesh: LocalMesh
) -> None:
    before = pids(shared_mesh)
    assert len(before) == 6
    kernel.kill_and_restart()
    assert kernel.run("print(steps.curl(mesh).status)") == "200\n"
    assert pids(shared_mesh) == before


FOLLOW = "print('at it', flush=True)\nfor line in mesh.follow(seconds=300): print(line)"
TRAFFIC = "print('at it', flush=True)\ntraffic.send(mesh, count=5000, rate=50, progress=False)"
#: A rollout that cannot end: its ConfigMap is missing.
WAIT = (
    "steps.patch_deployment(mesh, 'patch-productpage-sidecar-volume.yaml')\n"
    "print('at it', flush=True)\nmesh.wait_ready(steps.DEPLOYMENT, timeout=300)"
)


@pytest.mark.parametrize("end", ["interrupted", "killed"])
@pytest.mark.parametrize("work", [FOLLOW, TRAFFIC, WAIT], ids=["following", "traffic", "waiting"])
def test_work_on_the_mesh_can_be_ended_and_the_next_cell_works(
    kernel: Kernel, shared_mesh: LocalMesh, work: str, end: str
) -> None:
    kernel.run('steps.start_from(mesh, "bookinfo")')
    before = pids(shared_mesh)
    mine = kernel.pid()
    others = {process.pid for process in descendants(mine)}
    message = kernel.start(work)
    _wait_until_under_way(kernel, shared_mesh, message, work)
    if end == "interrupted":
        kernel.interrupt()
        status, name = kernel.finish(message)
        assert status == "error", name
        assert name.startswith(("KeyboardInterrupt", "TrafficCancelled", "Cancelled"))
        assert {p.pid for p in descendants(mine) if p.status() != "zombie"} <= others | set(
            pids(shared_mesh).values()
        )
        assert kernel.run("import threading; print(threading.active_count() < 20)") == "True\n"
    else:
        kernel.kill_and_restart()
        assert not psutil.pid_exists(mine)
    # Nothing holds a lock, nothing was lost, and the old pod serves.
    assert kernel.run("print(steps.curl(mesh).status)") == "200\n"
    after = pids(shared_mesh)
    assert {name: pid for name, pid in after.items() if name in before} == before
    if work is TRAFFIC and end == "interrupted":
        assert int(kernel.run("print(len(traffic.last()))")) > 0, "what was sent is kept"


def _wait_until_under_way(kernel: Kernel, mesh: LocalMesh, message: str, work: str) -> None:
    """Not merely begun: lines come, requests arrive, or the kubelet complains."""
    until(lambda: "at it" in _printed(kernel, message))
    begun = time.time()
    if work is FOLLOW:
        def line_came() -> bool:
            steps.curl(mesh)
            return "/productpage" in _printed(kernel, message)

        until(line_came)
    elif work is TRAFFIC:
        until(lambda: len(mesh.logs(grep="req/", since=begun).lines) > 5)
    else:
        until(lambda: any(e.reason == "FailedMount" for e in mesh.events().events))


def _printed(kernel: Kernel, message: str) -> str:
    found = kernel.client.get_iopub_msg(timeout=60)
    if found["parent_header"].get("msg_id") == message and found["msg_type"] == "stream":
        return str(found["content"]["text"])
    return ""


@pytest.mark.parametrize("end", ["interrupted", "killed"])
def test_a_build_can_be_ended_and_leaves_no_cargo_and_no_rustc(
    kernel: Kernel, tmp_path: Path, end: str
) -> None:
    mine = kernel.pid()
    kernel.run(
        "made = steps.cargo_new('ended')\n"
        "for name in ('Cargo.toml', 'src/lib.rs'): steps.write_file(made, name)\n"
        f"import os; os.environ['CARGO_TARGET_DIR'] = {str(tmp_path / 'target')!r}"
    )
    message = kernel.start("steps.cargo_build('ended')")
    family: list[psutil.Process] = []

    def building() -> bool:
        family[:] = descendants(mine)
        return {"cargo", "rustc"} <= {p.name() for p in family if p.is_running()}

    with contextlib.suppress(psutil.NoSuchProcess):
        until(building)
    if end == "interrupted":
        kernel.interrupt()
        status, name = kernel.finish(message)
        assert status == "error"
        assert name.startswith("Cancelled: stopped: ")
    else:
        kernel.kill_and_restart()
    builders = [p for p in family if _name(p) in ("cargo", "rustc", "sh")]
    until(lambda: not running(builders))
    text = kernel.run("print(steps.cargo_build('header-logger', sink=None).module.is_file())")
    assert text == "True\n"


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""
