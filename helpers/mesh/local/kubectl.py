"""What a person would type, and how kubectl prints objects."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helpers import manifests, paths
from helpers.errors import BadInput, NotFound
from helpers.mesh.base import Manifest
from helpers.mesh.local import kinds
from helpers.mesh.local.access import Headers
from helpers.mesh.local.pods import Pod


def create_namespace(name: str) -> str:
    return f"kubectl create namespace {name}"


def create_configmap(name: str, from_file: Mapping[str, Path], namespace: str) -> str:
    parts = [f"kubectl create configmap {name}"]
    parts += [f"  --from-file={key}={paths.shown(path)}" for key, path in from_file.items()]
    return " \\\n".join([*parts, f"  -n {namespace}"])


def apply(manifest: Manifest, found: Sequence[Mapping[str, Any]], namespace: str) -> str:
    """The command; a manifest that is no file stands in it whole, so that it can be pasted."""
    if isinstance(manifest, Path):
        name = shlex.quote(paths.shown(manifest))
        return f"kubectl apply --server-side -f {name} -n {namespace}"
    text = manifests.to_yaml(*found)
    end = "EOF"
    while end in text.splitlines():  # a line of the text must not end it early
        end += "_"
    return f"kubectl apply --server-side -n {namespace} -f - <<'{end}'\n{text}{end}"


def patch(kind: str, name: str, change: Mapping[str, Any], namespace: str) -> str:
    custom = kinds.resolve(kind) in kinds.CUSTOM
    text = shlex.quote(json.dumps(change, separators=(",", ":")))
    return (
        f"kubectl patch {kind} {name} -n {namespace}{' --type merge' if custom else ''} -p {text}"
    )


def delete(kind: str, name: str, namespace: str, missing_ok: bool) -> str:
    extra = " --ignore-not-found" if missing_ok else ""
    return f"kubectl delete {kind} {name} -n {namespace}{extra}"


def get(kind: str, name: str | None, namespace: str) -> str:
    which = kind.lower()
    scope = ""
    if which not in ("pod", "pods", "po") and not kinds.resolve(kind).namespaced:
        return f"kubectl get {kind}{f' {name}' if name else ''}"
    scope = f" -n {namespace}"
    return f"kubectl get {kind}{f' {name}' if name else ''}{scope}"


def curl(
    pod: str, container: str, url: str, headers: Headers, method: str, data: bytes | None
) -> str:
    words = ["kubectl", "exec", pod, "-c", container, "--", "curl", "-s"]
    if method != "GET":
        words += ["-X", method]
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    quoted = [shlex.quote(word) for word in words]
    for name, value in pairs:
        quoted += ["-H", _quoted_header(name, value)]
    if data is not None:
        quoted += ["--data-binary", shlex.quote(data[:60].decode("utf-8", "replace"))]
    return " ".join([*quoted, shlex.quote(url)])


def _quoted_header(name: str, value: str | bytes) -> str:
    """A header as a shell word; bytes that are no text in bash's $'…', so that they arrive."""
    raw = value if isinstance(value, bytes) else value.encode()
    try:
        return shlex.quote(f"{name}: {raw.decode()}")
    except UnicodeDecodeError:
        plain = raw.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
        return f"$'{name}: {plain.decode('ascii', 'backslashreplace')}'"


def logs(pod: str, container: str, since: float | None, tail: int | None, grep: str | None) -> str:
    text = f"kubectl logs {pod} -c {container}"
    if since is not None:
        stamp = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text += f" --since-time={stamp}"
    # kubectl's --tail counts before grep filters, so with grep it becomes a tail of its own.
    if tail is not None and grep is None:
        text += f" --tail={tail}"
    if grep is not None:
        text += f" | grep -F {shlex.quote(grep)}"
        if tail is not None:
            text += f" | tail -n {tail}"
    return text


def label(obj: Mapping[str, Any], *, dot: bool = False) -> str:
    """An object as kubectl names it in its answers: "deployment.apps/x", "configmap/x"."""
    which = kinds.of_manifest(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    kind = which.kind.lower() + (f".{which.group}" if which.group else "")
    return kind if dot else f"{kind}/{obj['metadata']['name']}"


def age(since: float) -> str:
    """Seconds since the epoch as kubectl shows an age: "5s", "3m12s", "2h", "4d"."""
    seconds = max(0, int(time.time() - since))
    if seconds < 120:
        return f"{seconds}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def parse_selector(selector: str | None) -> dict[str, str]:
    """ "app=productpage,version=v1" as a mapping.

    Raises:
        BadInput: a part is not NAME=VALUE.
    """
    found: dict[str, str] = {}
    for part in (selector or "").split(","):
        if not part.strip():
            continue
        name, equals, value = part.replace("==", "=").partition("=")
        if not equals or not name.strip():
            raise BadInput(
                f"selector {part!r} is not understood",
                cause="the local mesh takes equality selectors, NAME=VALUE",
                fix='for example "app=productpage"',
            )
        found[name.strip()] = value.strip()
    return found


def columns(
    objects: Iterable[Mapping[str, Any]], ready: Collection[tuple[str, str]]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The headings and rows that `kubectl get` prints for objects of one kind.

    Args:
        ready: namespace and name of each Deployment that has a ready pod.
    """
    found = list(objects)
    kind = found[0]["kind"] if found else ""
    if kind == "CustomResourceDefinition":
        return ("NAME", "CREATED AT"), [
            (o["metadata"]["name"], o["metadata"]["creationTimestamp"]) for o in found
        ]
    rows: list[tuple[Any, ...]] = []
    headings: tuple[str, ...] = ("NAME", "AGE")
    for obj in found:
        meta = obj["metadata"]
        old = age(datetime.fromisoformat(meta["creationTimestamp"]).timestamp())
        if kind == "ConfigMap":
            headings = ("NAME", "DATA", "AGE")
            count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
            rows.append((meta["name"], count, old))
        elif kind == "Deployment":
            headings = ("NAME", "READY", "AGE")
            want = obj["spec"].get("replicas", 1)
            have = min(want, int((meta["namespace"], meta["name"]) in ready))
            rows.append((meta["name"], f"{have}/{want}", old))
        elif kind == "Service":
            headings = ("NAME", "PORT(S)", "AGE")
            ports = ",".join(f"{p['port']}/TCP" for p in obj["spec"].get("ports") or ())
            rows.append((meta["name"], ports, old))
        elif kind == "Namespace":
            headings = ("NAME", "STATUS", "AGE")
            rows.append((meta["name"], "Active", old))
        else:
            rows.append((meta["name"], old))
    return headings, rows


def pick(pods: Sequence[Pod], name: str | None, namespace: str) -> Pod:
    """The pod that a learner means.

    Args:
        name: a pod's name, "deploy/NAME" or "app=NAME"; None means productpage. Where a
            rollout has two, the ready one serves and is meant.

    Raises:
        NotFound: none fits.
    """
    here = [pod for pod in pods if pod.namespace == namespace]
    if name is None or "=" in name:
        wanted = parse_selector(name or "app=productpage")
        fit = [p for p in here if all(p.labels.get(k) == v for k, v in wanted.items())]
    elif name.startswith(("deploy/", "deployment/")):
        fit = [p for p in here if p.deployment == name.split("/", 1)[1]]
    else:
        fit = [p for p in here if p.name == name.removeprefix("pod/")]
    if not fit:
        raise NotFound(
            f'Error from server (NotFound): pods "{name or "app=productpage"}" not found',
            cause=f"namespace {namespace} has: "
            + (", ".join(pod.name for pod in here) or "no pods"),
            fix='mesh.apply(Path("manifests/bookinfo.yaml")), or another name',
        )
    ready = [pod for pod in fit if pod.state == "ready"]
    return (ready or fit)[-1]
