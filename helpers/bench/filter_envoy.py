"""One Envoy with one worker and a listener for each filter that is compared.

All listeners answer by themselves (a direct response), so that nothing but Envoy is measured.
They share one process: what differs between two rounds is the filter alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from helpers import plugin_objects
from helpers.errors import MeshDown
from helpers.files import write_json_plain
from helpers.mesh.local import envoy, istiod, xds
from helpers.processes import Registry, tail

_V3 = "type.googleapis.com/envoy"
_NAME = "envoy-bench"


@dataclass(frozen=True)
class BenchEnvoy:
    """The running Envoy.

    Attributes:
        process: to read its CPU time.
        ports: the port of each listener, by the filter's name.
        admin: to change log levels.
        log: its log file.
    """

    process: psutil.Process
    ports: Mapping[str, int]
    admin: envoy.Admin
    log: Path


def http_filter(name: str, module: Path) -> dict[str, Any]:
    """The Wasm filter as istiod would configure it, inline in place of ECDS.

    A `name` of its own gives each listener a VM of its own, also for the same module.
    """
    plugin = plugin_objects.wasmplugin(
        name, f"file://{module.resolve().as_posix()}", plugin_config={"log_level": "info"}
    )
    plugin["metadata"]["resourceVersion"] = name
    resource = istiod.ecds(istiod.extension(plugin))
    return {"name": resource["name"], "typed_config": resource["typed_config"]}


def document(modules: Mapping[str, Path | None]) -> dict[str, Any]:
    """The bootstrap.

    Args:
        modules: by the name of the listener; None is a listener without a Wasm filter.
    """
    found = xds.bootstrap(node_id="bench", cluster="bench", metadata={}, xds=Path("unused"))
    del found["dynamic_resources"]
    found["static_resources"] = {
        "listeners": [_listener(name, module) for name, module in modules.items()]
    }
    return found


def _listener(name: str, module: Path | None) -> dict[str, Any]:
    manager = f"{_V3}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_V3}.extensions.filters.http.router.v3.Router"},
    }
    answer = {"status": 200, "body": {"inline_string": "ok\n"}}
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": manager,
                "stat_prefix": name,
                "http_filters": [*([] if module is None else [http_filter(name, module)]), router],
                "route_config": {"virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": answer}],
                }]},
            },
        }]}],
    }


def start(state: Path, modules: Mapping[str, Path | None]) -> BenchEnvoy:
    """Start it below `state`; whoever made `state` ends its processes.

    Raises:
        MeshDown: it ended, or a listener is missing; `detail` has its last words.
    """
    where = envoy.Files(state / "envoy")
    where.folder.mkdir(parents=True, exist_ok=True)
    write_json_plain(where.bootstrap, document(modules))
    record = envoy.start(Registry(state), _NAME, where, concurrency=1)
    process = record.process()
    admin = envoy.Admin(where)
    ports = admin.ports()
    if process is None or set(ports) != set(modules) or not admin.live():
        raise MeshDown(
            "the Envoy of the bench does not serve every listener",
            cause=f"of {', '.join(modules)} it has {', '.join(ports) or 'none'}",
            fix="its own words are below",
            detail=tail(where.log),
        )
    return BenchEnvoy(process, ports, admin, where.log)
