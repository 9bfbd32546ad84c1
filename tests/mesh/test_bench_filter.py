"""What the filter bench compares really runs in Envoy. How fast it is, no test asks."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from helpers.bench import filter as filter_bench
from helpers.bench import filter_envoy, load
from helpers.bench.place import scratch


def _log_when_it_has(path: Path, text: str) -> str:
    deadline = time.monotonic() + 10
    while text not in (log := path.read_text("utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return log


def test_each_listener_runs_its_own_filter_and_logs_at_info_only(
    wasm: dict[str, Path], tmp_path: Path
) -> None:
    modules = {name: None if plugin is None else wasm[plugin]
               for name, plugin in filter_bench.VARIANTS.items()}
    with scratch(tmp_path / "bench") as state:
        server = filter_envoy.start(state, modules)
        for port in server.ports.values():
            found = load.round_of_load(server.process, port, seconds=0.1, using="own")
            assert found.requests > 0
            assert found.cpu > 0
        assert "User-Agent" not in server.log.read_text("utf-8")
        server.admin.set_log_level("wasm:info")
        for name in filter_bench.VARIANTS:
            load.round_of_load(server.process, server.ports[name], seconds=0.1, using="own")
        _log_when_it_has(server.log, "default.naive~")
        log = _log_when_it_has(server.log, "default.header-logger~")
        logged = {name for name in modules if f"wasm log default.{name}~" in log}
        assert logged == {"header-logger", "naive"}
        assert "User-Agent: MyTestClient" in log
        process = server.process
    # Where init collects no orphans the ended process stays as a zombie.
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
