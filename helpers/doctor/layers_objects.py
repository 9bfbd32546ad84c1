"""The layers that objects alone decide: pod, plugin, selector, direction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from helpers.doctor.case import APP, KINDS, PORT, ROOT_NAMESPACE, SIDECAR, Case, LayerFails
from helpers.mesh.base import PodInfo
from helpers.mesh.telling import most_telling

_INJECT = "sidecar.istio.io/inject"


def pod(case: Case) -> str:
    """Productpage's newest pod is ready and has a sidecar."""
    pods = case.mesh.pods(f"app={APP}", namespace=case.namespace).pods
    if not pods:
        _no_pod(case)
    newest = max(pods, key=lambda found: found.created)
    case.pod = newest
    if not newest.is_ready:
        _not_ready(case, newest, others=len(pods) - 1)
    case.template = _template(case, newest)
    if SIDECAR not in newest.containers:
        _no_sidecar(case, newest)
    return f"{newest.name}, {newest.ready} {newest.status}"


def _no_sidecar(case: Case, newest: PodInfo) -> NoReturn:
    seen = f"{newest.name} has the containers {', '.join(newest.containers)}: no sidecar"
    meta: Mapping[str, Any] = case.template.get("metadata") or {}
    said = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    if said.get(_INJECT) == "false":
        raise LayerFails(
            seen,
            cause=f"the plugin runs in {SIDECAR}, and the pod template says {_INJECT}: false",
            command="kubectl patch deploy productpage-v1 -n " + case.namespace + " -p '"
            + json.dumps({"spec": {"template": {"metadata": {"labels": {_INJECT: "true"}}}}})
            + "'",
            call='mesh.patch("deployment", "productpage-v1", …)',
        )
    found = case.find("namespace", case.namespace, case.namespace) or {}
    labels: Mapping[str, str] = (found.get("metadata") or {}).get("labels") or {}
    if labels.get("istio.io/dataplane-mode") == "ambient":
        raise LayerFails(
            seen,
            cause=f"namespace {case.namespace} is in ambient mode: ztunnel carries its traffic, "
            "and plugins run in a waypoint, not in the pod",
            command=f"kubectl label namespace {case.namespace} istio.io/dataplane-mode- "
            "istio-injection=enabled --overwrite && kubectl rollout restart deploy/productpage-v1 "
            "-n " + case.namespace,
            call='mesh.restart("productpage-v1"), after labelling the namespace',
        )
    off = labels.get("istio-injection") == "disabled"
    raise LayerFails(
        seen,
        cause=f"the plugin runs in {SIDECAR}; namespace {case.namespace} "
        + ("has the label istio-injection=disabled" if off
           else "had no label istio-injection=enabled when the pod was made"),
        command=f"kubectl label namespace {case.namespace} istio-injection=enabled "
        "--overwrite && kubectl rollout restart deploy/productpage-v1 -n " + case.namespace,
        call='mesh.restart("productpage-v1"), after labelling the namespace',
    )


def _no_pod(case: Case) -> NoReturn:
    events = case.mesh.events(namespace=case.namespace).events
    refused = [e for e in events if e.reason == "FailedCreate" and APP in e.object]
    if refused:
        raise LayerFails(
            f"no pod; {refused[-1].reason}: {refused[-1].message}",
            cause="the Deployment's pod was refused before it was made",
            command="kubectl edit deploy productpage-v1 -n " + case.namespace,
            call="steps.patch_deployment(mesh, …)",
        )
    raise LayerFails(
        f"namespace {case.namespace} has no pod with the label app={APP}",
        cause="Bookinfo is not deployed there",
        command=f"kubectl apply -f manifests/bookinfo.yaml -n {case.namespace}",
        call="steps.deploy_bookinfo(mesh)",
    )


def _not_ready(case: Case, newest: PodInfo, *, others: int) -> NoReturn:
    state = f"{newest.name} is {newest.ready} {newest.status}"
    serving = "; the old pod keeps serving, without the change" if others else ""
    warnings = [
        event
        for event in case.mesh.events(namespace=case.namespace).events
        if event.type == "Warning" and event.object.endswith(f"/{newest.name}")
    ]
    if not warnings:
        raise LayerFails(
            state + serving,
            cause="it is still starting, and nothing is known against it",
            command=f"kubectl rollout status deploy/productpage-v1 -n {case.namespace}",
            call='mesh.wait_ready("productpage-v1")',
        )
    last = most_telling(warnings)
    seen = f"{state}{serving}; {last.reason}: {last.message}"
    if last.reason == "FailedMount" and 'configmap "' in last.message:
        name = last.message.split('configmap "', 1)[1].split('"')[0]
        elsewhere = case.holders("configmap", name)
        there = f"; there is one in {', '.join(elsewhere)}" if elsewhere else ""
        raise LayerFails(
            seen,
            cause=f"a pod mounts ConfigMaps of its own namespace only, and {case.namespace} has "
            f"no ConfigMap {name}{there}",
            command=f"kubectl create configmap {name} --from-file=istio_wasm_demo.wasm=MODULE "
            f"-n {case.namespace}",
            call=f'steps.create_configmap(mesh, module, namespace="{case.namespace}")',
        )
    raise LayerFails(
        seen,
        cause="the kubelet says so in its event",
        command=f"kubectl describe pod {newest.name} -n {case.namespace}",
        call="mesh.events()",
    )


def _template(case: Case, newest: PodInfo) -> dict[str, object]:
    for found in case.mesh.get("deployment", namespace=case.namespace).extra["objects"]:
        wanted = (found["spec"].get("selector") or {}).get("matchLabels") or {}
        if wanted and all(newest.labels.get(key) == value for key, value in wanted.items()):
            template: dict[str, object] = found["spec"]["template"]
            return template
    raise LayerFails(
        f"{newest.name} belongs to no Deployment of namespace {case.namespace}",
        cause="what it mounts is read from its Deployment",
        command="kubectl apply -f manifests/bookinfo.yaml",
        call="steps.deploy_bookinfo(mesh)",
    )


def plugin(case: Case) -> str:
    """There is a plugin object where it can concern the pod."""
    name = case.plugin_name
    for place in dict.fromkeys((case.namespace, ROOT_NAMESPACE)):
        for kind in KINDS:
            found = case.find(kind, name, place)
            if found is not None:
                case.plugin = found
                root = (
                    " (the root namespace: for every workload)"
                    if place == ROOT_NAMESPACE != case.namespace
                    else ""
                )
                return f"{found['kind']} {name} in {place}{root}"
    elsewhere = [(kind, place) for kind in KINDS for place in case.holders(kind, name)]
    if elsewhere:
        kind, place = elsewhere[0]
        raise LayerFails(
            f"{kind} {name} is in namespace {place}, the pod in {case.namespace}",
            cause="a plugin concerns the pods of its own namespace; only one in the root "
            f"namespace {ROOT_NAMESPACE} concerns all. It was accepted without a word",
            command=f"kubectl delete {kind} {name} -n {place} && "
            f"kubectl apply -f manifests/wasmplugin.yaml -n {case.namespace}",
            call=f'mesh.delete("{kind}", "{name}", namespace="{place}"); '
            "steps.apply_wasmplugin(mesh)",
        )
    others = [
        entry["metadata"]["name"]
        for kind in KINDS
        for entry in case.mesh.get(kind, namespace=case.namespace).extra["objects"]
    ]
    raise LayerFails(
        f"no WasmPlugin or TrafficExtension {name} in {case.namespace} or {ROOT_NAMESPACE}; "
        f"{case.namespace} has: {', '.join(others) or 'none'}",
        cause="without one, istiod puts no filter into the sidecar",
        command="kubectl apply -f manifests/wasmplugin.yaml",
        call="steps.apply_wasmplugin(mesh)",
    )


def selector(case: Case) -> str:
    """The plugin's selector fits the pod's labels."""
    if case.spec.get("targetRefs") or case.spec.get("targetRef"):
        raise LayerFails(
            "the plugin has targetRefs",
            cause="targetRefs attach a plugin to gateways and waypoints, never to a sidecar",
            command=f"kubectl edit {case.label}: use selector.matchLabels instead",
            call="steps.apply_wasmplugin(mesh)",
        )
    wanted = (case.spec.get("selector") or {}).get("matchLabels") or {}
    labels = case.the_pod.labels
    wrong = {key: value for key, value in wanted.items() if labels.get(key) != value}
    if wrong:
        has = ", ".join(
            f"{key}={labels[key]}" if key in labels else f"no label {key}" for key in wrong
        )
        asked = ", ".join(f"{key}={value}" for key, value in wrong.items())
        patch = json.dumps({"spec": {"selector": {"matchLabels": {"app": APP}}}})
        raise LayerFails(
            f"the selector wants {asked}; the pod has {has}",
            cause="a selector must fit in every label; the object is accepted all the same",
            command=f"kubectl patch {case.label} --type merge -p '{patch}'",
            call="steps.apply_wasmplugin(mesh)",
        )
    shown = ", ".join(f"{key}={value}" for key, value in wanted.items())
    return f"{shown} fits" if shown else "no selector: every pod of the namespace"


def direction(case: Case) -> str:
    """The plugin's `match` covers requests that come in to the application's port."""
    matches = case.spec.get("match") or ()
    if not matches:
        return "no match: inbound and outbound"
    said: list[str] = []
    for each in matches:
        mode = each.get("mode") or "UNDEFINED"
        ports = [entry.get("number") for entry in each.get("ports") or ()]
        said.append(mode + (f" ports {', '.join(map(str, ports))}" if ports else ""))
        if mode in ("SERVER", "CLIENT_AND_SERVER", "UNDEFINED") and (not ports or PORT in ports):
            return f"match {said[-1]} covers inbound requests to port {PORT}"
    raise LayerFails(
        f"match is {'; '.join(said)}",
        cause=f"requests that come in to port {PORT} pass only filters that match SERVER "
        "(inbound) traffic of that port; CLIENT means the calls that the pod itself makes",
        command=f"kubectl patch {case.label} --type merge "
        """-p '{"spec":{"match":[{"mode":"SERVER"}]}}'""",
        call='steps.apply_wasmplugin(mesh, match=[{"mode": "SERVER"}])',
    )
