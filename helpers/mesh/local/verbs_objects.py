"""kubectl create, apply, patch, delete and get, on the local mesh."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import manifests, paths
from helpers.errors import AlreadyExists, NotFound, NotModelled
from helpers.mesh.base import Manifest
from helpers.mesh.local import kubectl, schema
from helpers.mesh.local.rollout import bookinfo_app
from helpers.mesh.local.verbs_pods import PodVerbs
from helpers.mesh.local.volumes import PROPAGATION_SECONDS
from helpers.show import Result, TableResult, table


class ObjectVerbs(PodVerbs):
    """The verbs that change or list objects."""

    def create_namespace(self, name: str) -> Result:
        """kubectl create namespace NAME"""
        with self._at_work():
            self._store.create_namespace(name)
        return self._result(kubectl.create_namespace(name), f"namespace/{name} created")

    def create_configmap(
        self, name: str, from_file: Mapping[str, Path], *, namespace: str | None = None
    ) -> Result:
        """kubectl create configmap NAME --from-file=KEY=PATH … (replaces one that is there)

        Raises:
            BadManifest: over 1,048,576 bytes, or a bad name or key.
            NotFound: no such file, or no such namespace.
        """
        where = namespace or self.namespace
        document = manifests.configmap_from_files(name, where, from_file)
        command = kubectl.create_configmap(name, from_file, where)
        with self._at_work():
            try:
                self._store.create(document)
            except AlreadyExists:
                self._store.replace(document)
                note = (
                    "a running pod sees the new files after the kubelet's next look: up to a "
                    f"minute on a cluster, {PROPAGATION_SECONDS:.0f} s here. Envoy loads them "
                    "only when the plugin object changes."
                )
                command += " --dry-run=client -o yaml | kubectl replace -f -"
                return self._result(command, f"configmap/{name} replaced", note)
        return self._result(command, f"configmap/{name} created")

    def apply(self, manifest: Manifest, *, namespace: str | None = None) -> Result:
        """kubectl apply -f MANIFEST

        Raises:
            BadManifest: the API server would refuse an object by itself; nothing of the file
                is applied. What it refuses because of the object that is there already (a
                field that never changes) is met in turn: the objects before it are applied.
            NotModelled: a cluster would take it, the local mesh does not; nothing is applied.
            NotFound: an object's namespace is not there; those before it are applied.
        """
        where = namespace or self.namespace
        found = manifests.load(manifest)
        source = paths.shown(manifest) if isinstance(manifest, Path) else "STDIN"
        for document in found:
            schema.validate(self._place(document, where), source=source)
            self._check_runnable(document)
        lines: list[str] = []
        with self._at_work():
            for document in found:
                outcome, stored = self._store.apply(document, source=source)
                lines.append(f"{kubectl.label(stored)} {outcome}")
        return self._result(kubectl.apply(manifest, found, where), "\n".join(lines))

    def patch(
        self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str | None = None
    ) -> Result:
        """kubectl patch KIND NAME -p PATCH

        Raises:
            NotFound: there is no such object.
            BadManifest: the API server would refuse the patched object; the old one stays.
            NotModelled: a cluster would take it, the local mesh does not; the old one stays.
        """
        where = namespace or self.namespace
        with self._at_work():
            before = self._store.get(kind, where, name)
            stored = self._store.patch(kind, where, name, patch, check=self._check_runnable)
        same = before["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
        return self._result(
            kubectl.patch(kind, name, patch, where),
            f"{kubectl.label(stored)} patched{' (no change)' if same else ''}",
        )

    def delete(
        self, kind: str, name: str, *, namespace: str | None = None, missing_ok: bool = False
    ) -> Result:
        """kubectl delete KIND NAME [--ignore-not-found]"""
        where = namespace or self.namespace
        command = kubectl.delete(kind, name, where, missing_ok)
        with self._at_work():
            try:
                gone = self._store.delete(kind, where, name)
            except NotFound:
                if not missing_ok:
                    raise
                return self._result(command, "")
        return self._result(command, f'{kubectl.label(gone, dot=True)} "{name}" deleted')

    def get(
        self, kind: str, name: str | None = None, *, namespace: str | None = None
    ) -> TableResult:
        """kubectl get KIND [NAME]"""
        where = namespace or self.namespace
        if kind.lower() in ("pod", "pods", "po"):
            return self.pods(namespace=where)
        with self._at_work():
            if name is None:
                found = self._store.list(kind, where)
            else:
                found = [self._store.get(kind, where, name)]
            ready = {
                (pod.namespace, pod.deployment)
                for pod in self._kubelet.pods.all()
                if pod.state == "ready"
            }
        columns, rows = kubectl.columns(found, ready)
        return table(
            columns,
            rows,
            command=kubectl.get(kind, name, where),
            mesh=self.kind,
            empty=f"No resources found in {where} namespace.",
            extra={"objects": found},
        )

    def _place(self, document: dict[str, Any], namespace: str) -> dict[str, Any]:
        meta = document.get("metadata")
        if document.get("kind") != "Namespace" and isinstance(meta, dict):
            meta.setdefault("namespace", namespace)
        return document

    def _check_runnable(self, document: Mapping[str, Any]) -> None:
        """Refuse what a cluster would take and this mesh could not run."""
        spec = document.get("spec")
        if not isinstance(spec, Mapping):
            return
        if document.get("kind") == "Deployment":
            with contextlib.suppress(KeyError, IndexError, TypeError):  # the schema says so better
                bookinfo_app(spec["template"])
            return
        wasm = spec if document.get("kind") == "WasmPlugin" else spec.get("wasm") or {}
        url = str(wasm.get("url", "")) if isinstance(wasm, Mapping) else ""
        if url and (url.startswith("oci://") or "://" not in url):
            raise NotModelled(
                f"the local mesh does not pull {url!r}",
                cause="a URL without a scheme means an OCI image, and this computer has no "
                "image registry to pull it from",
                fix="use file:// with a volume, http(s):// with a sha256, or a cluster",
            )
