"""Envoy configuration for one sidecar, in the shape that istiod and pilot-agent give it.

Names of listeners, filter chains, clusters, routes and filters are Istio's. Three things
differ on one computer, because there is no iptables and no pod network: listeners are bound
to a port that the kernel chooses on 127.0.0.1, endpoints are local ports, and the
configuration comes from files (path_config_source) in place of ADS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

INBOUND = "virtualInbound"
_V3 = "type.googleapis.com/envoy"
_HCM = f"{_V3}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

#: Istio's access log format (`pilot/pkg/model/telemetry_logging.go`, EnvoyTextLogFormat).
ACCESS_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
    '%CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)


def path_source(path: Path) -> dict[str, Any]:
    """A config source that reads `path` and watches its folder for renames."""
    return {
        "path_config_source": {
            "path": str(path),
            "watched_directory": {"path": str(path.parent)},
        },
        "resource_api_version": "V3",
    }


def bootstrap(
    *, node_id: str, cluster: str, metadata: Mapping[str, Any], xds: Path
) -> dict[str, Any]:
    """The bootstrap: node, admin on a port the kernel chooses, LDS and CDS from files."""
    return {
        "node": {"id": node_id, "cluster": cluster, "metadata": dict(metadata)},
        "admin": {"address": _address("127.0.0.1", 0), "ignore_global_conn_limit": True},
        "dynamic_resources": {
            "lds_config": path_source(xds / "lds" / "lds.json"),
            "cds_config": path_source(xds / "cds" / "cds.json"),
        },
        # What Istio's bootstrap sets too, and without which Envoy warns at each start.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_V3}.extensions.resource_monitors.downstream_connections"
                        ".v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 2147483647,
                    },
                }
            ]
        },
    }


def discovery(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A DiscoveryResponse as a file-based subscription reads it."""
    return {"resources": [dict(resource) for resource in resources]}


def inbound_listener(
    *,
    port: int,
    extensions: Sequence[Mapping[str, Any]],
    network: Sequence[Mapping[str, Any]] = (),
    access_log: Path,
) -> dict[str, Any]:
    """`virtualInbound` with the chain of one application port.

    Args:
        extensions: HTTP filters of plugins, before Istio's own.
        network: network filters of plugins, before the HTTP connection manager.
    """
    cluster = f"inbound|{port}||"
    hcm = _hcm(
        stat_prefix=f"inbound_0.0.0.0_{port};",
        extensions=extensions,
        access_log=access_log,
        route={
            "route_config": {
                "name": cluster,
                "validate_clusters": False,
                "virtual_hosts": [
                    {
                        "name": f"inbound|http|{port}",
                        "domains": ["*"],
                        "routes": [
                            {
                                "name": "default",
                                "match": {"prefix": "/"},
                                "route": {"cluster": cluster, "timeout": "0s"},
                            }
                        ],
                    }
                ],
            }
        },
    )
    return _listener(INBOUND, f"0.0.0.0_{port}", network, hcm, direction="INBOUND")


def outbound_listener(
    *,
    port: int,
    extensions: Sequence[Mapping[str, Any]],
    network: Sequence[Mapping[str, Any]] = (),
    access_log: Path,
    rds: Path,
) -> dict[str, Any]:
    """The outbound HTTP listener of a service port, with its route by RDS.

    Args:
        extensions, network: as for `inbound_listener`.
    """
    hcm = _hcm(
        stat_prefix=f"outbound_0.0.0.0_{port};",
        extensions=extensions,
        access_log=access_log,
        route={"rds": {"config_source": path_source(rds), "route_config_name": str(port)}},
    )
    return _listener(f"0.0.0.0_{port}", "", network, hcm, direction="OUTBOUND")


def routes(port: int, services: Mapping[str, str]) -> dict[str, Any]:
    """The RouteConfiguration of an outbound port.

    Args:
        services: service name to namespace, for each service that has this port.
    """
    hosts: list[dict[str, Any]] = []
    for service, namespace in sorted(services.items()):
        fqdn = f"{service}.{namespace}.svc.cluster.local"
        names = [fqdn, service, f"{service}.{namespace}", f"{service}.{namespace}.svc"]
        hosts.append(
            {
                "name": f"{fqdn}:{port}",
                "domains": [domain for name in names for domain in (name, f"{name}:{port}")],
                "routes": [
                    {
                        "name": "default",
                        "match": {"prefix": "/"},
                        "route": {
                            "cluster": outbound_cluster(service, namespace, port),
                            "timeout": "0s",
                        },
                    }
                ],
            }
        )
    # Istio's ALLOW_ANY would pass unknown hosts through to the address that the client
    # dialled; without iptables that address is not known, so the answer is REGISTRY_ONLY's.
    hosts.append(
        {
            "name": "block_all",
            "domains": ["*"],
            "routes": [
                {"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}
            ],
        }
    )
    return {
        "@type": f"{_V3}.config.route.v3.RouteConfiguration",
        "name": str(port),
        "validate_clusters": False,
        "virtual_hosts": hosts,
    }


def outbound_cluster(service: str, namespace: str, port: int) -> str:
    """Istio's name of a service's cluster."""
    return f"outbound|{port}||{service}.{namespace}.svc.cluster.local"


def cluster(name: str, endpoints: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """A cluster of fixed endpoints; an empty list answers 503 (no healthy upstream)."""
    return {
        "@type": f"{_V3}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(*e)}} for e in endpoints]}
            ],
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(
    name: str,
    chain: str,
    network: Sequence[Mapping[str, Any]],
    hcm: dict[str, Any],
    *,
    direction: str,
) -> dict[str, Any]:
    filter_chain: dict[str, Any] = {
        "filters": [
            *(dict(extension) for extension in network),
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm},
        ]
    }
    if chain:
        filter_chain["name"] = chain
    return {
        "@type": f"{_V3}.config.listener.v3.Listener",
        "name": name,
        # Port 0: the kernel chooses when Envoy binds, so no other program can take the port
        # in between, and Envoy keeps the socket over later updates of this listener.
        "address": _address("127.0.0.1", 0),
        "traffic_direction": direction,
        "enable_reuse_port": False,
        # A new connection goes to the worker that has the fewest open ones, so that clients
        # who keep theirs are spread evenly; one curl after another mostly meets one worker.
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [filter_chain],
    }


def _hcm(
    *,
    stat_prefix: str,
    extensions: Sequence[Mapping[str, Any]],
    access_log: Path,
    route: Mapping[str, Any],
) -> dict[str, Any]:
    http = f"{_V3}.extensions.filters.http"
    return {
        "@type": _HCM,
        "stat_prefix": stat_prefix,
        "server_name": "istio-envoy",
        "use_remote_address": False,
        "normalize_path": True,
        "http_filters": [
            *(dict(extension) for extension in extensions),
            {
                "name": "envoy.filters.http.grpc_stats",
                "typed_config": {
                    "@type": f"{http}.grpc_stats.v3.FilterConfig",
                    "emit_filter_state": True,
                },
            },
            {
                "name": "envoy.filters.http.fault",
                "typed_config": {"@type": f"{http}.fault.v3.HTTPFault"},
            },
            {
                "name": "envoy.filters.http.cors",
                "typed_config": {"@type": f"{http}.cors.v3.Cors"},
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{http}.router.v3.Router"},
            },
        ],
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{_V3}.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(access_log),
                    "log_format": {"text_format_source": {"inline_string": ACCESS_LOG}},
                },
            }
        ],
        **route,
    }
