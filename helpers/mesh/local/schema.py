"""What the API server would say about an object: the door of the local mesh's store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.mesh.local import kinds


def validate(
    obj: Mapping[str, Any], *, verb: str = "creating", source: str = "STDIN"
) -> dict[str, Any]:
    """The object with the API server's defaults filled in."""
    kinds.of_manifest(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    return dict(obj)
