"""Deployments: which pods there should be (the Deployment controller's part)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from helpers.errors import BadManifest, NotFound, NotModelled
from helpers.mesh.local import volumes
from helpers.mesh.local.events import Events
from helpers.mesh.local.objects import Store
from helpers.mesh.local.pods import Pod, Pods, suffix, template_hash

_APPS = ("productpage", "details", "reviews", "ratings")


def bookinfo_app(template: Mapping[str, Any]) -> tuple[str, str]:
    """Which Bookinfo app, and which version, a pod template runs, by its image's name.

    Raises:
        NotModelled: another image: this computer has no container engine.
    """
    image = str(template["spec"]["containers"][0].get("image", ""))
    name = image.rsplit("/", 1)[-1].split(":")[0].removeprefix("examples-bookinfo-")
    app, _, version = name.partition("-")
    if app not in _APPS:
        raise NotModelled(
            f"the local mesh does not run the image {image!r}",
            cause="it has no container engine; it runs Bookinfo's apps "
            f"({', '.join(_APPS)}) as small programs of its own",
            fix="use a cluster for other images",
        )
    return app, version or "v1"


class Rollout:
    """Pods that follow their Deployments: a new one first, the old one after it is ready.

    Args:
        stop: ends a pod's processes and forgets it.
    """

    def __init__(
        self, store: Store, pods: Pods, events: Events, stop: Callable[[Pod], None]
    ) -> None:
        self._store = store
        self._pods = pods
        self._events = events
        self._stop = stop

    def roll_out(self) -> None:
        """Make a pod for each changed pod template; end pods that nothing owns any more."""
        wanted = {
            (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj
            for obj in self._store.list("Deployment")
        }
        existing = self._pods.all()
        for (namespace, name), obj in wanted.items():
            if obj["spec"].get("replicas", 1) < 1:
                continue
            template = obj["spec"]["template"]
            digest = template_hash(template)
            mine = [p for p in existing if (p.namespace, p.deployment) == (namespace, name)]
            if any(pod.hash == digest for pod in mine):
                continue
            self._create(namespace, name, template, digest)
        for pod in existing:
            owner = wanted.get((pod.namespace, pod.deployment))
            if owner is None or owner["spec"].get("replicas", 1) < 1:
                self._stop(pod)

    def _create(self, namespace: str, name: str, template: dict[str, Any], digest: str) -> None:
        labels = self._store.get("Namespace", None, namespace)["metadata"].get("labels") or {}
        annotations = template.get("metadata", {}).get("annotations") or {}
        app, _ = bookinfo_app(template)
        pod = Pod(
            name=f"{name}-{digest}-{suffix()}",
            namespace=namespace,
            deployment=name,
            hash=digest,
            template=template,
            created=time.time(),
            # One real Envoy on this computer: productpage's. The others run without.
            sidecar=app == "productpage"
            and labels.get("istio-injection") == "enabled"
            and str(annotations.get("sidecar.istio.io/inject", "true")) != "false",
        )
        try:
            volumes.mounts(pod)  # a bad annotation is refused before there is a pod
        except BadManifest as error:
            self._note(
                f"replicaset/{name}-{digest}",
                namespace,
                "Warning",
                "FailedCreate",
                "replicaset-controller",
                f"Error creating: admission webhook denied the request: {error.what}: "
                f"{error.cause}",
            )
            return
        self._pods.save(pod)
        self._note(
            f"deployment/{name}",
            namespace,
            "Normal",
            "ScalingReplicaSet",
            "deployment-controller",
            f"Scaled up replica set {name}-{digest} from 0 to 1",
        )
        self._note(
            f"pod/{pod.name}",
            namespace,
            "Normal",
            "Scheduled",
            "default-scheduler",
            f"Successfully assigned {namespace}/{pod.name} to this-computer",
        )

    def retire(self) -> None:
        """End old pods once a newer one of the same Deployment is ready, or still older."""
        by_owner: dict[tuple[str, str], list[Pod]] = {}
        for pod in self._pods.all():
            by_owner.setdefault((pod.namespace, pod.deployment), []).append(pod)
        for (namespace, name), mine in by_owner.items():
            if len(mine) < 2:
                continue
            try:
                spec = self._store.get("Deployment", namespace, name)["spec"]
            except NotFound:
                continue
            digest = template_hash(spec["template"])
            newest = next((pod for pod in mine if pod.hash == digest), None)
            for pod in mine:
                if pod is newest:
                    continue
                superseded = newest is not None and newest.state == "ready"
                # A rollout that was overtaken before it became ready never serves, and the
                # Deployment controller removes unhealthy old pods first.
                unhealthy = pod.state in ("pending", "starting", "crashed")
                if superseded or (newest is not None and unhealthy):
                    self._stop(pod)

    def _note(
        self, obj: str, namespace: str, kind: str, reason: str, source: str, message: str
    ) -> None:
        self._events.add(
            kind=kind, reason=reason, obj=obj, source=source, message=message, namespace=namespace
        )
