"""Envoy's access log: what it says of each exchange, in the order in which they ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.0003  # Envoy hands the lines over every millisecond


class AccessLog:
    """Reads one line an exchange (`config.ACCESS_LOG`)."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._descriptor = os.open(path, os.O_RDONLY)
        self._rest = b""

    def next(self, until: float, missing: Callable[[], Exception]) -> tuple[str, str]:
        """Response flags and code details of the next exchange; "" for none.

        Args:
            until: the deadline (time.monotonic).
            missing: makes the error to raise after it.
        """
        while b"\n" not in self._rest:
            if block := os.read(self._descriptor, 1 << 16):
                self._rest += block
            elif time.monotonic() > until:
                raise missing()
            else:
                time.sleep(_POLL_SECONDS)
        line, _, self._rest = self._rest.partition(b"\n")
        _, flags, details = line.decode("utf-8", "surrogateescape").split("\t")
        return "" if flags == "-" else flags, "" if details == "-" else details

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
