"""What is compared: sets of plugin objects, and single objects that may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from helpers.mesh.local.istiod import TRANSLATED
from helpers.mesh.local.kinds import ROOT_NAMESPACE
from helpers.plugin_objects import API_VERSION

Kind = Literal["WasmPlugin", "TrafficExtension"]
Place = Literal["own", "root", "elsewhere"]

#: A label of productpage's pods alone, with their namespace as value: what lies in the root
#: namespace is for every sidecar of a cluster, and must not reach other people's.
LABEL = "plugin-comparison"
#: Stands for the namespace in a label's value.
OWN = "(own namespace)"


@dataclass(frozen=True)
class Places:
    """The namespaces of one mesh.

    Attributes:
        own: where Bookinfo runs.
        elsewhere: another one, which is none of productpage's business.
    """

    own: str
    elsewhere: str
    root: str = ROOT_NAMESPACE

    def of(self, place: Place) -> str:
        """The namespace of that place."""
        return str(getattr(self, place))


@dataclass(frozen=True)
class Item:
    """One object of a set.

    Attributes:
        name: unique in a set for its kind and place.
        spec: as in a manifest; `OWN` stands for the namespace in a label.
    """

    kind: Kind
    name: str
    place: Place
    spec: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What the item is called in a table and in what was seen."""
        return f"{self.place}.{self.name}{TRANSLATED if self.kind == 'WasmPlugin' else ''}"

    def document(self, places: Places) -> dict[str, Any]:
        """The manifest, on a mesh with these namespaces."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "metadata": {"name": self.name, "namespace": places.of(self.place)},
            "spec": _placed(self.spec, places),
        }


def _placed(value: Any, places: Places) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(each, places) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_placed(each, places) for each in value]
    return places.own if value == OWN else value


@dataclass(frozen=True)
class PluginSet:
    """Objects that are there at the same time.

    Attributes:
        number: from 1.
        theme: what the set is about, a key of `sets.THEMES`.
        items: in the order in which they are made.
        aged: a second passes between one item and the next, so that each has an age of its own.
        refused: Envoy refuses a configuration of it; with it, it may refuse what came along.
    """

    number: int
    theme: str
    items: tuple[Item, ...]
    aged: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Doubtful:
    """One object that an API server may refuse.

    Attributes:
        number: from 1.
        what: what is doubtful about it, in a few words.
        manifest: the object, without a namespace.
    """

    number: int
    what: str
    manifest: Mapping[str, Any]
