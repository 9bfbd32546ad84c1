"""How fast a log becomes an answer, with the naive way beside it.

`bench` writes a realistic log, then a fresh process parses it, joins it with the requests and
counts (a process of its own, so that the memory figure is this work's alone). The naive way,
one pattern a line and one dict a row, runs on a part of the same log.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from helpers import logs, reconcile
from helpers.errors import CommandFailed

RUN = "0bench00"
_WASM = "envoy wasm source/extensions/common/wasm/context.cc:1151"
_NAME = "default.header-logger~istio-translated-wasmplugin"
_AGENTS = (
    "MyTestClient", "curl/8.14.1", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
)
_SERVICES = (
    ("inbound|9080||", "/productpage", "productpage"),
    ("outbound|9080||details.default.svc.cluster.local", "/details/0", "details"),
    ("outbound|9080||reviews.default.svc.cluster.local", "/reviews/0", "reviews"),
)
_BACKTRACE = (
    "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\n"
    "Proxy-Wasm plugin in-VM backtrace:\n"
    "  0:  0x7a1c - __rust_start_panic\n"
    "  1:  0x1f40 - proxy_wasm::hostcalls::get_map_value"
)


def _agent(number: int) -> str:
    """The client of a request: one in fifty has a name beyond ASCII."""
    return "café/1" if number % 50 == 0 else _AGENTS[number % len(_AGENTS)]


def synthesise(lines: int, seed: int = 0) -> str:
    """A sidecar's log of exactly `lines` lines, the same for the same `seed`.

    Each request logs a plugin line and an access line inbound and for its two outbound calls;
    about one in fifty is followed by a line of pilot-agent, a backtrace of four lines, a line
    of plain Envoy or one that is damaged.
    """
    rng = random.Random(seed)
    out: list[str] = []
    number = 0
    while len(out) < lines:
        number += 1
        micros = number * 250
        stamp = f"2026-11-22T{micros // 3_600_000_000 % 24:02d}:{micros // 60_000_000 % 60:02d}"
        second = f"{micros // 1_000_000 % 60:02d}"
        when = f"{stamp}:{second}.{micros % 1_000_000:06d}Z"
        agent = f"{_agent(number)} req/{RUN}-{number:06d}"
        request_id = f"{rng.getrandbits(128):032x}"
        thread = rng.randrange(20, 24)
        for cluster, path, host in _SERVICES:
            took = rng.randrange(1, 90)
            out.append(
                f"{when}\tinfo\t{_WASM}\twasm log {_NAME}: User-Agent: {agent}\tthread={thread}"
            )
            out.append(
                f'[{when[:23]}Z] "GET {path} HTTP/1.1" 200 - via_upstream - "-" 0 '
                f'{rng.randrange(100, 9000)} {took} {took - 1} "-" "{agent}" "{request_id}" '
                f'"{host}:9080" "10.244.0.{rng.randrange(2, 250)}:9080" {cluster} '
                f"10.244.0.32:9080 10.244.0.32:9080 10.244.0.1:{rng.randrange(2000, 60000)} "
                "- default"
            )
        kind = rng.randrange(200)
        if kind == 0:
            out.append(f"{when}\tinfo\txdsproxy\tconnected to delta upstream XDS server: istiod")
        elif kind == 1:
            text = f"{when}\terror\tenvoy wasm source/wasm_vm.cc:38\t{_BACKTRACE}\tthread={thread}"
            out.extend(text.split("\n"))
        elif kind == 2:
            out.append(
                f"[{when[:10]} {when[11:23]}][12636][info][wasm] "
                f"[source/extensions/common/wasm/context.cc:1151] wasm log {_NAME}: configured"
            )
        elif kind == 3:
            out.append(when[: rng.randrange(5, 25)])
    return "\n".join(out[:lines]) + "\n"


def sent_for(path: Path) -> pd.DataFrame:
    """The requests of a log that `synthesise` made, as `traffic.send` would return them."""
    with path.open("rb") as handle:
        handle.seek(-min(4096, path.stat().st_size), 2)
        last = handle.read().decode("utf-8", "replace")
    count = max(int(tag.partition("-")[2]) for tag in reconcile.TAG.findall(last))
    return pd.DataFrame(
        {
            "id": [f"{RUN}-{number:06d}" for number in range(1, count + 1)],
            "time": pd.date_range("2026-11-22", periods=count, freq="250us", tz="UTC"),
            "status": pd.array([200] * count, dtype="Int16"),
            "agent": pd.array([_agent(n) for n in range(1, count + 1)], dtype="str"),
        }
    )


_LINE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)\t(?P<level>\w+)\t(?P<scope>[^\t]*)\t(?P<text>.*?)"
    r"(?:\tthread=(?P<thread>\d+))?$"
)
_REQUEST = re.compile(
    r'^\[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+) \S+" (?P<status>\d+) (?P<flags>\S+) '
    r'(?P<details>\S+) \S+ "[^"]*" \d+ \d+ (?P<duration_ms>\d+) \S+ "[^"]*" '
    r'"(?P<user_agent>[^"]*)" "(?P<request_id>[^"]*)" "[^"]*" "[^"]*" (?P<cluster>\S+) '
)


def naive(text: str) -> dict[str, int]:
    """The way one would write it first: a pattern a line, a dict a row; plugin lines by tag."""
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        match = _LINE.match(line) or _REQUEST.match(line)
        rows.append(match.groupdict() if match else {"text": line})
    frame = pd.DataFrame(rows)
    frame["time"] = pd.to_datetime(frame["time"], format="ISO8601", errors="coerce", utc=True)
    plugin = frame[frame["text"].str.startswith("wasm log", na=False)]
    tags = plugin["text"].str.extract(reconcile.TAG, expand=False).dropna()
    return {str(tag): int(count) for tag, count in tags.value_counts().items()}


def ours(path: Path) -> dict[str, Any]:
    """Parse the file, join and count; figures of this process.

    Returns:
        parse_seconds, join_seconds, seconds (both), peak_growth_mb (resident memory over what
        the process held before), lines, logged (plugin lines joined).
    """
    sent = sent_for(path)
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    frame = logs.parse(path)
    parsed = time.perf_counter()
    found = reconcile.reconcile(sent, frame)
    totals = found.totals
    end = time.perf_counter()
    return {
        "parse_seconds": parsed - start,
        "join_seconds": end - parsed,
        "seconds": end - start,
        "peak_growth_mb": (_peak() - before) / 1e6,
        "lines": int(frame["lines"].sum()),
        "logged": totals["logged_inbound"] + totals["logged_outbound"],
    }


def _peak() -> int:
    """The most memory that this process ever held, in bytes."""
    # getrusage on Linux also counts what the parent held at the fork; VmHWM does not.
    with contextlib.suppress(FileNotFoundError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        if found:
            return int(found[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not on Windows

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def bench(
    lines: int = 1_000_000, *, naive_lines: int = 100_000, rounds: int = 3
) -> dict[str, float]:
    """Measure both ways.

    Args:
        lines: lines of the log for our way.
        naive_lines: lines of the same log for the naive way, which at a million takes minutes
            and gigabytes; the ratio compares seconds a line.
        rounds: how often our way runs, each in a fresh process; the medians are reported.

    Returns:
        lines, seconds, parse_seconds, join_seconds, peak_growth_mb, naive_lines,
        naive_seconds, naive_us_per_line, us_per_line, ratio (naive over ours, per line).

    Raises:
        CommandFailed: the measuring process failed.
    """
    text = synthesise(lines)
    with tempfile.TemporaryDirectory(prefix="workbook-bench-") as folder:
        path = Path(folder) / "sidecar.log"
        path.write_text(text, encoding="utf-8", newline="\n")
        cut = "".join(text.splitlines(keepends=True)[:naive_lines])
        del text
        runs = [_fresh(path) for _ in range(rounds)]
    start = time.perf_counter()
    naive(cut)
    naive_seconds = time.perf_counter() - start
    result: dict[str, float] = {"lines": lines}
    for name in ("seconds", "parse_seconds", "join_seconds", "peak_growth_mb"):
        result[name] = float(np.median([run[name] for run in runs]))
    result["us_per_line"] = result["seconds"] / lines * 1e6
    result |= {"naive_lines": naive_lines, "naive_seconds": naive_seconds}
    result["naive_us_per_line"] = naive_seconds / naive_lines * 1e6
    result["ratio"] = result["naive_us_per_line"] / result["us_per_line"]
    return result


def _fresh(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "helpers.bench_logs", str(path)],
        capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise CommandFailed(
            f"the measuring process ended with status {done.returncode}",
            cause="its own words are below",
            fix="free memory or measure fewer lines",
            detail=done.stderr,
        )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ours(Path(sys.argv[1]))) + "\n")
