"""What `helpers.traffic.send` accepts: ranges, headers, and who the requests come from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from helpers.errors import BadInput

Agents = str | bytes | Sequence[str | bytes] | Mapping[str, float]


def check(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse a `value` that is no number from `low` to `high`."""
    kinds: tuple[type, ...] = (int, np.integer) if whole else (int, float, np.number)
    ok = isinstance(value, kinds) and not isinstance(value, bool)
    if not ok or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise BadInput(
            f"{name}={value!r} is outside what send takes",
            cause=f"{name} is {'a whole number' if whole else 'a number'} "
            f"from {low:,g} to {high:,g}",
            fix=f"choose a {name} in that range",
        )


def header(name: str, value: str | bytes) -> bytes:
    """A header's value as it is sent; refuses a name or a value that cannot be."""
    raw = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(rb"[\0\r\n]", raw):
        raise BadInput(
            f"header {name!r}: {value!r} cannot be sent",
            cause="a header's name is a token, and no line break or NUL may stand in its value",
            fix="take these characters out",
        )
    return raw.strip(b" \t")


def agents(wanted: Agents) -> Iterator[bytes]:
    """User-Agents without end: in turn, or spread evenly by weight."""
    if isinstance(wanted, str | bytes):
        wanted = (wanted,)
    weights = (
        {header("User-Agent", name): float(weight) for name, weight in wanted.items()}
        if isinstance(wanted, Mapping)
        else None
    )
    names = list(weights) if weights else [header("User-Agent", name) for name in wanted]
    if not names or not all(names) or (weights and not all(0 < w < 1e9 for w in weights.values())):
        raise BadInput(
            f"user_agents={wanted!r} names no client to send as",
            cause="it needs one name or more, none empty, and weights above 0",
            fix="pass for example user_agents=('MyTestClient', 'curl/8')",
        )
    return _spread(names, weights) if weights else itertools.cycle(names)


def _spread(names: list[bytes], weights: Mapping[bytes, float]) -> Iterator[bytes]:
    # Smooth weighted round robin: each turn all gain their weight, the richest goes and pays.
    total = sum(weights.values())
    credit = dict.fromkeys(names, 0.0)
    while True:
        for name in names:
            credit[name] += weights[name]
        chosen = max(names, key=lambda name: credit[name])
        credit[chosen] -= total
        yield chosen
