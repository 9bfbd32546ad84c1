"""`workbook cluster up | status | down`: a cluster of one's own, shown as text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from helpers import cluster as clusters
from helpers.errors import WorkbookError


def cluster(given: Mapping[str, Any]) -> int:
    """Do the step that the options `given` name; 0, or 1 when `status` finds something ill.

    Raises:
        WorkbookError: the step failed; it says which part and what to do.
    """
    if given["step"] == "up":
        provider = given["provider"] or default_provider()
        print(clusters.up(provider=provider, say=_say, images=given["images"]))
        return 0
    if given["step"] == "down":
        print(clusters.down(cache=given["cache"]))
        return 0
    found = clusters.status()
    print(found)
    return 0 if found.extra["healthy"] else 1


def default_provider() -> str:
    """Whoever made the cluster that is there; else bare for root on Linux without an engine."""
    if there := clusters.made_by():
        return there
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "kind"
    from helpers.cluster.kind import Kind

    try:
        Kind().engine()
    except WorkbookError:
        return "bare"
    return "kind"


def _say(text: str) -> None:
    print(text, flush=True)
