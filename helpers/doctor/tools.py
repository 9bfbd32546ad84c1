"""Checks of the programs that the workbook works with, and of those that it only mentions."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import paths, shell, toolchain
from helpers.doctor.finding import Finding
from helpers.errors import CommandFailed, ToolchainMissing
from helpers.mesh.local import envoy

_SECONDS = 20.0
_TYPE = "type.googleapis.com/envoy.extensions.filters"


def rust() -> list[Finding]:
    """Can a module be built here, with what, and why with nothing better?"""
    found = toolchain.find()
    passed = "".join(f"; passed over: {p.kind} {p.path}: {p.reason}" for p in found.passed_over)
    if found.rustc is None:
        return [
            Finding(
                "Wasm toolchain",
                "warn",
                f"none: prebuilt modules are used{passed}",
                toolchain.install_plan().text,
            )
        ]
    std = ""
    if found.std is not None:
        std = (
            ", its std is built"
            if found.ready
            else ", its std is built once at the first build (1 to 3 minutes)"
        )
    return [
        Finding(
            "Wasm toolchain",
            "ok",
            f"{found.kind}: rustc {found.version} at {found.rustc}{std}{passed}",
        )
    ]


def envoy_version() -> list[Finding]:
    """Is Envoy here, and new enough?"""
    try:
        path, version = envoy.binary(), envoy.version()
    except ToolchainMissing as error:
        return [Finding("Envoy", "fail", f"{error.what}: {error.cause}", error.fix)]
    parts = tuple(int(part) for part in version.split(".")[:2])
    found = f"{version} at {paths.shown(path)}"
    if parts < envoy.MINIMUM_VERSION:
        return [
            Finding(
                "Envoy",
                "fail",
                found,
                "./workbook clean --all, then ./workbook run: "
                "the workbook needs Envoy 1.40 or newer",
            )
        ]
    return [Finding("Envoy", "ok", found)]


def envoy_runtime(module: Path | None = None) -> list[Finding]:
    """Does this Envoy really load a Wasm module? It is asked to.

    Args:
        module: which one; None means the prebuilt header-logger.
    """
    name = "Envoy's Wasm runtime"
    module = module or paths.plugins() / "prebuilt" / "header_logger.wasm"
    if not module.is_file():
        return [
            Finding(
                name,
                "fail",
                f"{paths.shown(module)} is not there",
                "the clone is not whole: git checkout -- plugins/prebuilt",
            )
        ]
    try:
        with tempfile.TemporaryDirectory(prefix="workbook-doctor-") as folder:
            envoy.validate(_with_wasm(module), Path(folder) / "wasm.json")
    except ToolchainMissing as error:
        return [Finding(name, "fail", f"{error.what}: {error.cause}", error.fix)]
    except CommandFailed as error:
        said = [line for line in error.detail.splitlines() if "[wasm]" in line]
        first = (said or error.detail.splitlines() or [error.what])[0]
        return [
            Finding(
                name,
                "fail",
                f"it does not load a module: {first}",
                "./workbook clean --all, then ./workbook run fetches Envoy anew",
            )
        ]
    return [Finding(name, "ok", "V8; it loaded and configured a module")]


def nix() -> list[Finding]:
    """Is nix here, and are flakes usable? Only notebook 02 asks for it."""
    program = shutil.which("nix")
    if program is None:
        return [Finding("nix", "ok", "not here; only notebook 02 is about it")]
    version = shell.run([program, "--version"], timeout=_SECONDS).output.strip()
    settings = shell.run(
        [program, "--extra-experimental-features", "nix-command", "show-config"],
        timeout=_SECONDS,
        check=False,
    )
    features = next(
        (
            line.partition("=")[2].split()
            for line in settings.output.splitlines()
            if line.startswith("experimental-features =")
        ),
        [],
    )
    if {"flakes", "nix-command"} <= set(features):
        return [Finding("nix", "ok", f"{version}, flakes are usable")]
    return [
        Finding(
            "nix",
            "warn",
            f"{version}, flakes are not switched on",
            "nix --extra-experimental-features 'nix-command flakes' develop .#wasm",
        )
    ]


def containers() -> list[Finding]:
    """Docker or podman: the workbook needs neither; a cluster on this computer would."""
    found = []
    for name in ("docker", "podman"):
        program = shutil.which(name)
        if program is not None:
            done = shell.run([program, "--version"], timeout=_SECONDS, check=False)
            found.append(done.output.strip().splitlines()[0] if done.output.strip() else name)
    said = "; ".join(found) or "neither docker nor podman"
    return [Finding("containers", "ok", f"{said} (the workbook needs none)")]


def kubeconfig(environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """Which clusters are known here? Read from the file only; no cluster is contacted."""
    import yaml

    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    places = named or [Path.home() / ".kube" / "config"]
    there = [path for path in places if path.is_file()]
    if not there:
        return [Finding("kubeconfig", "ok", "none; the local mesh needs no cluster")]
    contexts: list[str] = []
    current = ""
    for path in there:
        try:
            document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            contexts += [str(entry["name"]) for entry in document.get("contexts") or ()]
            current = current or str(document.get("current-context") or "")
        # Nothing of the parser's message is shown: it quotes the file, and with it its keys.
        except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError, KeyError):
            return [
                Finding(
                    "kubeconfig",
                    "warn",
                    f"{path} is no kubeconfig that can be read",
                    f"kubectl --kubeconfig {path} config get-contexts says what is wrong",
                )
            ]
    return [
        Finding(
            "kubeconfig",
            "ok",
            f"{len(contexts)} context(s), current: "
            f"{current or 'none'} (read from the file; no cluster was contacted)",
        )
    ]


def _with_wasm(module: Path) -> dict[str, Any]:
    """An Envoy configuration with one listener, whose HTTP filters are `module` and the router."""
    wasm = {
        "@type": f"{_TYPE}.http.wasm.v3.Wasm",
        "config": {
            "name": "doctor",
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": str(module)}},
            },
        },
    }
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "doctor",
        "route_config": {},
        "http_filters": [
            {"name": "wasm", "typed_config": wasm},
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}},
        ],
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "doctor",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ]
        }
    }
