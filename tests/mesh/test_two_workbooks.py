"""Two workbooks at once: on one state folder they take turns, on two they do not meet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import steps
from helpers.errors import Busy
from helpers.mesh.local import LocalMesh, core
from helpers.processes import Registry

#: What one notebook does: it changes objects that the other changes too, and sends requests.
WORK = """
import json, sys
from helpers import steps
from helpers.mesh.local import LocalMesh
me, rounds = sys.argv[1], int(sys.argv[2])
mesh = LocalMesh()
print("ready", flush=True)
sys.stdin.readline()
seen = []
for n in range(rounds):
    mesh.patch("configmap", "shared", {"data": {f"{me}-{n}": "x"}})
    mesh.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{me}-{n}"}})
    mesh.patch("deployment", steps.DEPLOYMENT, {"metadata": {"annotations": {f"t/{me}-{n}": "x"}}})
    seen.append(steps.curl(mesh).status)
print(json.dumps(seen))
"""
SHARED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {}}
ROUNDS = 6


def two_at_once(states: tuple[Path, Path]) -> list[list[int]]:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, name, str(ROUNDS)],
            env={**os.environ, "WORKBOOK_STATE": str(state)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, state in zip("ab", states, strict=True)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    return [json.loads(text) for text in said]


def test_two_workbooks_on_one_state_lose_no_update_and_start_nothing_twice(
    mesh: LocalMesh,
) -> None:
    mesh.apply(SHARED)
    before = {record.name: record.pid for record in Registry(mesh.state).all()}
    assert two_at_once((mesh.state, mesh.state)) == [[200] * ROUNDS] * 2
    expected = {f"{name}-{n}" for name in "ab" for n in range(ROUNDS)}
    (shared,) = mesh.get("cm", "shared").extra["objects"]
    assert set(shared["data"]) == expected
    configmaps = mesh.get("cm").extra["objects"]
    assert {o["metadata"]["name"] for o in configmaps} >= expected
    (deployment,) = mesh.get("deployment", steps.DEPLOYMENT).extra["objects"]
    assert {k for k in deployment["metadata"]["annotations"] if k.startswith("t/")} == {
        f"t/{name}" for name in expected
    }
    versions = [o["metadata"]["resourceVersion"] for o in (*configmaps, deployment)]
    assert len(versions) == len(set(versions))
    assert {record.name: record.pid for record in Registry(mesh.state).all()} == before


def test_two_workbooks_that_start_bookinfo_at_once_start_it_once(tmp_path: Path) -> None:
    program = (
        "from helpers import steps; from helpers.mesh.local import LocalMesh\n"
        "mesh = LocalMesh(); steps.deploy_bookinfo(mesh); print(steps.curl(mesh).status)"
    )
    state = tmp_path / "state"
    try:
        started = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "WORKBOOK_STATE": str(state)})
            for _ in range(2)
        ]
        assert [each.communicate(timeout=120)[0] for each in started] == ["200\n"] * 2
        records = Registry(state).all()
        assert len(records) == 6, "four apps, one Envoy, one caretaker"
        assert all(record.alive() for record in records)
    finally:
        LocalMesh(state=state).stop()


def test_two_workbooks_on_two_states_do_not_meet(mesh: LocalMesh, tmp_path: Path) -> None:
    other = LocalMesh(state=tmp_path / "state")
    try:
        steps.deploy_bookinfo(other)
        for each in (mesh, other):
            each.delete("cm", "shared", missing_ok=True)
            each.apply(SHARED)
        assert two_at_once((mesh.state, other.state)) == [[200] * ROUNDS] * 2
        for each, name in ((mesh, "a"), (other, "b")):
            (shared,) = each.get("cm", "shared").extra["objects"]
            assert set(shared["data"]) == {f"{name}-{n}" for n in range(ROUNDS)}
    finally:
        other.stop()


def test_a_mesh_that_another_workbook_holds_too_long_is_busy_and_free_afterwards(
    mesh: LocalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import sys; from helpers.mesh.local import LocalMesh\n"
         "with LocalMesh()._locked():\n    print('held', flush=True); sys.stdin.readline()"],
        env={**os.environ, "WORKBOOK_STATE": str(mesh.state)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    monkeypatch.setattr(core, "_LOCK_SECONDS", 0.2)
    second = LocalMesh(state=mesh.state)
    try:
        with pytest.raises(Busy) as caught:
            second.pods()
        assert str(mesh.state) in caught.value.what
        assert "has not finished within" in caught.value.cause
        assert "run this again" in caught.value.fix
    finally:
        holder.communicate("let go\n", timeout=30)
    assert second.pods().pods == mesh.pods().pods
