"""Envoy's log as records: a text may hold any character, so that lines are no help."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from helpers.bare_envoy.types import PLUGIN_LOGGER, Log, text

# Control characters that no text of Envoy's own holds stand around each record and field.
_START, _FIELD, _END = b"\x1d\x1e", b"\x1f\x1e", b"\x1e\x1d"
#: Thread, level, logger, message.
FORMAT = (_START + _FIELD.join([b"%t", b"%l", b"%n", b"%v"]) + _END).decode()
# Envoy's trace of calls: "[host->vm] proxy_on_log(2)"; a plugin's line begins with _WASM.
_CALL = _FIELD + _FIELD.join([b"trace", b"wasm", b"["])
_WASM = "wasm log"


#: How many records are kept for `lines`; with "trace" a request of one plugin writes about 25.
_KEPT = 50_000


class LogReader:
    """Reads what Envoy has written since the last time."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._descriptor = os.open(path, os.O_RDONLY)
        self._rest = b""
        self._main = b""
        self._records: deque[bytes] = deque(maxlen=_KEPT)

    def read(self) -> list[Log]:
        """The new complete lines, without the trace of calls that Envoy itself writes."""
        found: list[Log] = []
        for record in self._new():
            # Most of the lines by far, and nobody asks for them in the middle of a request.
            if _CALL not in record[:64]:
                found.extend(self._parsed(record))
        return found

    def lines(self) -> list[Log]:
        """All lines since the start, the trace of calls included; at most the last 50,000."""
        self._new()
        return [line for record in self._records for line in self._parsed(record)]

    def last(self, count: int = 20) -> str:
        """The last lines for an error's `detail`, also what Envoy wrote outside of its log."""
        self._new()
        records = list(self._records)[-count:]
        said = [str(line) for record in records for line in self._parsed(record)]
        if loose := text(self._rest).strip():
            said.append(loose)
        return "\n".join(said)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _new(self) -> list[bytes]:
        data = self._rest
        while block := os.read(self._descriptor, 1 << 20):
            data += block
        if not data:
            return []
        *complete, self._rest = data.split(_END)
        self._records.extend(complete)
        return complete

    def _parsed(self, record: bytes) -> list[Log]:
        before, mark, content = record.partition(_START)
        # What a crash prints comes without marks.
        loose = text(before).strip()
        found = [Log("critical", "", loose, "console")] if loose else []
        parts = content.split(_FIELD, 3)
        if not mark or len(parts) != 4:
            return found
        if parts[2] == b"main" and not self._main:
            self._main = parts[0]
        main = parts[0] == self._main
        level, logger, message = (text(part) for part in parts[1:])
        if logger == "main" and level == "info":  # only told us which thread it is
            return found
        if logger == "wasm" and message.startswith(_WASM):
            # A plugin's name with ": " in it would be cut short; Istio's names have none.
            prefix, colon, said = message.removeprefix(_WASM).partition(": ")
            if colon:
                return [*found, Log(level, prefix.strip(), said, PLUGIN_LOGGER, main)]
        return [*found, Log(level, "", message, logger, main)]
