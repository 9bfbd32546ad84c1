"""kubectl create, apply, patch and delete, on a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import manifests, paths
from helpers.errors import AlreadyExists, NotFound, NotReady
from helpers.mesh.base import Manifest
from helpers.mesh.cluster import applying, ownership, settling
from helpers.mesh.cluster.applying import WRITE
from helpers.mesh.cluster.errors import KindMissing
from helpers.mesh.cluster.resources import Resource
from helpers.mesh.cluster.settings import PUBLIC_IMAGES
from helpers.mesh.cluster.verbs_read import ReadVerbs
from helpers.mesh.local import kubectl
from helpers.show import Result

_STRATEGIC = "application/strategic-merge-patch+json"
_MERGE = "application/merge-patch+json"

#: Bookinfo's kinds: where they are there already, they are used as they are.
_USED_AS_THEY_ARE = ("Service", "ServiceAccount", "Deployment", "Namespace")

#: Seconds until a deleted object must be gone; finalizers of others may hold it.
_GONE_SECONDS = 60.0


class ObjectVerbs(ReadVerbs):
    """The verbs that change objects."""

    #: A change of Istio's objects is awaited at productpage's sidecars, so that the next request
    #: meets it. Whoever makes many changes and looks once may do without.
    awaits_sidecars = True

    def create_namespace(self, name: str) -> Result:
        """kubectl create namespace NAME

        Raises:
            AlreadyExists: it is there.
        """
        self._before_write()
        self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return self._result(kubectl.create_namespace(name), f"namespace/{name} created")

    def create_configmap(
        self, name: str, from_file: Mapping[str, Path], *, namespace: str | None = None
    ) -> Result:
        """kubectl create configmap NAME --from-file=KEY=PATH … (replaces one that is ours)

        Raises:
            BadManifest: over 1,048,576 bytes, or a bad name or key.
            NotFound: no such file, or no such namespace.
        """
        where = self._where(namespace)
        document = manifests.configmap_from_files(name, where, from_file)
        command = kubectl.create_configmap(name, from_file, where)
        self._before_write()
        try:
            self._create(document)
        except AlreadyExists:
            which = self._resources.of_manifest(document)
            there = self._read(which, where, name)
            if ownership.owner(there) != self.namespace:
                return self._result(
                    command, f"configmap/{name} in {where} left alone: it belongs to "
                    f"{ownership.belongs(there)}")
            self.connection.request(
                "PUT", which.path(where, name), query=WRITE,
                body=ownership.marked(document, self.namespace),
                about=which.about("update", where, name))
            note = ("a running pod sees the new files after the kubelet's next look, up to a "
                    "minute later. Envoy loads them only when the plugin object changes.")
            command += " --dry-run=client -o yaml | kubectl replace -f -"
            return self._result(command, f"configmap/{name} replaced", note)
        return self._result(command, f"configmap/{name} created")

    def apply(self, manifest: Manifest, *, namespace: str | None = None) -> Result:
        """kubectl apply --server-side -f MANIFEST

        Bookinfo's objects that were there before us are used as they are.

        Raises:
            BadManifest: the API server refuses an object by itself: nothing is applied. What it
                refuses because of the object that is there is met in turn.
            KindMissing: the cluster does not serve the kind.
            NotOurs: the object is somebody else's.
            FieldConflict: another manager has set a field of it to another value.
            NotFound: an object's namespace is not there.
        """
        where = self._where(namespace)
        found = manifests.load(manifest)
        source = paths.shown(manifest) if isinstance(manifest, Path) else "STDIN"
        self._before_write()
        placed = [self._placed(document, where) for document in found]
        for document in placed:
            applying.check(self.connection, self._resources.of_manifest(document), document,
                           source=source)
        lines: list[str] = []
        changed = False
        concerns = any(self._concerns(self._resources.of_manifest(each),
                                      str(each["metadata"].get("namespace", "")))
                       for each in placed)
        with settling.settled(self, concerns=concerns) as change:
            for document in placed:
                meant, other = self._with_images(document)
                changed = changed or other
                lines.append(self._apply(meant, source, change))
        notes = ((f"images {PUBLIC_IMAGES}/… are taken as {self.settings.images}/…",)
                 if changed else ())
        return self._result(kubectl.apply(manifest, found, where), "\n".join(lines), *notes)

    def _concerns(self, which: Resource, where: str) -> bool:
        """Whether a change there may reach the sidecars of our productpage."""
        return (self.awaits_sidecars and settling.is_istios(which.group)
                and where in (self.namespace, ownership.ROOT_NAMESPACE))

    def _apply(self, document: dict[str, Any], source: str, change: settling.Change) -> str:
        which = self._resources.of_manifest(document)
        name, where = document["metadata"]["name"], document["metadata"].get("namespace", "")
        before = self._read_or_none(which, where, name)
        shown = f"{which.kind.lower()}{f'.{which.group}' if which.group else ''}/{name}"
        if before is not None and ownership.owner(before) != self.namespace:
            if which.kind in _USED_AS_THEY_ARE:
                return f"{shown} unchanged: it belongs to {ownership.belongs(before)}"
            raise ownership.refuse(shown, before, kubectl.delete(which.kind.lower(), name, where,
                                                                 False))
        after = applying.send(
            self.connection, which, ownership.marked(document, self.namespace),
            which.about("patch", where, name, source=source,
                        doing="creating" if before is None else "patching"))
        same = (before is not None
                and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"])
        if not same:
            change.note(after)
        return f"{shown} {'created' if before is None else 'unchanged' if same else 'configured'}"

    def patch(
        self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str | None = None
    ) -> Result:
        """kubectl patch KIND NAME -p PATCH

        A Deployment that was there before us keeps its pod template in an annotation, so that
        `clean` and `delete` can restore it.

        Raises:
            NotFound: there is no such object.
            BadManifest: the API server refuses the patched object; the old one stays.
            NotOurs: the object is somebody else's, and no Deployment.
        """
        where = self._where(namespace)
        which = self._resources.named(kind)
        self._before_write()
        before = self._read(which, where, name)
        if ownership.owner(before) != self.namespace:
            if which.kind != "Deployment" or ownership.owner(before) is not None:
                raise ownership.refuse(f"{which.kind.lower()}/{name}", before,
                                       kubectl.delete(kind, name, where, False))
            if ownership.original(before) is None:
                before = self._send_patch(which, where, name, ownership.keep_original(before))
        with settling.settled(self, concerns=self._concerns(which, where)) as change:
            after = self._send_patch(which, where, name, patch)
            same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
            if not same:
                change.note(after)
        return self._result(kubectl.patch(kind, name, patch, where),
                            f"{kubectl.label(after)} patched{' (no change)' if same else ''}")

    def _send_patch(
        self, which: Resource, where: str, name: str, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        custom = "." in which.group and not which.group.endswith(".k8s.io")
        found: dict[str, Any] = self.connection.request(
            "PATCH", which.path(where, name), query=WRITE, body=dict(patch),
            content_type=_MERGE if custom else _STRATEGIC,
            about=which.about("patch", where, name))
        return found

    def delete(
        self, kind: str, name: str, *, namespace: str | None = None, missing_ok: bool = False
    ) -> Result:
        """kubectl delete KIND NAME [--ignore-not-found]; only what is ours.

        A Deployment of others that we patched gets its own pod template back.

        Raises:
            NotFound: it is not there, unless `missing_ok`.
            NotReady: a finalizer keeps it.
        """
        where = self._where(namespace)
        command = kubectl.delete(kind, name, where, missing_ok)
        try:
            which = self._resources.named(kind)
        except KindMissing:
            if not missing_ok:
                raise
            return self._result(command, "")
        self._before_write()
        there = self._read_or_none(which, where, name)
        if there is None:
            if missing_ok:
                return self._result(command, "")
            raise NotFound(
                f'Error from server (NotFound): {which.full} "{name}" not found',
                cause=f"namespace {where} has none of that name" if which.namespaced
                else "the cluster has none of that name",
                fix=f"kubectl get {kind} -A lists all")
        shown = f"{which.kind.lower()}{f'.{which.group}' if which.group else ''}"
        if ownership.owner(there) != self.namespace:
            if ownership.owner(there) is None and self._restore(which, there):
                return self._result(command, f'{shown} "{name}" restored to what it was before '
                                    "the workbook")
            left = f'{shown} "{name}" left alone: it belongs to {ownership.belongs(there)}'
            # Without a text where nothing was to be there anyway: nothing was taken away.
            return (self._result(command, "", left) if missing_ok
                    else self._result(command, left))
        with settling.settled(self, concerns=self._concerns(which, where)) as change:
            self._remove(which, where, name)
            change.note(None)
        return self._result(command, f'{shown} "{name}" deleted')

    def _restore(self, which: Resource, deployment: Mapping[str, Any]) -> bool:
        """Give a Deployment its own pod template back; whether there was anything to restore."""
        template = ownership.original(deployment) if which.kind == "Deployment" else None
        if template is None:
            return False
        meta = deployment["metadata"]
        self.connection.request(
            "PATCH", which.path(meta["namespace"], meta["name"]),
            content_type="application/json-patch+json",
            query=WRITE, about=which.about("patch", meta["namespace"], meta["name"]),
            body=[{"op": "replace", "path": "/spec/template", "value": template},
                  {"op": "remove", "path": "/metadata/annotations/"
                   + ownership.ORIGINAL.replace("~", "~0").replace("/", "~1")}])
        return True

    def _remove(self, which: Resource, where: str, name: str) -> None:
        self._send_delete(which, where, name)
        self._wait_gone(which, where, name)

    def _send_delete(self, which: Resource, where: str, name: str) -> None:
        self.connection.request(
            "DELETE", which.path(where, name), body={"propagationPolicy": "Background"},
            about=which.about("delete", where, name))

    def _wait_gone(self, which: Resource, where: str, name: str) -> None:
        deadline = time.monotonic() + _GONE_SECONDS
        while (there := self._read_or_none(which, where, name)) is not None:
            if time.monotonic() > deadline:
                held = ", ".join(there["metadata"].get("finalizers") or ()) or "?"
                raise NotReady(f"{which.kind.lower()}/{name} is still there after "
                               f"{_GONE_SECONDS:.0f} s", cause=f"finalizers hold it: {held}",
                               fix=f"kubectl get {which.plural} {name} -n {where} -o yaml")
            time.sleep(0.1)

    def _create(self, document: dict[str, Any]) -> dict[str, Any]:
        which = self._resources.of_manifest(document)
        meta = document["metadata"]
        where = meta.get("namespace", "")
        found: dict[str, Any] = self.connection.request(
            "POST", which.path(where), query=WRITE,
            body=ownership.marked(document, self.namespace),
            about=which.about("create", where, meta["name"], doing="creating"))
        return found

    def _placed(self, document: Mapping[str, Any], where: str) -> dict[str, Any]:
        """A document in the namespace that it means: `default` is the learner's own."""
        which = self._resources.of_manifest(document)
        meta = dict(document["metadata"])
        if which.namespaced:
            named = meta.get("namespace")
            meta["namespace"] = self._where(named) if named else where
        return {**document, "metadata": meta}

    def _with_images(self, document: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Bookinfo's images under the prefix of the settings; whether any changed."""
        prefix = self.settings.images
        if document["kind"] != "Deployment" or not prefix or prefix == PUBLIC_IMAGES:
            return document, False
        changed = manifests.load(document)[0]  # a copy of its own
        touched = False
        for container in changed["spec"]["template"]["spec"].get("containers") or ():
            image = str(container.get("image", ""))
            if image.startswith(f"{PUBLIC_IMAGES}/examples-bookinfo-"):
                container["image"] = prefix + image.removeprefix(PUBLIC_IMAGES)
                touched = True
        return changed, touched
