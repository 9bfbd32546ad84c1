"""The events of the local mesh, as `kubectl get events` shows them."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from helpers import files
from helpers.mesh.base import Event

_SCHEMA = 1
_KEEP = 300
# A kubelet repeats an event with growing pauses; here one count a second is enough.
_REPEAT_SECONDS = 1.0


class Events:
    """The recorded events of one state folder, oldest first; the last 300 are kept."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.json"

    def all(self) -> list[Event]:
        """Every kept event.

        Raises:
            BadState: the file is damaged or another version's.
        """
        try:
            return [Event(**entry) for entry in files.read_json(self._path, version=_SCHEMA)]
        except FileNotFoundError:
            return []
        except TypeError as error:
            raise files.damaged(self._path) from error

    def add(
        self, *, kind: str, reason: str, obj: str, source: str, message: str, namespace: str
    ) -> None:
        """Record an event; the same one again only raises its count.

        Args:
            kind: "Normal" or "Warning".
            obj: such as "pod/productpage-v1-5d8c-x7".
        """
        now = time.time()
        kept = self.all()
        for index in range(len(kept) - 1, -1, -1):
            old = kept[index]
            same = (old.type, old.reason, old.object, old.message, old.namespace) == (
                kind,
                reason,
                obj,
                message,
                namespace,
            )
            if same:
                if now - old.time < _REPEAT_SECONDS:
                    return
                del kept[index]
                kept.append(
                    Event(now, kind, reason, obj, source, message, namespace, old.count + 1)
                )
                break
        else:
            kept.append(Event(now, kind, reason, obj, source, message, namespace))
        files.write_json(self._path, [asdict(event) for event in kept[-_KEEP:]], version=_SCHEMA)
