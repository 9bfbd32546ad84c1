"""An API server of dicts for the verbs that change objects: what they ask, not how it travels."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from helpers.errors import AlreadyExists, NotFound

_CORE = [("Namespace", "namespaces", False), ("ConfigMap", "configmaps", True),
         ("Service", "services", True), ("ServiceAccount", "serviceaccounts", True),
         ("Pod", "pods", True)]
_GROUPS = {"": ("v1", _CORE), "apps": ("v1", [("Deployment", "deployments", True)]),
           "extensions.istio.io": ("v1alpha1", [("WasmPlugin", "wasmplugins", True),
                                                ("TrafficExtension", "trafficextensions", True)])}


_PLURALS = {plural for _, kinds in _GROUPS.values() for _, plural, _ in kinds}


def _is_in(key: str, path: str) -> bool:
    """Whether an object's path is in a list's, of a namespace or of the whole cluster."""
    top, _, plural = path.rpartition("/")
    inside, _, _ = key.rpartition("/")
    whole = inside.startswith(f"{top}/namespaces/") and inside.endswith(f"/{plural}")
    return inside == path or ("/namespaces/" not in path and whole)


def discovery(group: str, without: str = "") -> dict[str, Any]:
    """A group as aggregated discovery tells it (apidiscovery.k8s.io/v2)."""
    version, kinds = _GROUPS[group]
    return {"metadata": {"name": group} if group else {}, "versions": [{
        "version": version,
        "resources": [{"resource": plural, "responseKind": {"kind": kind},
                       "singularResource": kind.lower(), "verbs": ["list", "delete"],
                       "scope": "Namespaced" if namespaced else "Cluster"}
                      for kind, plural, namespaced in kinds if kind != without]}]}


class FakeConnection:
    """Stands in for `Connection`: keeps objects by path and every request that was made."""

    context, server, namespace = "fake", "https://fake", "default"

    def __init__(self, *, without: str = "") -> None:
        self.without = without
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self._versions = itertools.count(1)

    def close(self) -> None:
        """Nothing is open."""

    def put(self, path: str, obj: Mapping[str, Any]) -> None:
        """An object that somebody else made."""
        self.objects[path] = self._stored(dict(obj))

    def request(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None,
        content_type: str | None = None, about: Any = None, **_: Any
    ) -> Any:
        """One request, as `Connection.request`."""
        if (query or {}).get("dryRun") is None:
            self.asked.append((method, path))
        if isinstance(body, bytes):  # JSON that is YAML, too
            body = json.loads(body)
        if path in ("/api", "/apis"):
            groups = [name for name in _GROUPS if bool(name) == (path == "/apis")]
            return {"items": [discovery(name, self.without) for name in groups]}
        if method == "POST":
            whole = f"{path}/{body['metadata']['name']}"
            if whole in self.objects:
                raise AlreadyExists(f"{whole} already exists")
            if not (query or {}).get("dryRun"):
                self.objects[whole] = self._stored(body)
            return body
        if method == "GET" and path not in self.objects:
            name, _, value = str((query or {}).get("labelSelector") or "").partition("=")
            inside = [obj for key, obj in self.objects.items() if _is_in(key, path)
                      and (not name or (obj["metadata"].get("labels") or {}).get(name) == value)]
            if inside or path.rpartition("/")[2] in _PLURALS:
                return {"items": inside}
        if method == "PATCH" and content_type == "application/apply-patch+yaml":
            before = self.objects.get(path)
            same = before is not None and all(before.get(key) == value
                                              for key, value in body.items() if key != "metadata")
            if not same:
                self.objects[path] = self._stored(body)
            return self.objects[path]
        if path not in self.objects:
            raise NotFound(f"{path} not found")
        if method == "DELETE":
            return self.objects.pop(path)
        if method == "PUT":
            self.objects[path] = self._stored(body)
        if method == "PATCH" and isinstance(body, dict):
            self._merge(self.objects[path], body)
            self._stored(self.objects[path])
        elif method == "PATCH":  # a JSON patch: the restoring one
            self.objects[path]["spec"]["template"] = body[0]["value"]
            del self.objects[path]["metadata"]["annotations"]["istio-wasm-workbook/original"]
        return self.objects[path]

    def _merge(self, target: dict[str, Any], patch: Mapping[str, Any]) -> None:
        for key, value in patch.items():
            if isinstance(value, Mapping):
                self._merge(target.setdefault(key, {}), value)
            elif value is None:
                target.pop(key, None)
            else:
                target[key] = value

    def _stored(self, obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"] = {"creationTimestamp": "2026-11-24T10:00:00Z", **obj["metadata"],
                           "resourceVersion": str(next(self._versions))}
        return obj
