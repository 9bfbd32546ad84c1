"""Files of a container that come from ConfigMaps, and how they are brought up to date."""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from helpers.errors import CommandFailed, NotFound, NotReady
from helpers.mesh.cluster import execing
from helpers.mesh.cluster.errors import About, Forbidden
from helpers.mesh.cluster.execing import Place

if TYPE_CHECKING:
    from helpers.mesh.cluster.connection import Connection

ANNOTATION = "istio-wasm-workbook/synced"
_PAUSE = 0.15
#: Seconds after which the kubelet is asked once more.
_AGAIN = 5.0
#: A line for each path: digest and size, or what is there instead.
_DIGESTS = (
    'for f in "$@"; do if [ -d "$f" ]; then echo "! Is a directory"; '
    'elif [ ! -e "$f" ]; then echo "! No such file or directory"; '
    'else s=$(sha256sum -- "$f") || exit 1; echo "${s%% *} $(wc -c <"$f")"; fi; done'
)


@dataclass(frozen=True)
class Digest:
    """A file's SHA-256 in hex and its size in bytes."""

    sha256: str
    size: int


def digests(
    connection: Connection, place: Place, paths: Sequence[str]
) -> dict[str, Digest | str]:
    """What lies at each path; a str says why there is no file.

    Raises:
        ProgramMissing: the image has no shell or no sha256sum.
        WorkbookError: as `execing.run`.
    """
    command = execing.bounded(["sh", "-c", _DIGESTS, "sh", *paths], 30)
    try:
        done = execing.run(connection, place, command)
    except execing.ProgramMissing as error:
        raise execing.ProgramMissing(
            error.what,
            cause="a distroless image holds no programs, so its files cannot be read",
            fix="use Istio's default image variant: values.global.variant=default",
        ) from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.code or len(lines) != len(paths):
        if done.code == 127 or "not found" in done.said:
            raise execing.ProgramMissing(
                f"container {place.container} of pod {place.pod} has no sha256sum",
                cause=done.said,
                fix="name another container",
            )
        raise CommandFailed(
            f"sha256sum failed in container {place.container} of pod {place.pod}",
            cause=done.said or f"exit code {done.code}",
            fix="kubectl exec … -- ls -l shows what is there",
        )
    found: dict[str, Digest | str] = {}
    for path, line in zip(paths, lines, strict=True):
        digest, _, rest = line.partition(" ")
        found[path] = rest if digest == "!" else Digest(digest.lstrip("\\"), int(rest))
    return found


def sync(connection: Connection, pod: Mapping[str, Any], *, timeout: float) -> list[str]:
    """Wait until the pod's files are what its ConfigMaps hold.

    Returns:
        Remarks: what was not waited for.

    Raises:
        NotReady: not in time.
    """
    where, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    notes: list[str] = []
    wanted = _wanted(connection, pod, notes)
    deadline = time.monotonic() + timeout

    def look() -> list[tuple[str, str]]:
        while True:
            try:
                return _stale(connection, where, name, wanted, notes)
            except execing.Broken:  # a restarted kubelet; looking again changes nothing
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    stale = look()
    touched, may = -math.inf, True
    while stale:
        # More than once: the kubelet may have looked before it heard of the new ConfigMap.
        if may and time.monotonic() - touched >= _AGAIN:
            touched = time.monotonic()
            may = _touch(connection, where, name, notes)
        if time.monotonic() > deadline:
            raise NotReady(
                f"{len(stale)} files of pod {name} are not what the ConfigMap has after "
                f"{timeout:.0f} s",
                cause="the kubelet has not refreshed the volume; it does so every minute or so",
                fix="wait and run this again, or mesh.restart(…) starts a new pod",
                detail="\n".join(f"{container}: {path}" for container, path in stale),
            )
        time.sleep(_PAUSE)
        stale = look()
    return list(dict.fromkeys(notes))


def _touch(connection: Connection, where: str, name: str, notes: list[str]) -> bool:
    """Change the pod's annotation; whether that is allowed."""
    change = {"metadata": {"annotations": {ANNOTATION: f"{time.time():.3f}"}}}
    try:
        connection.request(
            "PATCH",
            f"/api/v1/namespaces/{where}/pods/{name}",
            body=change,
            content_type="application/merge-patch+json",
            about=About("patch", "pods", "Pod", name=name, namespace=where),
        )
    except Forbidden as error:
        notes.append(f"the pod may not be annotated ({error.cause}), so the kubelet took its time")
        return False
    return True


#: For each container: the digest that each path should have; None: there should be no file.
Wanted = dict[str, dict[str, str]]


def _wanted(connection: Connection, pod: Mapping[str, Any], notes: list[str]) -> Wanted:
    """What the files of each container should be, by the ConfigMaps as they are now."""
    where = pod["metadata"]["namespace"]
    files: dict[str, dict[str, str]] = {}
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("configMap")
        if source is not None:
            found = _content(connection, where, source)
            if found is not None:
                files[volume["name"]] = found
    wanted: Wanted = {}
    spec = pod["spec"]
    stay = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *stay]:
        for mount in container.get("volumeMounts") or ():
            if mount["name"] not in files:
                continue
            if mount.get("subPath"):
                notes.append(f"{mount['mountPath']} is mounted by subPath, which a kubelet never "
                             "refreshes: only a new pod has the new file")
                continue
            mine = wanted.setdefault(container["name"], {})
            for path, digest in files[mount["name"]].items():
                mine[str(PurePosixPath(mount["mountPath"]) / path)] = digest
    return wanted


def _content(
    connection: Connection, where: str, source: Mapping[str, Any]
) -> dict[str, str] | None:
    """The digest of each file of a ConfigMap volume; None where there is no ConfigMap."""
    name = source["name"]
    try:
        found = connection.request(
            "GET",
            f"/api/v1/namespaces/{where}/configmaps/{name}",
            about=About("get", "configmaps", "ConfigMap", name=name, namespace=where),
        )
    except NotFound:
        return None  # the pod keeps the files that it has
    data = {key: text.encode() for key, text in (found.get("data") or {}).items()}
    data |= {key: base64.b64decode(b) for key, b in (found.get("binaryData") or {}).items()}
    digest = {key: hashlib.sha256(content).hexdigest() for key, content in data.items()}
    items = source.get("items")
    if items is None:
        return digest
    return {each["path"]: digest[each["key"]] for each in items if each["key"] in digest}


def _stale(
    connection: Connection, where: str, pod: str, wanted: Wanted, notes: list[str]
) -> list[tuple[str, str]]:
    stale = []
    for container, files in wanted.items():
        try:
            have = digests(connection, Place(where, pod, container), list(files))
        except execing.ProgramMissing as error:
            notes.append(f"{container} is not looked into: {error.what}")
            continue
        for path, digest in files.items():
            found = have[path]
            if not isinstance(found, Digest) or found.sha256 != digest:
                stale.append((container, path))
    return stale
