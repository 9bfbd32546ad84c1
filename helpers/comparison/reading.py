"""What the sidecar's Envoy holds of a set, in words that are the same on every mesh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.comparison.model import Places, PluginSet
from helpers.listeners import CONNECTION_MANAGER
from helpers.mesh.base import Mesh
from helpers.mesh.local.istiod import RESOURCE_PREFIX

PORT = 9080
#: The chain of productpage's own port, and the listener of the services that it calls.
CHAINS = {"inbound": ("virtualInbound", f"0.0.0.0_{PORT}"), "outbound": (f"0.0.0.0_{PORT}", "")}
VERSION = "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"
MARKER = "comparison-marker"


@dataclass(frozen=True)
class Seen:
    """What there is of a set in one sidecar.

    Attributes:
        refused: items that were not taken, with the field that was named.
        unmodelled: items that this mesh does not carry out, by its own word.
        filters: of each chain ("inbound network", "inbound http", …): (name, configuration) of
            each filter in order; a filter that ECDS configures has the types it accepts.
        ecds: name to configuration, for each filter of these chains that has one.
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    unmodelled: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    ecds: Mapping[str, Any] = field(default_factory=dict)

    def plugins(self, chain: str) -> tuple[str, ...]:
        """The plugins of a chain, in order, without the prefix of their names."""
        return tuple(
            name.removeprefix(RESOURCE_PREFIX)
            for name, _ in self.filters.get(chain, ())
            if name.startswith(RESOURCE_PREFIX)
        )


def read(
    mesh: Mesh,
    places: Places,
    tried: PluginSet,
    *,
    refused: Mapping[str, str],
    unmodelled: Mapping[str, str],
    versions: Mapping[str, str],
) -> Seen:
    """Read the sidecar's configuration.

    Args:
        versions: resourceVersion of each item that is there.
    """
    words = Words(places)
    filters: dict[str, tuple[tuple[str, Any], ...]] = {}
    listeners = mesh.proxy_config("listener").extra["json"]
    for side, (listener, chain) in CHAINS.items():
        filters |= _filters(side, _chains(listeners, listener, chain), words)
    names = {name for chain in filters.values() for name, _ in chain}
    ecds = {
        name: _config(entry["typed_config"], name, words, versions)
        for entry in mesh.proxy_config("ecds").extra["json"]
        if (name := words.name(entry["name"])) in names
    }
    return Seen(refused=refused, unmodelled=unmodelled, filters=filters, ecds=ecds)


class Words:
    """Names without the mesh's own names of namespaces."""

    def __init__(self, places: Places) -> None:
        self._places = {places.of(each): each for each in ("own", "root", "elsewhere")}

    def name(self, name: str) -> str:
        """A filter's or resource's name."""
        if not name.startswith(RESOURCE_PREFIX):
            return name
        return RESOURCE_PREFIX + self.config_name(name.removeprefix(RESOURCE_PREFIX))

    def config_name(self, name: str) -> str:
        """NAMESPACE.NAME"""
        namespace, _, rest = name.partition(".")
        return f"{self._places.get(namespace, namespace)}.{rest}"


def _chains(
    listeners: Iterable[Mapping[str, Any]], listener: str, chain: str
) -> list[Mapping[str, Any]]:
    """The HTTP chains of a listener, by name; on a cluster there is one for each kind of TLS."""
    found: list[Mapping[str, Any]] = []
    for each in listeners:
        if each["name"] != listener:
            continue
        every = [*each.get("filter_chains", ()), each.get("default_filter_chain", {})]
        found += [
            one
            for one in every
            if (not chain or one.get("name") == chain)
            and any(part["name"] == CONNECTION_MANAGER for part in one.get("filters", ()))
        ]
    return found


def _filters(
    side: str, chains: Iterable[Mapping[str, Any]], words: Words
) -> dict[str, tuple[tuple[str, Any], ...]]:
    """Network and HTTP filters of chains that must be alike; each that is not, by itself."""
    found: dict[str, tuple[tuple[str, Any], ...]] = {}
    for chain in chains:
        network: list[tuple[str, Any]] = []
        http: list[tuple[str, Any]] = []
        for part in chain["filters"]:
            network.append(_filter(part, words))
            if part["name"] == CONNECTION_MANAGER:
                http = [_filter(each, words) for each in part["typed_config"]["http_filters"]]
        for what, entries in (("network", network), ("http", http)):
            entries = [entry for entry in entries if MARKER not in entry[0]]
            name = f"{side} {what}"
            if found.setdefault(name, tuple(entries)) != tuple(entries):
                found[f"{name}, another chain"] = tuple(entries)
    return found


def _filter(entry: Mapping[str, Any], words: Words) -> tuple[str, Any]:
    name = words.name(entry["name"])
    if not name.startswith(RESOURCE_PREFIX):
        return name, None  # Istio's own: only its place counts here
    if "config_discovery" not in entry:
        return name, entry["typed_config"]
    found = entry["config_discovery"]
    return name, {
        "type_urls": found["type_urls"],
        "initial_fetch_timeout": found["config_source"].get("initial_fetch_timeout"),
    }


def _config(
    typed: Mapping[str, Any], name: str, words: Words, versions: Mapping[str, str]
) -> dict[str, Any]:
    """A filter's configuration; names and versions that each mesh has of its own are words."""
    if "config" not in typed:
        return dict(typed)
    config = dict(typed["config"])
    config["name"] = words.config_name(config.get("name", ""))
    vm = config["vm_config"] = dict(config.get("vm_config", {}))
    if values := vm.get("environment_variables", {}).get("key_values"):
        expected = versions.get(name.removeprefix(RESOURCE_PREFIX))
        known = {key: "(resourceVersion)" for key in values
                 if key == VERSION and values[key] == expected}  # fmt: skip
        vm["environment_variables"] = {
            **vm["environment_variables"],
            "key_values": {**values, **known},
        }
    return {**typed, "config": config}


def marked(mesh: Mesh, number: int) -> bool:
    """Whether both markers have reached Envoy with this number."""
    reached = [
        entry
        for entry in mesh.proxy_config("ecds").extra["json"]
        if MARKER in entry["name"]
        and entry["typed_config"]["config"]["configuration"].get("value") == f'{{"set":{number}}}'
    ]
    return len(reached) == 2
