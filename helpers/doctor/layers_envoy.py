"""The layers that only the running Envoy can tell: filter, configuration, requests, log."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from helpers.doctor.case import APP, PORT, Case, LayerFails

_HCM = "envoy.filters.network.http_connection_manager"
_VERSION = "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"
#: The sidecar has two workers by default, each with its own VM: a few requests reach both.
_PROBES = 4
_AGENT = "workbook-doctor"
_WAIT_SECONDS = 3.0
_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")

#: Envoy's words for a module that it did not get to run, and what they mean.
_REASONS = {
    "Invalid path": "Envoy found no file at the url's path when the plugin came, and has not "
    "looked again since: the volume must be there first",
    "missing import": "the module imports a function that this Envoy does not provide",
    "ABI version": "the file is no proxy-wasm module: it has no proxy_abi_version export",
    "corrupted Wasm": "the module was cut short or damaged",
    "Failed to configure base Wasm plugin": "the module's on_configure returned false for this "
    "pluginConfig",
    "converting the wasm config to local": "pilot-agent could not fetch the module from its url",
    "failed to load": "Envoy could not load the module",
}
#: Envoy says why first and then, within a few lines, that the plugin failed.
_VAGUE = "failed to load"
_BEFORE = 12
_PANIC = re.compile(r"Function: (\S+) failed")
_PANICS = {
    "proxy_on_context_create": "the code panics when a context is made: its RootContext lacks "
    "get_type or create_http_context",
    "proxy_on_request_headers": "the code panics while it handles a request's headers: a header "
    "that is not UTF-8, read as a String, does that, and every later request on that worker "
    "fails too",
}


def filters(case: Case) -> str:
    """The inbound listener's HTTP filter chain has the plugin."""
    shown = case.mesh.proxy_config("listener", case.the_pod.name)
    names = [
        name
        for listener in shown.extra["json"]
        if listener["name"] == "virtualInbound"
        for name in _http_filters(listener)
    ]
    for name in names:
        if case.is_ours(name):
            return f"{name} is in virtualInbound, before {_next(names, name)}"
    raise LayerFails(
        f"virtualInbound has the filters {', '.join(dict.fromkeys(names)) or 'none'}",
        cause="istiod has not sent the plugin to this sidecar, or Envoy still waits for a "
        "configuration that it can accept before it uses the listener" + _newest_reason(case),
        command=f"istioctl proxy-status; kubectl annotate {case.label} --overwrite "
        "workbook/touched=now",
        call=_touch(case),
    )


def accepted(case: Case) -> str:
    """Envoy took the newest configuration of the plugin."""
    if case.spec.get("lua"):
        return "a Lua script: its code is in the listener itself"
    held = case.mesh.proxy_config("ecds", case.the_pod.name).extra["json"]
    mine = next((entry for entry in held if case.is_ours(entry["name"])), None)
    again = {
        "command": f"kubectl annotate {case.label} --overwrite workbook/touched=now",
        "call": _touch(case),
    }
    if mine is None:
        line = case.newest_log("rejected", "Invalid path", "failed to load")
        raise LayerFails(
            f"Envoy holds no configuration for it. {_message(line)}",
            cause=_reason(line) or "its configuration was refused",
            **again,
        )
    config = mine["typed_config"]
    if "rbac" in str(config.get("@type", "")):
        line = case.newest_log("converting the wasm config to local")
        raise LayerFails(
            f"an RBAC filter stands in the plugin's place. {_message(line)}",
            cause=_REASONS["converting the wasm config to local"],
            command=f"kubectl get {case.label} -o yaml: is url right, is sha256?",
            call="steps.apply_wasmplugin(mesh)",
        )
    values = config["config"]["vm_config"].get("environment_variables", {}).get("key_values", {})
    have, want = values.get(_VERSION), str(case.plugin["metadata"].get("resourceVersion", ""))
    if have is not None and have != want:
        line = case.newest_log("rejected", "Invalid path", "failed to load")
        raise LayerFails(
            f"Envoy holds version {have} of the plugin, the newest is {want}. {_message(line)}",
            cause=_reason(line) or "the newest was refused, or is still on its way",
            **again,
        )
    active = sum(case.mesh.stats(r"^wasm\..*\.active$", case.the_pod.name).values())
    return f"ECDS has version {have or want}; {active} Wasm VMs are active"


def requests(case: Case) -> str:
    """Requests pass the filter."""
    place = "" if case.namespace == case.mesh.namespace else f".{case.namespace}"
    url = f"http://{APP}{place}:{PORT}/{APP}"
    case.since = time.time()
    case.answers = tuple(
        case.mesh.curl(url, headers={"User-Agent": f"{_AGENT}/{number}"}, pod=case.the_pod.name)
        for number in range(_PROBES)
    )
    lost = [answer for answer in case.answers if answer.status in (0, 403, 500, 503)]
    said = ", ".join(str(answer.status or "no answer") for answer in case.answers)
    if not lost:
        return f"{_PROBES} requests: {said}"
    worst = lost[-1]
    if worst.status == 0:
        _no_answer(case, worst.error, said)
    line = _wait(case, ("Function: proxy_", "wasm_fail_stream")) if worst.status == 503 else ""
    panic = case.newest_log("Function: proxy_", since=case.since) or case.newest_log(
        "Function: proxy_"
    )
    found = _PANIC.search(panic)
    if worst.status == 503 and (found or line):
        function = found[1] if found else "a function"
        raise LayerFails(
            f"{_PROBES} requests: {said}; access log flag wasm_fail_stream; {_message(panic)}",
            cause=_PANICS.get(function, f"the code panics in {function}")
            + f" (the VM trapped in {function})",
            command=f"kubectl logs {case.the_pod.name} -c istio-proxy | "
            "grep -A 20 'Function: proxy_'   # the backtrace; mend the code, build, deploy",
            call='steps.deploy(mesh, steps.build_plugin("header-logger"))',
        )
    newest = _newest_refusal(case)
    raise LayerFails(
        f"{_PROBES} requests: {said}; {_message(newest)}",
        cause=_reason(newest) or "the filter has no usable plugin, or the application failed",
        command=f"kubectl logs {case.the_pod.name} -c istio-proxy | grep -E 'wasm|rejected'",
        call='mesh.logs(grep="wasm"); steps.deploy(mesh, module) once the module is mended',
    )


def _no_answer(case: Case, error: str, said: str) -> NoReturn:
    if "reset" in error.lower():
        raise LayerFails(
            f"{_PROBES} requests: {said}; {error}",
            cause="a request from istio-proxy itself is plain text, and PeerAuthentication "
            "STRICT refuses that",
            command="send it from the application's container: kubectl exec POD -c productpage …",
            call='steps.curl(mesh, container="productpage")',
        )
    raise LayerFails(
        f"{_PROBES} requests: {said}; {error}",
        cause="nothing takes requests there",
        command=f"kubectl get endpoints {APP} -n {case.namespace}",
        call='mesh.restart("productpage-v1")',
    )


def level(case: Case) -> str:
    """The sidecar's wasm logger lets the plugin's lines through."""
    levels: Mapping[str, str] = case.mesh.proxy_config("log", case.the_pod.name).extra["json"]
    now = levels.get("wasm", "")
    if now not in _LEVELS:
        raise LayerFails(
            f"the sidecar has no logger wasm; it has {', '.join(levels) or 'none'}",
            cause="an Envoy without the Wasm extension has none",
            command=f"istioctl proxy-config log {case.the_pod.name} -n {case.namespace}",
            call='mesh.proxy_config("log")',
        )
    wanted = _asked(case)
    if _LEVELS.index(now) > _LEVELS.index(wanted):
        raise LayerFails(
            f"wasm: {now}; the plugin's lines are of level {wanted}",
            cause="the sidecar drops a plugin's lines below its wasm logger's level; the requests "
            "passed the filter all the same, and nothing in pluginConfig changes the logger",
            command=f"istioctl proxy-config log {case.the_pod.name} -n {case.namespace} "
            f"--level wasm:{wanted}   # this pod, until it restarts; for each new pod the "
            f"annotation sidecar.istio.io/componentLogLevel: wasm:{wanted}",
            call=f'mesh.set_log_level("wasm:{wanted}")',
        )
    case.logger = now
    return f"wasm: {now}"


def _asked(case: Case) -> str:
    """The level at which the plugin logs, as far as its configuration tells."""
    setting = str((case.wasm.get("pluginConfig") or {}).get("log_level", "")).lower()
    named = {"warn": "warning"}.get(setting, setting)
    return named if named in _LEVELS[:-1] else "info"


def line(case: Case) -> str:
    """The plugin's line is there."""
    deadline = time.monotonic() + _WAIT_SECONDS
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
    panic = _PANIC.search(case.newest_log("Function: proxy_"))
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


def _plugin_line(case: Case) -> Any:
    def of(found: str) -> str | None:
        _, mark, rest = found.partition("wasm log ")
        name, separator, _ = rest.partition(": ")
        return f"{mark}{rest}" if mark and separator and case.is_ours(name) else None

    return of


def _wait(case: Case, marks: tuple[str, ...]) -> str:
    """The newest line since the probe with one of `marks`; Envoy writes its log in batches."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        found = case.newest_log(*marks, since=case.since)
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _http_filters(listener: Mapping[str, Any]) -> list[str]:
    return [
        str(entry["name"])
        for chain in listener.get("filter_chains", ())
        for part in chain.get("filters", ())
        if part["name"] == _HCM
        for entry in part["typed_config"]["http_filters"]
    ]


def _next(names: list[str], name: str) -> str:
    after = names[names.index(name) + 1 :]
    return after[0] if after else "nothing"


def _message(found: str) -> str:
    """A log line without its time, level and scope."""
    parts = found.split("\t")
    return parts[3] if len(parts) > 3 else found


def _reason(found: str) -> str:
    return next((reason for mark, reason in _REASONS.items() if mark in found), "")


def _newest_refusal(case: Case) -> str:
    """The newest line that says why Envoy did not get to run a module, or ""."""
    lines = case.mesh.logs(case.the_pod.name).lines
    at = next((n for n in reversed(range(len(lines))) if _reason(lines[n])), None)
    if at is None:
        return ""
    recent = [found for found in lines[max(0, at - _BEFORE) : at + 1] if _reason(found)]
    return next((found for found in reversed(recent) if _VAGUE not in found), lines[at])


def _newest_reason(case: Case) -> str:
    found = case.newest_log("rejected", "Invalid path")
    return f". {_message(found)}" if found else ""


def _touch(case: Case) -> str:
    return (
        f'mesh.patch("{str(case.plugin["kind"]).lower()}", "{case.plugin_name}", '
        '{"metadata": {"annotations": {"workbook/touched": "now"}}}'
        f', namespace="{case.plugin_namespace}")'
    )
