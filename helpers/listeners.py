"""What a listener of Envoy holds, as a configuration dump shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The network filter that the HTTP filters belong to.
CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"


def http_filters(listener: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The HTTP filters of each of a listener's filter chains, in order.

    Returns:
        For each chain of HTTP: its name ("-" for none) and the names of its filters.
    """
    return [
        (
            str(chain.get("name", "-")),
            [str(entry["name"]) for entry in part["typed_config"]["http_filters"]],
        )
        for chain in listener.get("filter_chains", ())
        for part in chain.get("filters", ())
        if part["name"] == CONNECTION_MANAGER
    ]
