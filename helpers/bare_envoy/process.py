"""The Envoy process of a bare Envoy: started in a temporary folder, ended by its pid."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import files
from helpers.bare_envoy.errors import EnvoyEnded
from helpers.bare_envoy.log import FORMAT, LogReader
from helpers.mesh.local import envoy

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


class Process:
    """One Envoy and its admin interface."""

    def __init__(
        self, folder: Path, bootstrap: Mapping[str, Any], *, log_level: str, concurrency: int
    ) -> None:
        self._admin_file = folder / "admin-address"
        self._admin: http.client.HTTPConnection | None = None
        files.write_json_plain(folder / "bootstrap.json", bootstrap)
        console = folder / "envoy.log"
        self.log = LogReader(console)
        with console.open("ab") as sink:
            self._child = subprocess.Popen(
                [
                    str(envoy.binary()),
                    "-c", str(folder / "bootstrap.json"),
                    # No shared memory, so that nothing is left behind however it ends.
                    "--disable-hot-restart",
                    "--concurrency", str(concurrency),
                    "--log-level", "warning",
                    # One line of the logger "main" tells which thread is the main one.
                    "--component-log-level", f"wasm:{log_level},main:info",
                    "--log-format", FORMAT,
                    "--admin-address-path", str(self._admin_file),
                    "--file-flush-interval-msec", "1",
                    "--drain-time-s", "1",
                    "--parent-shutdown-time-s", "2",
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: close() ends it
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def wait_live(self) -> None:
        """Wait until it serves.

        Raises:
            EnvoyEnded: it ended, or the time is up.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.check("while it started")
            if self._admin_file.exists() and self._admin_file.read_text().strip():
                try:
                    if self.get("/ready").strip() == "LIVE":
                        return
                except EnvoyEnded:  # 503 until it is; the next round tells whether it ended
                    pass
            time.sleep(0.01)
        raise EnvoyEnded(
            f"Envoy does not serve after {_START_SECONDS:.0f} s",
            cause="a plugin takes too long to start, or the machine is very busy",
            fix="its last words are below",
            detail=self.log.last(),
        )

    def check(self, when: str) -> None:
        """Raise EnvoyEnded when it has ended."""
        if self.alive():
            return
        status = self._child.returncode
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise EnvoyEnded(
            f"Envoy ended {when} ({how})",
            cause="its last words are below",
            fix="a plugin that can end Envoy is a defect of the plugin or of Envoy: "
            "try the request alone",
            detail=self.log.last(),
        )

    def get(self, path: str, *, method: str = "GET") -> str:
        """Ask the admin interface.

        Raises:
            EnvoyEnded: it does not answer with 200.
        """
        try:
            if self._admin is None:
                host, _, port = self._admin_file.read_text().strip().rpartition(":")
                self._admin = http.client.HTTPConnection(host, int(port), timeout=10)
            self._admin.request(method, path)
            answer = self._admin.getresponse()
            content = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self._admin = None
            raise EnvoyEnded(
                "Envoy's admin interface does not answer",
                cause=f"{type(error).__name__}: {error}",
                fix="its last words are below",
                detail=self.log.last(),
            ) from error
        if answer.status != 200:
            raise EnvoyEnded(f"Envoy's admin interface answers {answer.status} to {path}",
                             cause=content.strip()[:200], detail=self.log.last())
        return content

    def ports(self) -> dict[str, int]:
        """The bound port of each listener, by listener name."""
        found = json.loads(self.get("/listeners?format=json"))
        return {
            entry["name"]: entry["local_address"]["socket_address"]["port_value"]
            for entry in found.get("listener_statuses", ())
        }

    def close(self) -> None:
        """End it, politely first, and close what was opened for it."""
        if self._admin is not None:
            self._admin.close()
        if self.alive():
            self._child.terminate()
            try:
                self._child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self.log.read()
        self.log.close()
