"""What is kept of each request of a run, as a frame and on disk."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import paths
from helpers.errors import BadInput


@dataclass(frozen=True)
class Request:
    """One request and, once it is over, its outcome."""

    id: str
    agent: bytes
    request_id: str
    time: float = 0.0  # seconds since the epoch
    late_ms: float = 0.0
    status: int = 0
    latency_ms: float = float("nan")
    error: str = ""

    @property
    def user_agent(self) -> bytes:
        return self.agent + b" req/" + self.id.encode("ascii")


def last_path() -> Path:
    """Where the last run is kept, also when it was cancelled: a CSV with `send`'s columns."""
    return paths.state() / "traffic" / "last.csv"


def last() -> pd.DataFrame:
    """The last run, read from `last_path()`; columns as `send` returns them.

    Raises:
        BadInput: there was no run yet.
    """
    try:
        text = last_path().read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(
            f"there is no {paths.shown(last_path())}",
            cause="no traffic was sent in this state folder yet",
            fix="call traffic.send(mesh) first",
        ) from error
    rows = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    rows["time"] = pd.to_datetime(rows["time"], utc=True, format="ISO8601").astype(
        "datetime64[ns, UTC]"
    )
    rows["status"] = pd.to_numeric(rows["status"]).astype("Int16")
    for name in ("latency_ms", "late_ms"):
        rows[name] = pd.to_numeric(rows[name]).astype("float64")
    return rows


def csv(rows: pd.DataFrame) -> str:
    """The rows as `last` reads them."""
    return rows.to_csv(index=False, lineterminator="\n")


def frame(rows: Sequence[Request]) -> pd.DataFrame:
    """One row a request, with the columns of `helpers.traffic.send`."""
    def text(value: bytes) -> str:
        return value.decode("utf-8", "backslashreplace")

    def texts(values: list[str]) -> pd.api.extensions.ExtensionArray:
        return pd.array(values, dtype="str")

    status = np.array([row.status for row in rows], dtype=np.int16)
    times = np.array([int(row.time * 1e9) for row in rows], dtype="int64").astype("M8[ns]")
    return pd.DataFrame(
        {
            "id": texts([row.id for row in rows]),
            "time": pd.DatetimeIndex(times, tz="UTC"),
            "status": pd.arrays.IntegerArray(status, status == 0),
            "latency_ms": np.array([row.latency_ms for row in rows], dtype=float),
            "user_agent": texts([text(row.user_agent) for row in rows]),
            "agent": texts([text(row.agent) for row in rows]),
            "error": texts([row.error for row in rows]),
            "request_id": texts([row.request_id for row in rows]),
            "late_ms": np.array([row.late_ms for row in rows], dtype=float),
        }
    )
