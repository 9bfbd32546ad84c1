"""Two looks into the sidecar: its HTTP filters in order, and what one request left in its log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from helpers import listeners, logs, traffic
from helpers.errors import NotFound, NotReady
from helpers.mesh.base import Mesh
from helpers.show import TableResult, table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["http_filters", "trace_request"]


def http_filters(mesh: Mesh, listener: str = "virtualInbound") -> TableResult:
    """The HTTP filters of a listener, in the order in which a request passes them.

    Args:
        listener: "virtualInbound" for requests to the workload, "0.0.0.0_9080" for the
            requests that it sends to port 9080.

    Returns:
        Columns CHAIN, POSITION (from 1), HTTP FILTER; `extra["names"]` has the names alone,
        of the first chain.

    Raises:
        NotFound: the sidecar has no such listener.
    """
    shown = mesh.proxy_config("listener")
    found = {each["name"]: each for each in shown.extra["json"]}
    if listener not in found:
        raise NotFound(
            f"the sidecar has no listener {listener!r}",
            cause=f"its listeners are {', '.join(sorted(found)) or 'none'}",
            fix="name one of these",
        )
    chains = _once(listeners.http_filters(found[listener]))
    return table(
        ("CHAIN", "POSITION", "HTTP FILTER"),
        [(chain, n, name) for chain, names in chains for n, name in enumerate(names, start=1)],
        command=f"{shown.command} -o json | jq -r '.[] | select(.name==\"{listener}\")"
        " | .filterChains[].filters[].typedConfig.httpFilters[]?.name'",
        mesh=shown.mesh,
        empty="no HTTP filters",
        extra={"names": chains[0][1] if chains else []},
    )


def _once(chains: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """The chains of the workload's own ports, each once.

    In a cluster virtualInbound also has chains for ports that no Service names
    ("virtualInbound-catchall-http"), and each of the others twice, with and without mTLS.
    """
    own = [chain for chain in chains if not chain[0].startswith("virtualInbound-")] or chains
    return [chain for n, chain in enumerate(own) if chain not in own[:n]]


def trace_request(
    mesh: Mesh,
    *,
    user_agent: str = "MyTestClient",
    container: str = "istio-proxy",
    timeout: float = 5.0,
) -> TableResult:
    """One tagged request to productpage, and every line that the sidecar logged for it.

    It waits until the access log holds the request itself; by then its other lines are
    written, since the request that came first ends last.

    Args:
        user_agent: what the request calls itself; a tag is added.
        container: where curl runs: "istio-proxy" asks the service directly, any other
            container through the sidecar's outbound listener.
        timeout: seconds to wait for the access log, which Envoy flushes each second.

    Returns:
        Columns LINE ("plugin" or "access log"), BY (the plugin, or the direction of an access
        line) and TEXT, in the order of the log. `extra` has status (int, 0 without an
        answer), plugin (int, plugin lines), inbound and outbound (int, access lines), and
        plugins (list of str, a name for each plugin line), and sent (float, when, in seconds
        since the epoch, as `mesh.logs(since=…)` takes it).

    Raises:
        NotReady: the access log does not hold the request within `timeout` seconds.
    """
    sent = traffic.send(
        mesh, count=1, user_agents=user_agent, container=container, progress=False
    ).iloc[0]
    last = "inbound" if container == "istio-proxy" else "outbound"
    since = sent["time"].timestamp() - 1.0
    deadline = time.monotonic() + timeout
    while True:
        log = logs.parse(mesh.logs(since=since))
        mine = log[_belongs(log, sent["id"], sent["request_id"])]
        access = mine[mine["kind"] == "access"]
        if ((access["direction"] == last) & (access["path"] == "/productpage")).any():
            break
        if time.monotonic() > deadline:
            raise NotReady(
                f"the access log has no {last} line of request {sent['id']}",
                cause=f"the answer was {sent['status']} {sent['error']}".strip(),
                fix="doctor.why_no_log(mesh) looks at each layer",
                detail=mesh.logs(tail=10).text,
            )
        time.sleep(0.1)
    plugin = mine[mine["kind"] == "plugin"]
    direction = access["direction"].value_counts()
    status = 0 if sent.isna()["status"] else int(sent["status"])
    return table(
        ("LINE", "BY", "TEXT"),
        [_row(row) for row in mine.to_dict("records")],
        command=f"kubectl exec deploy/productpage-v1 -c {container} -- curl -s -o /dev/null "
        f"-w '%{{http_code}}' -H 'User-Agent: {sent['user_agent']}' "
        "http://productpage:9080/productpage\n"
        f"kubectl logs deploy/productpage-v1 -c istio-proxy | grep {sent['id']}",
        mesh=mesh.kind,
        notes=(f"HTTP {status}, {len(plugin)} plugin lines",),
        extra={
            "status": status,
            "plugin": len(plugin),
            "inbound": int(direction.get("inbound", 0)),
            "outbound": int(direction.get("outbound", 0)),
            "plugins": [str(name) for name in plugin["plugin"]],
            "sent": float(sent["time"].timestamp()),
        },
    )


def _belongs(log: pd.DataFrame, tag: str, request_id: str) -> pd.Series[bool]:
    return (
        log["text"].str.contains(tag, regex=False, na=False)
        | log["user_agent"].str.contains(tag, regex=False, na=False)
        | (log["request_id"] == request_id).fillna(False)
    )


def _row(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    if row["kind"] == "access":
        keys = ("method", "path", "status", "flags", "details")
        # Details are empty where Envoy answered before any filter could say why.
        text = " ".join(str(row[key]) for key in keys if row[key] == row[key])
        return "access log", str(row["direction"]), text
    return str(row["kind"]), str(row["plugin"]), str(row["text"])
