"""A sidecar's log as a DataFrame: Envoy's own lines, pilot-agent's, plugins' and requests'.

Five kinds of record, in the formats that an Istio 1.31 sidecar writes:

- ``plugin``: what a Wasm plugin logged, ``TS<TAB>info<TAB>envoy wasm FILE:LINE<TAB>wasm log
  NAME[ ROOT_ID]: TEXT<TAB>thread=N``
- ``envoy``: any other line of Envoy; also without Istio's format, ``[TS][PID][LEVEL][LOGGER]
  [FILE:LINE] TEXT``, whose time Envoy writes in local time and which is taken as UTC here
- ``agent``: ``TS<TAB>LEVEL<TAB>[SCOPE<TAB>]TEXT`` of pilot-agent
- ``access``: one request, in Istio's default access-log format
- ``malformed``: anything else, kept whole in ``text``

A message of several lines (a backtrace) is one record, up to the line that ends in
``<TAB>thread=N``; a plain Envoy line has no such mark and takes all that follows without a
prefix. Every input line belongs to exactly one record: ``frame["lines"].sum()`` is their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers import log_scan
from helpers.errors import BadInput, NotFound
from helpers.mesh.base import LogText

#: The columns of `parse`, in order, with their dtypes. Missing values: NaT, NaN or <NA>.
COLUMNS: dict[str, str] = {
    "line": "int64",  # number of the record's first line, from 1
    "lines": "int32",  # how many lines it has
    "time": "datetime64[ns, UTC]",
    "kind": "category",  # plugin, envoy, agent, access, malformed
    "level": "category",  # trace, debug, info, warning, error, critical …
    "logger": "category",  # Envoy's logger or pilot-agent's scope ("default" where left out)
    "source": "category",  # FILE:LINE
    "plugin": "category",  # NAMESPACE.NAME~…; missing for a plugin log line without a name
    "root_id": "category",  # pluginName, where set
    "text": "str",  # the message; missing for access lines, whose columns hold it all
    "thread": "Int64",
    "method": "category",
    "path": "category",
    "status": "Int16",  # 0 when the client got no answer
    "flags": "category",  # response flags such as UC, URX; "-" for none
    "details": "category",  # response code details such as via_upstream
    "duration_ms": "float64",
    "user_agent": "str",
    "request_id": "str",
    "upstream_cluster": "category",
    "direction": "category",  # inbound, outbound; missing where the cluster tells neither
}

_READ = 4 * 1024 * 1024
_DIRECTIONS = {
    "InboundPassthroughCluster": "inbound",
    "PassthroughCluster": "outbound",
    "BlackHoleCluster": "outbound",
}

Log = str | bytes | Path | LogText | Iterable[str]


def parse(log: Log) -> pd.DataFrame:
    """Parse a sidecar's log.

    Args:
        log: the text itself (str or bytes), a `Path` to a file, what `mesh.logs()` returned,
            or an iterable of lines. A file is read in blocks and may be larger than memory
            would allow at once. Lines end in LF or CRLF.

    Returns:
        One row a record in the order of the log, with `COLUMNS`. Bytes that are not UTF-8
        appear as ``\\xNN``, so that any row can be printed; NUL bytes are kept. Where
        `mesh.logs()` read several pods, a last column ``pod`` (category) says whose it is.

    Raises:
        NotFound: `log` is a Path and there is no such file.
    """
    # glibc returns each freed array to the system and faults it in again for the next block,
    # a third of the time, unless it has seen a bigger one come and go.
    np.empty(24 * 1024 * 1024, dtype=np.uint8)
    scanner = log_scan.Scanner()
    parts: list[log_scan.Columns] = []
    pending: list[bytes] = []
    size = wanted = 0
    for data in _blocks(log):
        pending.append(data)
        size += len(data)
        if size < wanted:
            continue
        columns, rest = scanner.scan(b"".join(pending), final=False)
        parts.append(columns)
        # A message may go on over many blocks; waiting until what is pending has doubled
        # keeps the total work linear.
        pending, size, wanted = [rest], len(rest), 2 * len(rest)
    if size:
        parts.append(scanner.scan(b"".join(pending), final=True)[0])
    frame = _frame(scanner, parts)
    if isinstance(log, LogText) and log.pods:
        frame["pod"] = pd.Categorical(np.array(log.pods, dtype=object)[frame["line"] - 1])
    return frame


def plugin_lines(frame: pd.DataFrame, plugin: str | None = None) -> pd.DataFrame:
    """The rows that Wasm plugins logged.

    Args:
        frame: what `parse` returned.
        plugin: only the plugin of this name. ``default.header-logger`` also finds
            ``default.header-logger~istio-translated-wasmplugin``, the name that Istio 1.30
            and later give to a WasmPlugin.
    """
    rows = frame[frame["kind"] == "plugin"]
    if plugin is None:
        return rows
    names = [name for name in rows["plugin"].cat.categories if name.split("~")[0] == plugin]
    return rows[rows["plugin"].isin([plugin, *names])]


def access_lines(frame: pd.DataFrame, direction: str | None = None) -> pd.DataFrame:
    """The rows of the access log.

    Args:
        frame: what `parse` returned.
        direction: only "inbound" or only "outbound" requests; None for all.

    Raises:
        BadInput: another direction.
    """
    if direction not in (None, "inbound", "outbound"):
        raise BadInput(
            f"direction={direction!r} is neither 'inbound' nor 'outbound'",
            cause="a sidecar handles requests to its workload (inbound) and from it (outbound)",
            fix="pass one of the two, or leave direction out for both",
        )
    rows = frame[frame["kind"] == "access"]
    return rows if direction is None else rows[rows["direction"] == direction]


def user_agents(frame: pd.DataFrame) -> pd.Series[str]:
    """The User-Agent that each plugin line reports.

    Args:
        frame: what `parse` returned.

    Returns:
        A Series (dtype str) indexed like the plugin lines whose text holds
        ``User-Agent: VALUE``, in any case of letters; VALUE runs to the end of the text.
    """
    text = plugin_lines(frame)["text"]
    found = text.str.extract(r"(?is)\buser-agent:[ \t]*(.*)\Z", expand=False)
    return found.dropna().rename("user_agent")


def _blocks(log: Log) -> Iterator[bytes]:
    if isinstance(log, Path):
        try:
            with log.open("rb") as handle:
                while data := handle.read(_READ):
                    yield data
        except FileNotFoundError as error:
            raise NotFound(
                f"there is no log file {log}",
                cause="the path is wrong, or nothing has been logged there yet",
                fix="check the path; a text of log lines is passed as str, a file as Path",
            ) from error
        return
    if isinstance(log, LogText):
        log = "\n".join(log.lines) if log.lines else log.text
    if isinstance(log, bytes):
        for start in range(0, len(log), _READ):
            yield log[start : start + _READ]
    elif isinstance(log, str):
        for start in range(0, len(log), _READ):
            # A str can hold half a surrogate pair, which strict UTF-8 refuses.
            yield log[start : start + _READ].encode("utf-8", "surrogatepass")
    else:
        for line in log:
            yield line.removesuffix("\n").encode("utf-8", "surrogatepass") + b"\n"


def _join(parts: list[log_scan.Columns], name: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(part, name) for part in parts])


def _category(codes: npt.NDArray[np.int32], values: list[str | None]) -> pd.Categorical:
    """A categorical from codes into `values`, where several codes may mean one value."""
    names = sorted({value for value in values if value is not None})
    index = {name: number for number, name in enumerate(names)}
    table = np.array(
        [-1 if value is None else index[value] for value in values],
        dtype=np.min_scalar_type(-max(len(names), 1)),
    )
    dtype = pd.CategoricalDtype(pd.Index(names, dtype="str"))
    return pd.Categorical.from_codes(table[codes], dtype=dtype)


def _head(key: str) -> tuple[str | None, str | None, str | None]:
    """Level, logger and source from what stands between the time and the message."""
    if not key:
        return None, None, None
    if key.endswith("]"):  # plain Envoy: LEVEL][LOGGER] [FILE:LINE]
        level, _, rest = key[:-1].partition("][")
        logger, _, source = rest.partition("] [")
        return level, logger, source or None
    level, _, scope = key.partition("\t")
    if scope.startswith("envoy "):
        _, logger, source = (*scope.split(" ", 2), "")[:3]
        return level, logger, source or None
    return level, scope or "default", None


def _request(key: str) -> tuple[str | None, str | None]:
    """Method and path of a request line; neither for "- - -", a request that was no HTTP."""
    words = key.split(" ")
    if len(words) < 3 or words[:2] == ["-", "-"]:
        return None, None
    return words[0], " ".join(words[1:-1])


def _direction(cluster: str) -> str | None:
    side = cluster.split("|", 1)[0]
    return side if side in ("inbound", "outbound") else _DIRECTIONS.get(cluster)


def _frame(scanner: log_scan.Scanner, parts: list[log_scan.Columns]) -> pd.DataFrame:
    parts = parts or [log_scan.empty()]
    kind = _join(parts, "kind")
    time = _join(parts, "time").astype("datetime64[ns]")
    time[kind == log_scan.MALFORMED] = np.datetime64("NaT")
    thread, duration = _join(parts, "thread"), _join(parts, "duration")
    heads = [_head(key) for key in scanner.heads.keys]
    prefixes = [key.strip().partition(" ") for key in scanner.prefixes.keys]
    requests = [_request(key) for key in scanner.requests.keys]
    responses = [(*key.split(" "), "", "", "")[:3] for key in scanner.responses.keys]
    clusters = scanner.clusters.keys
    head, prefix = _join(parts, "head"), _join(parts, "prefix")
    request, response = _join(parts, "request"), _join(parts, "response")
    cluster = _join(parts, "cluster")
    statuses = np.array([int(code or -1) for code, _, _ in responses], dtype=np.int16)[response]

    def texts(name: str) -> pd.api.extensions.ExtensionArray:
        dtype = pd.StringDtype(na_value=np.nan)
        values = _join(parts, name)
        if dtype.storage == "python":  # checks what pd.array would convert value by value
            return pd.arrays.StringArray(values, dtype=dtype)  # type: ignore[call-arg]
        return pd.array(values, dtype=dtype)

    columns: dict[str, Any] = {
        "line": _join(parts, "line"),
        "lines": _join(parts, "lines"),
        "time": pd.DatetimeIndex(time, tz="UTC"),
        "kind": pd.Categorical.from_codes(kind, pd.Index(log_scan.KINDS)),
        "level": _category(head, [level for level, _, _ in heads]),
        "logger": _category(head, [logger for _, logger, _ in heads]),
        "source": _category(head, [source for _, _, source in heads]),
        "plugin": _category(prefix, [name or None for name, _, _ in prefixes]),
        "root_id": _category(prefix, [root or None for _, _, root in prefixes]),
        "text": texts("text"),
        "thread": pd.array(pd.arrays.IntegerArray(thread, thread < 0)),
        "method": _category(request, [method for method, _ in requests]),
        "path": _category(request, [path for _, path in requests]),
        "status": pd.arrays.IntegerArray(statuses, statuses < 0),
        "flags": _category(response, [flags or None for _, flags, _ in responses]),
        "details": _category(response, [details or None for _, _, details in responses]),
        "duration_ms": np.where(duration < 0, np.nan, duration),
        "user_agent": texts("user_agent"),
        "request_id": texts("request_id"),
        "upstream_cluster": _category(cluster, [None if c in ("", "-") else c for c in clusters]),
        "direction": _category(cluster, [_direction(name) for name in clusters]),
    }
    return pd.DataFrame({name: columns[name] for name in COLUMNS}, copy=False)
