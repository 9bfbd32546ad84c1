"""The tables of `istioctl proxy-config`, from Envoy's own configuration dump.

Columns and wording follow istioctl 1.31 (`istioctl/pkg/writer/envoy/configdump`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from helpers.errors import BadInput
from helpers.listeners import CONNECTION_MANAGER
from helpers.show import TableResult, table

#: What `proxy-config` shows here.
KNOWN = ("listener", "cluster", "ecds", "log")


def require_known(what: str) -> None:
    """Refuse what is not in KNOWN.

    Raises:
        BadInput: it is not.
    """
    if what not in KNOWN:
        raise BadInput(
            f"proxy-config {what!r} is not known",
            cause="the workbook shows listener, cluster, ecds and log",
            fix='mesh.proxy_config("listener")',
        )


def shown_levels(levels: Mapping[str, str], *, command: str, mesh: str) -> TableResult:
    """proxy-config log: the loggers and their levels."""
    return table(("LOGGER", "LEVEL"), levels.items(), command=command, mesh=mesh,
                 extra={"json": levels})


def shown(
    what: str,
    dump: Mapping[str, Any],
    *,
    ports: Mapping[str, int],
    command: str,
    mesh: str,
    notes: tuple[str, ...] = (),
) -> TableResult:
    """proxy-config listener, cluster or ecds from a config dump.

    Args:
        ports: the port of each listener, by name.
        notes: under the listeners.
    """
    if what == "listener":
        return table(
            ("NAME", "ADDRESSES", "PORT", "MATCH", "DESTINATION"), listener_rows(dump, ports),
            command=command, mesh=mesh, extra={"json": listeners(dump)}, notes=notes,
        )
    if what == "cluster":
        return table(
            ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"),
            cluster_rows(dump), command=command, mesh=mesh, extra={"json": clusters(dump)},
        )
    return table(("ECDS NAME", "TYPE"), ecds_rows(dump), command=command, mesh=mesh,
                 extra={"json": ecds(dump)}, empty="no ECDS")


def sections(dump: Mapping[str, Any], kind: str) -> Iterable[Mapping[str, Any]]:
    """The parts of a config dump whose type ends in `kind`, such as "ListenersConfigDump"."""
    return [part for part in dump["configs"] if str(part["@type"]).endswith(kind)]


def listeners(dump: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The active listeners."""
    found: list[dict[str, Any]] = []
    for part in sections(dump, "ListenersConfigDump"):
        for entry in part.get("dynamic_listeners", ()):
            if "active_state" in entry:
                found.append(entry["active_state"]["listener"])
    return found


def listener_rows(
    dump: Mapping[str, Any], ports: Mapping[str, int]
) -> list[tuple[str, str, int, str, str]]:
    """NAME, ADDRESSES, PORT, MATCH, DESTINATION of each filter chain, by port.

    Args:
        ports: the bound ports; the configuration itself asks for port 0.
    """
    rows = []
    for listener in listeners(dump):
        for chain in listener.get("filter_chains", ()):
            rows.append(
                (
                    listener["name"],
                    listener["address"]["socket_address"]["address"],
                    ports.get(listener["name"], 0),
                    "ALL",
                    _destination(chain),
                )
            )
    return sorted(rows, key=lambda row: row[2])


def _destination(chain: Mapping[str, Any]) -> str:
    for part in chain.get("filters", ()):
        if part["name"] == CONNECTION_MANAGER:
            config = part["typed_config"]
            if "rds" in config:
                return f"Route: {config['rds']['route_config_name']}"
            for host in config.get("route_config", {}).get("virtual_hosts", ()):
                for route in host.get("routes", ()):
                    if "route" in route:
                        return f"Cluster: {route['route']['cluster']}"
            return "HTTP"
    return "Non-HTTP/Non-TCP"


def clusters(dump: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The active clusters."""
    return [
        entry["cluster"]
        for part in sections(dump, "ClustersConfigDump")
        for entry in part.get("dynamic_active_clusters", ())
    ]


def cluster_rows(dump: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """SERVICE FQDN, PORT, SUBSET, DIRECTION, TYPE, DESTINATION RULE of each cluster."""
    rows = []
    for cluster in clusters(dump):
        parts = cluster["name"].split("|")
        kind = cluster.get("type", "STATIC")
        if len(parts) > 3:
            direction, port, subset, fqdn = parts[:4]
            rows.append((fqdn, port, subset or "-", direction, kind, ""))
        else:
            rows.append((cluster["name"], "-", "-", "-", kind, ""))
    return sorted(rows)


def ecds(dump: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The extension configurations that Envoy holds, TypedExtensionConfig each.

    Here each direction has a subscription of its own; istiod's serves both, so it counts once.
    """
    found = {
        entry["ecds_filter"]["name"]: entry["ecds_filter"]
        for part in sections(dump, "EcdsConfigDump")
        for entry in part.get("ecds_filters", ())
    }
    return list(found.values())


def ecds_rows(dump: Mapping[str, Any]) -> list[tuple[str, str]]:
    """ECDS NAME, TYPE of each extension configuration."""
    return sorted(
        (entry["name"], entry["typed_config"]["@type"].removeprefix("type.googleapis.com/"))
        for entry in ecds(dump)
    )
