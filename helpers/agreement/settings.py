"""Settings of plugins, and of the one that logs all it sees."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from helpers.agreement.cases import Filter, chance

Settings = dict[str, Any]


def text(data: bytes) -> Any:
    """Bytes as a plugin's setting has them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def lifecycle(settings: Settings) -> Filter:
    """The plugin that logs all it sees."""
    return Filter("lifecycle", json.dumps({"most_bytes": 64, **settings}))


def reads(choice: Random) -> Settings:
    """Now and then: read everything in every callback."""
    return {"read": "all"} if chance(choice, 40) else {}
