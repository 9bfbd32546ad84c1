"""What differs between two meshes, after taking away what must differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.comparison.reading import Seen
from helpers.comparison.running import Answer
from helpers.mesh.local.istiod import RESOURCE_PREFIX

#: All that is left out of the comparison, and why. Nothing else is.
LEFT_OUT = {
    "the names of namespaces": "each mesh has its own; own, root and elsewhere stand for them",
    "the value of a resourceVersion": "each API server counts for itself; it must be the one that "
    "the object has",
    "where ECDS comes from": "ADS in a cluster, a file on this computer",
    "configurations of filters that no chain of port 9080 has": "a chain that is draining keeps "
    "its subscriptions for a while",
    "Istio's own filters but for their places": "what they are configured with is no plugin's "
    "business",
    "the order of several complaints about an object": "the API server goes through fields in the "
    "order of a Go map, which has none; which complaint is the first to name a field follows it",
    "the two markers": "they only show that a set has reached the sidecar",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        reason: why it stays; empty when nobody has accounted for it.
    """

    what: str
    local: Any
    cluster: Any
    reason: str = ""

    def __str__(self) -> str:
        kept = f" (kept: {self.reason})" if self.reason else ""
        return f"{self.what}{kept}\n    local   {self.local!r}\n    cluster {self.cluster!r}"


#: What the local mesh does not carry out, by the start of its word for it, and why that stays.
NOT_MODELLED = {
    "the local mesh does not pull": "images of a registry: this computer has none, and says so "
    "instead of answering 403 to every request, as a cluster does for an image that is not there",
}


def differences(local: Seen, cluster: Seen) -> list[Difference]:
    """Each difference between what two sidecars hold of one set; none when they agree."""
    found = [
        Difference(f"{key} is not carried out", local.unmodelled.get(key, ""),
                   cluster.unmodelled.get(key, ""), _why(local.unmodelled.get(key, "")))
        for key in sorted({*local.unmodelled, *cluster.unmodelled})
    ]  # fmt: skip
    left = {RESOURCE_PREFIX + key for key in (*local.unmodelled, *cluster.unmodelled)}
    if local.refused != cluster.refused:
        found.append(Difference("what is refused", local.refused, cluster.refused))
    for chain in sorted({*local.filters, *cluster.filters}):
        one, other = (
            None if (all_ := seen.filters.get(chain)) is None
            else tuple(entry for entry in all_ if entry[0] not in left)
            for seen in (local, cluster)
        )  # fmt: skip
        if one is None or other is None or [e[0] for e in one] != [e[0] for e in other]:
            found.append(Difference(f"filters, {chain}", _names(one), _names(other)))
            continue
        for (name, mine), (_, theirs) in zip(one, other, strict=True):
            found += [
                Difference(f"{name}, {chain}: {path}", *pair)
                for path, *pair in _paths(mine, theirs, "")
            ]
    for name in sorted({*local.ecds, *cluster.ecds} - left):
        found += [
            Difference(f"ECDS {name}: {path}", *pair)
            for path, *pair in _paths(local.ecds.get(name), cluster.ecds.get(name), "")
        ]
    return found


def _why(what: str) -> str:
    return next((why for start, why in NOT_MODELLED.items() if what.startswith(start)), "")


def _names(chain: tuple[tuple[str, Any], ...] | None) -> list[str] | None:
    return None if chain is None else [name.removeprefix(RESOURCE_PREFIX) for name, _ in chain]


def _paths(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            yield from _paths(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
    elif one != other:
        yield path, one, other


#: Doubtful objects: what stays different, beside `NOT_MODELLED`.
WEBHOOK = (
    "Istio's webhook names no field, in the same sentence; the local mesh knows which it means"
)


def verdict(local: Answer, cluster: Answer) -> list[Difference]:
    """Each difference between two answers; none when outcome, field and sentence are the same."""
    if local.outcome == "not modelled" and cluster.outcome == "taken":
        return [Difference("outcome", local.message, "taken", _why(local.message))]
    mine, theirs = _sorted(local.message), _sorted(cluster.message)
    found = [
        Difference(what, one, other)
        for what, one, other in (
            ("outcome", local.outcome, cluster.outcome),
            ("message", mine, theirs),
        )
        if one != other
    ]
    if not found and local.field != cluster.field and not _another(cluster):
        by_webhook = "admission webhook" in cluster.message and not cluster.field
        reason = WEBHOOK if by_webhook and local.field else ""
        found.append(Difference("field", local.field, cluster.field, reason))
    return found


def _sorted(message: str) -> str:
    head, *complaints = message.split("\n* ")
    return "\n* ".join([head, *sorted(complaints)])


def _another(answer: Answer) -> bool:
    """Whether the field named is one of several."""
    complaints = answer.message.split("\n* ")[1:]
    return len(complaints) > 1 and any(each.startswith(answer.field + ":") for each in complaints)
