"""The last two layers: the sidecar's log level, and the line itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from helpers import module as modules
from helpers.doctor.case import Case, LayerFails
from helpers.doctor.layers_envoy import PANIC, WAIT_SECONDS

#: The host calls by which a module of ABI 0.2 or 0.1 gets its configuration.
_READS_CONFIGURATION = {"proxy_get_buffer_bytes", "proxy_get_configuration"}
#: The setting's name, and not that of proxy_get_log_level or of the SDK's set_log_level.
_SETTING = re.compile(rb"(?<!get_)(?<!set_)log_level")
_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")


def level(case: Case) -> str:
    """The sidecar's logger for plugins, wasm or lua, lets the plugin's lines through."""
    levels: Mapping[str, str] = case.mesh.proxy_config("log", case.the_pod.name).extra["json"]
    name = case.logger_name
    now = levels.get(name, "")
    if now not in _LEVELS:
        raise LayerFails(
            f"the sidecar has no logger {name}; it has {', '.join(levels) or 'none'}",
            cause="an Envoy without that extension has none",
            command=f"istioctl proxy-config log {case.the_pod.name} -n {case.namespace}",
            call='mesh.proxy_config("log")',
        )
    wanted = _asked(case)
    if _LEVELS.index(now) > _LEVELS.index(wanted):
        raise LayerFails(
            f"{name}: {now}; the plugin's lines are of level {wanted}",
            cause=f"the sidecar drops a plugin's lines below its {name} logger's level; the "
            "requests passed the filter all the same, and pluginConfig does not change the logger",
            command=f"istioctl proxy-config log {case.the_pod.name} -n {case.namespace} "
            f"--level {name}:{wanted}   # this pod, until it restarts; for each new pod the "
            f"annotation sidecar.istio.io/componentLogLevel: {name}:{wanted}",
            call=f'mesh.set_log_level("{name}:{wanted}")',
        )
    case.logger = now
    return f"{name}: {now}"


def _asked(case: Case) -> str:
    """The level at which the plugin logs, as far as its configuration and its code tell."""
    setting = str((case.wasm.get("pluginConfig") or {}).get("log_level", "")).lower()
    named = {"warn": "warning"}.get(setting, setting)
    if named not in _LEVELS[:-1]:
        return "info"
    # A louder logger would bring nothing out of code that never looks at the setting.
    louder = _LEVELS.index(named) < _LEVELS.index("info")
    return "info" if louder and not _may_read_level(case.module) else named


def _may_read_level(module: bytes | None) -> bool:
    """Whether a module can be one that reads `log_level` from its configuration.

    It must be able to ask for the configuration, which every module of the Rust SDK can, used
    or not; and it must hold the name of the setting. Where its bytes are not at hand, it may.
    """
    if module is None:
        return True
    wanted = {entry.name for entry in modules.inspect_bytes(module, Path("module.wasm")).imports}
    return bool(wanted & _READS_CONFIGURATION) and _SETTING.search(module) is not None


def line(case: Case) -> str:
    """The plugin's line is there."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        lines = case.mesh.logs(case.the_pod.name, since=case.since).lines
        own = [found for found in map(_plugin_line(case), lines) if found is not None]
        hits = [found for found in own if case.text in found]
        if hits:
            return f"found: {hits[-1]}"
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    seen = (
        f"{len(own)} lines of the plugin since the probe, none with {case.text!r}"
        if own
        else "no line of the plugin since the probe"
    )
    panic = PANIC.search(case.newest_log("Function: proxy_"))
    if case.wasm.get("failStrategy") == "FAIL_OPEN" and panic:
        raise LayerFails(
            seen,
            cause=f"the code panicked in {panic[1]} earlier, and failStrategy FAIL_OPEN "
            "lets requests pass without it since",
            command=f"kubectl logs {case.the_pod.name} -c istio-proxy | grep 'Function: proxy_'",
            call="mend the code, then steps.deploy(mesh, module)",
        )
    if _LEVELS.index(case.logger) > _LEVELS.index("info"):
        raise LayerFails(
            seen,
            cause=f"the wasm logger is at {case.logger}, which drops lines of level info; the "
            "code logs at info, whatever pluginConfig.log_level says, unless it reads that",
            command=f"istioctl proxy-config log {case.the_pod.name} -n {case.namespace} "
            "--level wasm:info",
            call='mesh.set_log_level("wasm:info")',
        )
    raise LayerFails(
        seen,
        cause=f"all layers hold, so the code itself does not log {case.text!r} at info for "
        "this request; or Envoy still runs the code it loaded before the file changed",
        command=f"kubectl annotate {case.label} --overwrite workbook/touched=now   # loads anew",
        call="read src/lib.rs, then steps.deploy(mesh, steps.cargo_build().module)",
    )


def _plugin_line(case: Case) -> Callable[[str], str | None]:
    """A function that gives the plugin's part of a log line, or None for other lines."""

    def of(found: str) -> str | None:
        if case.spec.get("lua"):
            # Envoy does not say which script a line is from.
            _, mark, rest = found.partition("script log: ")
            return f"{mark}{rest}" if mark else None
        _, mark, rest = found.partition("wasm log ")
        name, separator, _ = rest.partition(": ")
        return f"{mark}{rest}" if mark and separator and case.is_ours(name) else None

    return of
