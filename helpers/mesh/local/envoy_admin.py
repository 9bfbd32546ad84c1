"""Envoy's admin interface and log file, for one sidecar."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from helpers.errors import BadInput, MeshDown
from helpers.processes import tail

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
ROTATE_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Files:
    """Where one sidecar's files lie.

    Attributes:
        root: what stands for the root file system of the istio-proxy container.
        log: Envoy's, pilot-agent's and the access log's lines together, as `kubectl logs`
            shows them.
    """

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def xds(self) -> Path:
        return self.folder / "xds"

    @property
    def bootstrap(self) -> Path:
        return self.folder / "envoy-rev.json"

    @property
    def admin(self) -> Path:
        return self.folder / "admin-address"

    @property
    def log(self) -> Path:
        return self.folder / "istio-proxy.log"

    @property
    def console(self) -> Path:
        """What Envoy prints before its log file is open, and a crash's last words."""
        return self.folder / "console.log"


class Admin:
    """Envoy's admin interface (https://www.envoyproxy.io/docs/envoy/latest/operations/admin)."""

    def __init__(self, where: Files) -> None:
        self._where = where

    def get(self, path: str) -> str:
        """GET a path of the admin interface."""
        return self._call("GET", path)

    def post(self, path: str) -> str:
        """POST a path of the admin interface."""
        return self._call("POST", path)

    def config_dump(self) -> dict[str, Any]:
        """/config_dump as a document."""
        found: dict[str, Any] = json.loads(self.get("/config_dump"))
        return found

    def ports(self) -> dict[str, int]:
        """The bound port of each listener, by listener name."""
        found = json.loads(self.get("/listeners?format=json"))
        return {
            entry["name"]: entry["local_address"]["socket_address"]["port_value"]
            for entry in found.get("listener_statuses", ())
        }

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose name matches the regular expression `pattern`."""
        found: dict[str, int] = {}
        text = self._call("GET", "/stats", {"filter": pattern})
        for line in text.splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found

    def live(self) -> bool:
        """Whether Envoy says that it serves."""
        try:
            return self.get("/ready").strip() == "LIVE"
        except MeshDown:
            return False

    def log_levels(self) -> dict[str, str]:
        """The level of each logger."""
        return _parse_loggers(self.post("/logging"))

    def set_log_level(self, spec: str) -> dict[str, str]:
        """Set levels as `istioctl proxy-config log --level` takes them.

        Args:
            spec: "wasm:info", "wasm=info,http:debug", or one level for every logger.

        Raises:
            BadInput: an unknown logger or level, worded as istioctl words it.
        """
        known = self.log_levels()
        changes: list[str] = []
        for part in spec.split(","):
            name, _, level = part.strip().replace("=", ":").rpartition(":")
            level = {"warn": "warning"}.get(level, level)
            if level not in LEVELS:
                raise BadInput(
                    f"unrecognized logging level: {level or part!r}",
                    cause="Envoy has the levels " + ", ".join(LEVELS),
                    fix='for example "wasm:info"',
                )
            if name and name != "level" and name not in known:
                raise BadInput(
                    f"unrecognized logger name: {name}",
                    cause="Envoy has no logger of that name",
                    fix='the logger of Wasm plugins is "wasm": use "wasm:info"',
                )
            changes.append(f"{name or 'level'}={level}")
        for change in changes:
            self.post(f"/logging?{change}")
        return self.log_levels()

    def _call(self, method: str, path: str, params: Mapping[str, str] | None = None) -> str:
        try:
            address = self._where.admin.read_text().strip()
            # verify=False: plain HTTP to loopback; loading certificates would cost 60 ms a call.
            with httpx.Client(timeout=10, trust_env=False, verify=False) as client:
                answer = client.request(method, f"http://{address}{path}", params=params)
            answer.raise_for_status()
        except (OSError, httpx.HTTPError) as error:
            raise MeshDown(
                "the sidecar's Envoy does not answer",
                cause=f"{type(error).__name__}: {error}",
                fix='mesh.restart("productpage-v1") starts a new pod',
                detail=tail(self._where.log),
            ) from error
        return answer.text


def _parse_loggers(text: str) -> dict[str, str]:
    levels: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, level = line.strip().partition(": ")
        if separator and level in LEVELS:
            levels[name] = level
    return levels


def rotate(where: Files, *, limit: int = ROTATE_BYTES) -> bool:
    """Set the log aside as `.1` once it is over `limit` bytes; whether that was done.

    Envoy reopens its files on /reopen_logs, so no line is lost: until then it writes to the
    renamed file.

    Raises:
        MeshDown: Envoy does not answer; then the log has its old name.
    """
    aside = where.log.with_name(where.log.name + ".1")
    try:
        if where.log.stat().st_size <= limit:
            return False
        where.log.replace(aside)
    except FileNotFoundError:  # the pod is being removed, or its Envoy has not started yet
        return False
    try:
        Admin(where).post("/reopen_logs")
    except MeshDown:
        # Under the other name it would never be looked at again, and grow.
        if not where.log.exists():
            with contextlib.suppress(FileNotFoundError):  # the pod was removed meanwhile
                aside.replace(where.log)
        raise
    return True
