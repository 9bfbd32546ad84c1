"""The mesh outlives a kernel, is found again, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

from helpers import steps
from helpers.mesh.local import LocalMesh
from helpers.mesh.local.caretaker import OWNER_VARIABLE, owner_token
from helpers.processes import Registry


def processes_of(state: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(state) in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


def test_another_kernel_finds_the_same_pods(mesh: LocalMesh) -> None:
    again = LocalMesh(state=mesh.state)
    assert [pod.name for pod in again.pods().pods] == [pod.name for pod in mesh.pods().pods]
    assert steps.curl(again).status == 200


def test_processes_ended_on_purpose_are_started_again_without_a_crash(mesh: LocalMesh) -> None:
    Registry(mesh.state).stop_all()
    mesh.wait_ready(steps.DEPLOYMENT)
    (pod,) = mesh.pods("app=productpage").pods
    assert pod.restarts == 0
    assert steps.curl(mesh).status == 200


def test_a_stopped_mesh_leaves_no_process(tmp_path: Path) -> None:
    mesh = LocalMesh(state=tmp_path / "state")
    steps.deploy_bookinfo(mesh)
    assert processes_of(mesh.state)
    mesh.stop()
    assert processes_of(mesh.state) == []


def test_the_mesh_ends_with_its_owner_even_if_that_was_killed(tmp_path: Path) -> None:
    owner = psutil.Popen(["sleep", "300"])
    os.environ[OWNER_VARIABLE] = owner_token(psutil.Process(owner.pid))
    try:
        mesh = LocalMesh(state=tmp_path / "state")
        steps.deploy_bookinfo(mesh)
    finally:
        del os.environ[OWNER_VARIABLE]
        owner.kill()
        owner.wait()
    deadline = time.monotonic() + 30
    while processes_of(mesh.state) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(mesh.state) == []


def test_the_sidecars_log_is_rotated_and_nothing_is_lost(mesh: LocalMesh) -> None:
    from helpers.mesh.local.envoy import Files, rotate

    (pod,) = mesh.pods("app=productpage").pods
    where = Files(mesh.state / "pods" / pod.name / "istio-proxy")
    steps.curl(mesh, user_agent="before")
    steps.wait_for_log(mesh, '"before"')
    assert rotate(where, limit=10)
    steps.curl(mesh, user_agent="after")
    steps.wait_for_log(mesh, "after")
    assert mesh.logs(grep='"before"').lines
    assert where.log.with_name("istio-proxy.log.1").exists()


def test_following_gives_new_lines_only(mesh: LocalMesh) -> None:
    steps.curl(mesh, user_agent="old-news")
    steps.wait_for_log(mesh, "old-news")
    follower = mesh.follow(seconds=10, grep="news")
    steps.curl(mesh, user_agent="fresh-news")
    assert "fresh-news" in next(follower)
