"""Sets on a mesh: made, waited for, read, taken away. One Bookinfo serves them all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers import steps
from helpers.comparison import reading, values
from helpers.comparison.model import LABEL, Doubtful, Item, Places, PluginSet
from helpers.comparison.reading import MARKER, Seen
from helpers.errors import AlreadyExists, BadManifest, NotModelled, NotReady
from helpers.mesh.base import Mesh
from helpers.plugin_objects import API_VERSION

#: Seconds that istiod, pilot-agent (five tries of a download) and Envoy have for a set.
PATIENCE = 90.0
_PERIOD = 0.1


@dataclass(frozen=True)
class Answer:
    """What a mesh says about a doubtful object.

    Attributes:
        outcome: "taken", "refused", or "not modelled" by the local mesh.
        field: the first field that is named.
        message: the whole sentence.
    """

    outcome: str
    field: str = ""
    message: str = ""


@contextlib.contextmanager
def prepared(mesh: Mesh, wasm: Path | None = None) -> Iterator[Places]:
    """Bookinfo with a module in the sidecar and the markers; afterwards without plugins.

    Args:
        wasm: the module; by default the workbook's noop is built.

    Raises:
        BuildFailed, ToolchainMissing: there is no noop.
        NotReady: Bookinfo does not become ready.
    """
    places = Places(own=mesh.namespace, elsewhere=f"{mesh.namespace}-elsewhere")
    steps.start_from(mesh, "bookinfo")
    steps.create_configmap(mesh, wasm or steps.build_plugin("noop"))
    steps.patch_deployment(mesh, "patch-productpage-sidecar-volume.yaml")
    template = {
        "metadata": {
            "labels": {LABEL: places.own},
            "annotations": {
                # Chains that a set leaves behind keep their VMs while they drain: 45 s else.
                "proxy.istio.io/config": '{"drainDuration": "1s", "concurrency": 1}',
                "sidecar.istio.io/proxyMemoryLimit": "4Gi",
            },
        }
    }
    mesh.patch("deployment", steps.DEPLOYMENT, {"spec": {"template": template}})
    mesh.wait_ready(steps.DEPLOYMENT, timeout=180)
    with contextlib.suppress(AlreadyExists):  # a run that was cut off has left it
        mesh.create_namespace(places.elsewhere)
    try:
        yield places
    finally:
        for kind in values.KINDS:
            mesh.delete(kind, MARKER, missing_ok=True)
        mesh.delete("namespace", places.elsewhere, missing_ok=True)


def run(
    mesh: Mesh,
    places: Places,
    sets: Iterable[PluginSet],
    tell: Callable[[int], None] = lambda number: None,
) -> dict[int, Seen]:
    """What the sidecar holds of each set, by number.

    Raises:
        NotReady: a set does not reach the sidecar.
    """
    found: dict[int, Seen] = {}
    for each in sets:
        there: list[Item] = []
        try:
            found[each.number] = _one(mesh, places, each, there)
        finally:
            for item in there:
                where = places.of(item.place)
                mesh.delete(item.kind, item.name, namespace=where, missing_ok=True)
        tell(each.number)
    return found


def _one(mesh: Mesh, places: Places, tried: PluginSet, there: list[Item]) -> Seen:
    refused: dict[str, str] = {}
    unmodelled: dict[str, str] = {}
    for item in tried.items:
        if tried.aged and there:
            time.sleep(1.05)  # a creationTimestamp has whole seconds
        try:
            mesh.apply(item.document(places), namespace=places.of(item.place))
            there.append(item)
        except BadManifest as error:
            refused[item.key] = error.field
        except NotModelled as error:
            unmodelled[item.key] = error.what
    _mark(mesh, tried.number)
    _wait(mesh, tried)
    return reading.read(
        mesh,
        places,
        tried,
        refused=refused,
        unmodelled=unmodelled,
        versions=_versions(mesh, places, there),
    )


def _versions(mesh: Mesh, places: Places, items: Iterable[Item]) -> dict[str, str]:
    wanted = {(item.kind, item.place, item.name): item.key for item in items}
    found: dict[str, str] = {}
    for kind, place in dict.fromkeys((kind, place) for kind, place, _ in wanted):
        for obj in mesh.get(kind, namespace=places.of(place)).extra["objects"]:
            meta = obj["metadata"]
            if key := wanted.get((kind, place, meta["name"])):
                found[key] = str(meta["resourceVersion"])
    return found


def _mark(mesh: Mesh, number: int) -> None:
    """Change the markers: istiod sends them after whatever was changed before, kind by kind."""
    module = {"url": values.URL, "pluginConfig": {"set": number}}
    for kind in values.KINDS:
        spec = module if kind == "WasmPlugin" else {"wasm": module}
        metadata = {"name": MARKER, "namespace": mesh.namespace}
        mesh.apply({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})


def _wait(mesh: Mesh, tried: PluginSet) -> None:
    """Wait until istiod's state has reached Envoy, and Envoy has taken or refused it all.

    The markers show that istiod has sent it. A listener whose filters have no configuration yet
    is warming; a configuration that Envoy refuses ends that, too.
    """
    deadline = time.monotonic() + PATIENCE
    # With a refused configuration Envoy may pass over the markers that came along with it.
    enough = time.monotonic() + (3.0 if tried.refused else PATIENCE)
    while time.monotonic() < deadline:
        if reading.marked(mesh, tried.number) or time.monotonic() > enough:
            warming = mesh.stats(r"^listener_manager\.total_listeners_warming$")
            if not any(warming.values()):
                return
        time.sleep(_PERIOD)
    raise NotReady(
        f"set {tried.number} ({tried.theme}) has not reached the sidecar after {PATIENCE:.0f} s",
        cause="istiod or the sidecar is busy, or Envoy refuses what came along with the set",
        fix="look at the sidecar's log, and try again",
    )


def answers(
    mesh: Mesh,
    places: Places,
    objects: Iterable[Doubtful],
    tell: Callable[[int], None] = lambda number: None,
) -> dict[int, Answer]:
    """What the mesh says about each object, by number. What it takes is taken away again.

    They are tried where no sidecar is.
    """
    found: dict[int, Answer] = {}
    where = places.elsewhere
    for each in objects:
        kind, name = each.manifest["kind"], each.manifest["metadata"]["name"]
        try:
            mesh.apply({**each.manifest}, namespace=where)
        except BadManifest as error:
            found[each.number] = Answer("refused", error.field, error.what)
        except NotModelled as error:
            found[each.number] = Answer("not modelled", "", error.what)
        else:
            found[each.number] = Answer("taken")
            mesh.delete(kind, name, namespace=where, missing_ok=True)
        tell(each.number)
    return found
