"""The layers that only the running Envoy can tell: filter, configuration, requests."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import NoReturn

from helpers import listeners
from helpers.doctor.case import APP, PORT, ROOT_NAMESPACE, Case, LayerFails

_VERSION = "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"
#: The sidecar has two workers by default, each with its own VM: a few requests reach both.
_PROBES = 4
_AGENT = "workbook-doctor"
WAIT_SECONDS = 3.0

#: Envoy's words for a module that it did not get to run, and what they mean.
_REASONS = {
    "Invalid path": "Envoy found no file at the url's path when the plugin came, and has not "
    "looked again since: the volume must be there first",
    "missing import": "the module imports a function that this Envoy does not provide",
    "ABI version": "the file is no proxy-wasm module: it has no proxy_abi_version export",
    "corrupted Wasm": "the file is no module, or one that was cut short or damaged",
    "Failed to configure base Wasm plugin": "the module's on_configure returned false for this "
    "pluginConfig",
    "converting the wasm config to local": "pilot-agent could not fetch the module from its url",
    "failed to load": "Envoy could not load the module",
}
#: Envoy says why first and then, within a few lines, that the plugin failed.
_VAGUE = "failed to load"
_BEFORE = 12
PANIC = re.compile(r"Function: (\S+) failed")
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
        for _, chain in listeners.http_filters(listener)
        for name in chain
    ]
    for name in names:
        if case.is_ours(name):
            return f"{name} is in virtualInbound, before {_next(names, name)}"
    _need_istiod(case, f"virtualInbound has the filters {', '.join(dict.fromkeys(names))}")
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
        _need_istiod(case, f"Envoy holds version {have} of the plugin, the newest is {want}")
        line = case.newest_log("rejected", "Invalid path", "failed to load")
        raise LayerFails(
            f"Envoy holds version {have} of the plugin, the newest is {want}. {_message(line)}",
            cause=_reason(line) or "the newest was refused, or is still on its way",
            **again,
        )
    active = case.mesh.stats(r"^wasm\..*\.active$", case.the_pod.name)
    if not any(active.values()):
        # A sidecar may be set to keep no Wasm statistics: without words in the log, go on.
        refusal = _newest_refusal(case)
        if refusal:
            _no_vm(case, refusal, again)
    return f"ECDS has version {have or want}; {sum(active.values())} Wasm VMs are active"


def _need_istiod(case: Case, seen: str) -> None:
    """Name istiod as the cause where it is not there to send anything."""
    if away := case.istiod_away():
        raise LayerFails(
            seen,
            cause=away,
            command=f"kubectl rollout status deploy/istiod -n {ROOT_NAMESPACE}",
            call=f'mesh.pods(namespace="{ROOT_NAMESPACE}")',
        )


def _no_vm(case: Case, refusal: str, again: Mapping[str, str]) -> NoReturn:
    mend = {
        "command": f"kubectl logs {case.the_pod.name} -c istio-proxy | grep -E 'wasm|rejected'",
        "call": 'mesh.logs(grep="wasm"); steps.deploy(mesh, module) once the module is mended',
    }
    raise LayerFails(
        f"Envoy runs no Wasm VM. {_message(refusal)}",
        cause=_reason(refusal),
        **(again if "Invalid path" in refusal else mend),
    )


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
    found = PANIC.search(panic)
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


def _wait(case: Case, marks: tuple[str, ...]) -> str:
    """The newest line since the probe with one of `marks`; Envoy writes its log in batches."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = case.newest_log(*marks, since=case.since)
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


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
