"""The objects that were applied to the local mesh, kept on disk.

This is the API server's part: it validates, stores, versions and lists. It runs nothing.
One file holds one object, `objects/NAMESPACE/KIND/NAME.json`; objects without a namespace
lie under `objects/_cluster/`. Every write is under a file lock, so that two processes (a
notebook and `workbook`) can use one store, and every file is replaced as a whole, so that
reading needs no lock.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import filelock

from helpers import files
from helpers.errors import AlreadyExists, BadManifest, Busy, NotModelled
from helpers.manifests import configmap_from_files as configmap_from_files
from helpers.mesh.local import kinds, merge, objects_errors, schema
from helpers.mesh.local.kinds import ROOT_NAMESPACE as ROOT_NAMESPACE
from helpers.mesh.local.kinds import Kind

#: Of every file of a store.
SCHEMA = 1
_CLUSTER = "_cluster"
_FIRST = ("default", ROOT_NAMESPACE)
_LONG = 180

Applied = Literal["created", "configured", "unchanged"]


class Store:
    """The objects under `folder`.

    A namespace of None means "default". Kinds may be named as for kubectl: "cm",
    "deployment", "wasmplugins.extensions.istio.io", in any case.

    Args:
        folder: holds `objects/` and the lock; made if absent.
        timeout: seconds to wait for another process that is writing.
    """

    def __init__(self, folder: Path, *, timeout: float = 10.0) -> None:
        self.folder = folder
        self._objects = folder / "objects"
        self._timeout = timeout
        with files.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            fresh = not self._version_file.exists()
        self._lock = filelock.FileLock(folder / "objects.lock", timeout=timeout)
        if fresh:
            with self.lock():
                if not self._version_file.exists():
                    self._start()

    def _start(self) -> None:
        for name in _FIRST:
            labels = {"kubernetes.io/metadata.name": name}
            if name == "default":
                labels["istio-injection"] = "enabled"
            self._add(
                kinds.NAMESPACE,
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": labels},
                },
                last=None,
            )

    # -- locking and versions -------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other writer out, in this process's other threads and elsewhere.

        A thread may enter again what it holds.

        Raises:
            Busy: somebody else held it for longer than `timeout`.
        """
        try:
            with files.writing(self.folder):
                self._lock.acquire()
        except filelock.Timeout as error:
            raise Busy(
                f"the objects under {self.folder} are being written by another process",
                cause=f"it has held {self._lock.lock_file} for more than {self._timeout:g} s",
                fix="let the other notebook or `workbook` command finish, then run this again",
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    @property
    def _version_file(self) -> Path:
        return self._objects / "resource-version.json"

    def version(self) -> int:
        """The newest resourceVersion: it grows with every change of any object."""
        try:
            found = files.read_json(self._version_file, version=SCHEMA)
        except FileNotFoundError:
            return 0
        if not isinstance(found, int):
            raise files.damaged(self._version_file)
        return found

    def _next_version(self) -> str:
        # Written before the object: a crash in between skips a number, never repeats one.
        number = self.version() + 1
        files.write_json(self._version_file, number, version=SCHEMA)
        return str(number)

    # -- reading --------------------------------------------------------------------------

    def namespaces(self) -> builtins.list[str]:
        """The names of all namespaces, sorted."""
        return [each["metadata"]["name"] for each in self.list("Namespace")]

    def get(self, kind: str, ns: str | None, name: str) -> dict[str, Any]:
        """One object.

        Raises:
            NotFound: as kubectl words it.
            BadState: its file is damaged.
        """
        which = kinds.resolve(kind)
        if which is kinds.CRD:
            for crd in self._crds():
                if crd["metadata"]["name"] == name:
                    return crd
            raise objects_errors.not_found(which, name)
        if (record := self._read(self._path(which, ns, name))) is None:
            raise objects_errors.not_found(which, name)
        found: dict[str, Any] = record["object"]
        return found

    def list(self, kind: str, ns: str | None = None) -> builtins.list[dict[str, Any]]:
        """All objects of a kind by namespace and name; `ns` None means every namespace."""
        which = kinds.resolve(kind)
        if which is kinds.CRD:
            return self._crds()
        pattern = f"{ns if which.namespaced and ns else '*'}/{which.kind}/*.json"
        records = (self._read(path) for path in sorted(self._objects.glob(pattern)))
        return [record["object"] for record in records if record is not None]

    def _crds(self) -> builtins.list[dict[str, Any]]:
        born = self.get("Namespace", None, ROOT_NAMESPACE)["metadata"]["creationTimestamp"]
        return kinds.definitions(born)

    # -- writing --------------------------------------------------------------------------

    def create_namespace(self, name: str) -> dict[str, Any]:
        """kubectl create namespace NAME"""
        return self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def create(self, obj: Mapping[str, Any], *, source: str = "STDIN") -> dict[str, Any]:
        """kubectl create: a new object.

        Args:
            source: the file it came from, for messages.

        Raises:
            AlreadyExists: one of that name is there.
            BadManifest: the API server would refuse it.
            NotModelled: a cluster would take it and this mesh does not.
            NotFound: its namespace does not exist.
        """
        obj = schema.validate(obj, verb="creating", source=source)
        which, path = self._place(obj)
        with self.lock():
            self._need_namespace(which, obj, source)
            if path.exists():
                raise AlreadyExists(
                    "Error from server (AlreadyExists): "
                    f'{which.resource} "{obj["metadata"]["name"]}" already exists',
                    cause="it was created before; create never replaces",
                    fix="use apply, or delete it first",
                )
            return self._add(which, obj, last=None)

    def replace(self, obj: Mapping[str, Any], *, source: str = "STDIN") -> dict[str, Any]:
        """kubectl replace: the whole object is exchanged; NotFound when there is none."""
        obj = schema.validate(obj, verb="replacing", source=source)
        which, path = self._place(obj)
        with self.lock():
            record = self._read(path)
            if record is None:
                raise objects_errors.not_found(which, obj["metadata"]["name"])
            return self._store(which, record, obj, record["last"])[1]

    def apply(
        self, obj: Mapping[str, Any], *, source: str = "STDIN"
    ) -> tuple[Applied, dict[str, Any]]:
        """kubectl apply --server-side --force-conflicts.

        What the last applied manifest had and this one lacks is removed; what a patch added
        stays. There is no last-applied annotation, so its 262,144 bytes are no limit here.

        Raises:
            BadManifest, NotModelled, NotFound: as for `create`.
        """
        schema.validate(obj, verb="creating", source=source)  # before looking at the old one
        which, path = self._place(obj)
        with self.lock():
            self._need_namespace(which, obj, source)
            record = self._read(path)
            if record is None:
                filled = schema.validate(obj, verb="creating", source=source)
                return "created", self._add(which, filled, last=obj)
            merged = merge.three_way(
                record["object"], record["last"] or {}, obj, keyed=which not in kinds.CUSTOM
            )
            old = record["object"]
            filled = schema.validate(merged, verb="patching", source=source, old=old)
            return self._store(which, record, filled, obj)

    def patch(
        self,
        kind: str,
        ns: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        check: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """kubectl patch: strategic for built-in kinds, RFC 7386 for custom resources.

        Args:
            check: gets the patched object before it is stored; what it raises keeps the old.

        Raises:
            NotFound: there is no such object.
            BadManifest, NotModelled: the patched object would be refused.
        """
        which = kinds.resolve(kind)
        path = self._path(which, ns, name)
        with self.lock():
            record = self._read(path)
            if record is None:
                raise objects_errors.not_found(which, name)
            lay = merge.json_merge if which in kinds.CUSTOM else merge.strategic_merge
            patched = lay(record["object"], patch)
            for field in ("name", "namespace"):
                if patched["metadata"].get(field) != record["object"]["metadata"].get(field):
                    raise BadManifest(
                        f"Error from server (BadRequest): the {field} of the object "
                        f"({patched['metadata'].get(field)}) does not match the {field} on the "
                        f"URL ({record['object']['metadata'].get(field)})"
                    )
            filled = schema.validate(
                patched, verb="patching", source=f"{which.plural}/{name}", old=record["object"]
            )
            check(filled)
            return self._store(which, record, filled, record["last"])[1]

    def delete(self, kind: str, ns: str | None, name: str) -> dict[str, Any]:
        """kubectl delete; gives back what was deleted. A namespace takes its objects along.

        Raises:
            NotFound: there is no such object.
            NotModelled: `default` and `istio-system` stay.
        """
        which = kinds.resolve(kind)
        path = self._path(which, ns, name)
        with self.lock():
            gone = self.get(kind, ns, name)
            if which is kinds.NAMESPACE:
                if name in _FIRST:
                    raise NotModelled(
                        f'namespaces "{name}" is forbidden: this namespace may not be deleted',
                        cause="the local mesh needs it",
                        fix="delete the objects in it instead",
                    )
                for inside in sorted((self._objects / name).glob("*/*.json")):
                    inside.unlink()
            path.unlink()
            self._next_version()
        return gone

    # -- how it lies on disk --------------------------------------------------------------

    def _path(self, which: Kind, ns: str | None, name: str) -> Path:
        # A name comes from a learner: it must not lead out of the folder.
        if which is kinds.CRD or "/" in name or "\\" in name or name in ("", ".", ".."):
            raise objects_errors.not_found(which, name)
        space = (ns or "default") if which.namespaced else _CLUSTER
        if "/" in space or "\\" in space or space in (".", ".."):
            raise objects_errors.no_namespace(space)
        if len(name) > _LONG:  # a name may have 253 letters, and so may a file, with its ending
            name = f"{name[:_LONG]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return self._objects / space / which.kind / f"{name}.json"

    def _place(self, obj: Mapping[str, Any]) -> tuple[Kind, Path]:
        meta = obj["metadata"]
        which = kinds.of_manifest(obj["apiVersion"], obj["kind"], meta["name"])
        return which, self._path(which, meta.get("namespace"), meta["name"])

    def _need_namespace(self, which: Kind, obj: Mapping[str, Any], source: str) -> None:
        ns = obj["metadata"].get("namespace") or "default"
        if which.namespaced and not self._path(kinds.NAMESPACE, None, ns).exists():
            raise objects_errors.no_namespace(ns, f'error when creating "{source}": ')

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            record = files.read_json(path, version=SCHEMA)
        except FileNotFoundError:
            return None
        if not isinstance(record, dict) or not {"object", "last"} <= record.keys():
            raise files.damaged(path)
        return record

    def _add(self, which: Kind, obj: Mapping[str, Any], last: Any) -> dict[str, Any]:
        new = copy.deepcopy(dict(obj))
        meta = new["metadata"]
        for field in ("resourceVersion", "uid", "generation", "creationTimestamp"):
            meta.pop(field, None)
        if which.namespaced:
            meta.setdefault("namespace", "default")
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta["resourceVersion"] = self._next_version()
        meta["generation"] = 1
        self._write(which, new, last)
        return new

    def _store(
        self, which: Kind, record: Mapping[str, Any], obj: Mapping[str, Any], last: Any
    ) -> tuple[Applied, dict[str, Any]]:
        old = record["object"]
        new = copy.deepcopy(dict(obj))
        for field in ("uid", "creationTimestamp", "resourceVersion", "generation", "namespace"):
            if field in old["metadata"]:
                new["metadata"][field] = old["metadata"][field]
        if new == old:
            if last != record["last"]:
                self._write(which, new, last)
            return "unchanged", new
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        new["metadata"]["resourceVersion"] = self._next_version()
        self._write(which, new, last)
        return "configured", new

    def _write(self, which: Kind, obj: Mapping[str, Any], last: Any) -> None:
        meta = obj["metadata"]
        path = self._path(which, meta.get("namespace"), meta["name"])
        files.write_json(path, {"object": obj, "last": last}, version=SCHEMA)
