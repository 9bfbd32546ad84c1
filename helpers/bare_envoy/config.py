"""The bootstrap of a bare Envoy: a listener for each chain, clusters, and ECDS files for plugins.

Nothing here adds, removes or rewrites a header that Envoy would leave alone: no request id, no
`x-envoy-*`, no path normalisation, and the upstream's `server` header passes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers import files
from helpers.bare_envoy.types import Chain, WasmFilter, configuration
from helpers.mesh.local import istiod, xds

_V3 = "type.googleapis.com/envoy"
_HCM = f"{_V3}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HTTP_OPTIONS = f"{_V3}.extensions.upstreams.http.v3.HttpProtocolOptions"
UPSTREAM = "upstream"
#: The listener without plugins, which opens every upstream connection before the first request.
WARM = "warm"
#: One line an exchange; none of the three can hold a tab.
ACCESS_LOG = "%RESPONSE_CODE%\t%RESPONSE_FLAGS%\t%RESPONSE_CODE_DETAILS%\n"
_POLICY = {"closed": "FAIL_CLOSED", "open": "FAIL_OPEN", "reload": "FAIL_RELOAD"}


def resource(chain: int, position: int) -> str:
    """The name of a plugin's ECDS resource, which its statistics carry, too."""
    return f"chain-{chain}-plugin-{position}"


def listener(chain: int) -> str:
    """The name of a chain's listener."""
    return f"chain-{chain}"


def document(
    chains: Sequence[Chain],
    *,
    folder: Path,
    metadata: Mapping[str, Any],
    servers: Mapping[str, int],
) -> dict[str, Any]:
    """The bootstrap; writes the ECDS file of each plugin below `folder`.

    Args:
        metadata: of the node.
        servers: the ports of the scripted servers by cluster name, `UPSTREAM` among them.
    """
    found = xds.bootstrap(node_id="bare", cluster="bare", metadata=metadata, xds=folder)
    del found["dynamic_resources"]
    access = folder / "access.log"
    listeners = [_listener(WARM, [], access=None, routes=_warm_routes(servers))]
    for number, chain in enumerate(chains):
        filters = [
            _by_ecds(folder, resource(number, position), plugin)
            for position, plugin in enumerate(chain.plugins)
        ]
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": UPSTREAM, "timeout": "0s"}}]
        listeners.append(_listener(listener(number), filters, access=access, routes=routes))
    found["static_resources"] = {
        "listeners": listeners,
        "clusters": [_cluster(name, port) for name, port in servers.items()],
    }
    return found


def wasm(plugin: WasmFilter) -> dict[str, Any]:
    """The filter's typed configuration (envoy.extensions.filters.http.wasm.v3.Wasm)."""
    vm: dict[str, Any] = {
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": str(Path(plugin.module).resolve())}},
    }
    if plugin.vm_id:
        vm["vm_id"] = plugin.vm_id
    if (vm_config := configuration(plugin.vm_config)) is not None:
        vm["configuration"] = _any(vm_config)
    if plugin.env:
        vm["environment_variables"] = {"key_values": dict(plugin.env)}
    config: dict[str, Any] = {
        "name": plugin.name,
        "vm_config": vm,
        "failure_policy": _POLICY[plugin.fail_policy],
    }
    if plugin.root_id:
        config["root_id"] = plugin.root_id
    if (plugin_config := configuration(plugin.plugin_config)) is not None:
        config["configuration"] = _any(plugin_config)
    return {"@type": istiod.WASM_TYPE, "config": config}


def _any(value: bytes) -> dict[str, Any]:
    """A configuration; Envoy hands the plugin what is inside of either type."""
    try:
        return {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": value.decode()}
    except UnicodeDecodeError:
        return {"@type": "type.googleapis.com/google.protobuf.BytesValue",
                "value": base64.b64encode(value).decode()}


def _by_ecds(folder: Path, name: str, plugin: WasmFilter) -> dict[str, Any]:
    # A folder of its own: a watched folder wakes every subscription in it.
    path = folder / name / "ecds.json"
    content = {
        "@type": f"{_V3}.config.core.v3.TypedExtensionConfig",
        "name": name,
        "typed_config": wasm(plugin),
    }
    files.write_json_plain(path, xds.discovery([content]))
    return {
        "name": name,
        "config_discovery": {
            "config_source": {**xds.path_source(path), "initial_fetch_timeout": "0s"},
            "type_urls": [istiod.WASM_TYPE],
        },
    }


def _warm_routes(servers: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {"match": {"path": f"/{number}"}, "route": {"cluster": name, "timeout": "0s"}}
        for number, name in enumerate(servers)
    ]


def _cluster(name: str, port: int) -> dict[str, Any]:
    found = xds.cluster(name, [("127.0.0.1", port)])
    del found["@type"]
    found["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": _HTTP_OPTIONS,
            "explicit_http_config": {"http2_protocol_options": _http2()},
        }
    }
    return found


def _http2() -> dict[str, Any]:
    # A header that Envoy refuses breaks its stream off, not the connection that all share.
    # Envoy would end the connection at the second empty frame in a row.
    return {
        "override_stream_error_on_invalid_http_message": True,
        "max_consecutive_inbound_frames_with_empty_payload": 10_000,
    }


def _listener(
    name: str,
    filters: Sequence[Mapping[str, Any]],
    *,
    access: Path | None,
    routes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": _HCM,
        "stat_prefix": name,
        "codec_type": "HTTP2",
        "http2_protocol_options": _http2(),
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",
        "http_filters": [
            *(dict(each) for each in filters),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_V3}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": list(routes)}],
        },
    }
    if access is not None:
        manager["access_log"] = [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": f"{_V3}.extensions.access_loggers.file.v3.FileAccessLog",
                "path": str(access),
                "log_format": {"text_format_source": {"inline_string": ACCESS_LOG}},
            },
        }]
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
        }]}],
    }
