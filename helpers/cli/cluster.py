"""`workbook cluster up | status | down`: a cluster of one's own, shown as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers import cluster as clusters


def cluster(given: Mapping[str, Any]) -> int:
    """Do the step that the options `given` name; 0, or 1 when `status` finds something ill.

    Raises:
        WorkbookError: the step failed; it says which part and what to do.
    """
    if given["step"] == "up":
        print(clusters.up(provider=given["provider"], say=_say, images=given["images"]))
        return 0
    if given["step"] == "down":
        print(clusters.down(cache=given["cache"]))
        return 0
    found = clusters.status()
    print(found)
    return 0 if found.extra["healthy"] else 1


def _say(text: str) -> None:
    print(text, flush=True)
