"""`workbook lab`: JupyterLab on the notebooks; when it ends, so does all that they started."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from helpers import paths, processes
from helpers.cli.agree import agree
from helpers.cli.alone import Alone
from helpers.cli.where import Where
from helpers.ending import end_strays
from helpers.errors import BadInput, MeshDown, NotReady
from helpers.mesh.local import caretaker

_FIRST = "notebooks/00_start.ipynb"
_START_SECONDS = 90.0
_NAME = "jupyterlab"


def lab(*, browser: bool = True, port: int = 0, where: Where | None = None) -> int:
    """Serve the clone on the loopback interface until JupyterLab or this process ends; 0.

    On a cluster it asks first, once. What the notebooks make there stays when it ends, as a
    learner goes on another day; `./workbook clean --mesh cluster` removes it.

    Raises:
        Cancelled: the cluster may not be changed.
        Busy: this clone's lab is open already.
        BadInput: the wanted port is taken.
        MeshDown, NotReady: JupyterLab did not start.
    """
    state = paths.state()
    where = where or Where()
    with Alone("lab", holding="JupyterLab"):
        registry = processes.Registry(state)
        # We hold the lock, so whatever is recorded belongs to a lab that was killed.
        left = [*registry.stop_all(), *end_strays(state)]
        if left:
            print(f"ended what an earlier lab left behind: {', '.join(left)}")
        if where.is_cluster:
            mesh = agree(where)
            print(mesh.describe().text)
            mesh.close()
        try:
            return _serve(registry, state, browser=browser, port=port, more=where.environment())
        finally:
            # The caretaker last: should a second Ctrl-C come now, it ends what is left.
            ended = [name for name in registry.stop_all(last=caretaker.NAME) if name != _NAME]
            print(f"JupyterLab has ended{'; also ended: ' + ', '.join(ended) if ended else ''}. "
                  "Your work is kept in notebooks/ and workspace/.")
            if where.is_cluster:
                print("What the notebooks made in the cluster is still there; to remove it: "
                      f"./workbook clean {where.again()}")


def _serve(
    registry: processes.Registry, state: Path, *, browser: bool, port: int,
    more: Mapping[str, str],
) -> int:
    home = paths.HOME / "jupyter"
    token = secrets.token_urlsafe(24)
    env = {
        **os.environ,
        **more,
        # In the environment, not among the arguments: those everybody on this machine can read.
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "WORKBOOK_STATE": str(state),
        caretaker.OWNER_VARIABLE: caretaker.owner_token(),
    }
    log = state / "logs" / f"{_NAME}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    number = port or _free_port()
    argv = [
        sys.executable, "-m", "jupyterlab", "--no-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={number}",
        # A port named by the learner is theirs or nobody's; a chosen one may be taken meanwhile.
        f"--ServerApp.port_retries={0 if port else 50}",
        f"--ServerApp.root_dir={paths.ROOT}",
        f"--LabApp.default_url=/lab/tree/{_FIRST}",
        # An idle kernel must be there after lunch.
        "--MappingKernelManager.cull_idle_timeout=0",
        "--ServerApp.shutdown_no_activity_timeout=0",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        argv.append("--allow-root")
    if port and not _is_free(port):
        raise BadInput(f"port {port} is taken", cause="another program listens on it",
                       fix="leave --port out: a free one is chosen")
    begun = time.monotonic()
    record = registry.start(_NAME, argv, log=log, cwd=paths.ROOT, env=env)
    caretaker.ensure(state, registry, owner=env[caretaker.OWNER_VARIABLE])
    actual = _wait(record, home / "runtime")
    url = f"http://127.0.0.1:{actual}/lab/tree/{_FIRST}?token={token}"
    print(f"JupyterLab is ready ({time.monotonic() - begun:.1f} s):\n\n  {url}\n\n"
          f"Only this computer can open it. Its log: {paths.shown(log)}\n"
          "To end it: Ctrl-C here, or File > Shut Down there.", flush=True)
    if browser and _has_screen():
        webbrowser.open(url)
    # Ctrl-C is how this command is meant to end.
    with contextlib.suppress(KeyboardInterrupt):
        while record.alive():
            time.sleep(0.3)
    return 0


def _wait(record: processes.Recorded, runtime: Path) -> int:
    """The port on which JupyterLab answers."""
    note = runtime / f"jpserver-{record.pid}.json"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if not record.alive():
            raise MeshDown("JupyterLab ended as it started", cause="its last words are below",
                           fix=f"read {paths.shown(record.log)}; ./workbook doctor",
                           detail=processes.tail(record.log))
        try:
            port = int(json.loads(note.read_text(encoding="utf-8"))["port"])
        except (FileNotFoundError, ValueError, KeyError):
            time.sleep(0.1)  # not written yet, or half of it
            continue
        if not _is_free(port):
            return port
        time.sleep(0.1)
    raise NotReady(f"JupyterLab did not answer within {_START_SECONDS:.0f} s",
                   cause="this machine is slow or busy", fix="run it again",
                   detail=processes.tail(record.log))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _has_screen() -> bool:
    """Whether a browser could show anything; on a bare terminal it would open a text browser."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
