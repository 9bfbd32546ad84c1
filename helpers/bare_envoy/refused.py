"""Which plugins Envoy did not take at the start, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from helpers.bare_envoy import config
from helpers.bare_envoy.types import Chain, Log, Refused

#: Counters of a plugin's subscription; one that is not 0 means that Envoy has no filter for it.
STATS = r"^extension_config_discovery\..*\.(config_fail|update_rejected)$"
_REJECTED = "Filesystem config update rejected: "
_LOUD = ("warning", "error", "critical")


def find(
    chains: Sequence[Chain], stats: Mapping[str, int], lines: Sequence[Log]
) -> tuple[Refused, ...]:
    """The plugins that were refused.

    Args:
        stats: the counters that match `STATS`.
        lines: all of the start. Envoy tries one plugin after the other, and says at the end of
            each that failed that it rejected the update.
    """
    reasons: list[list[Log]] = [[]]
    for line in lines:
        if line.level in _LOUD:
            reasons[-1].append(line)
        if line.text.startswith(_REJECTED):
            reasons.append([])
    found: list[Refused] = []
    for number, chain in enumerate(chains):
        for position, plugin in enumerate(chain.plugins):
            mark = f".{config.resource(number, position)}."
            if not any(value for key, value in stats.items() if mark in key):
                continue
            words = next((words for words in reasons
                          if words and words[-1].text.endswith(f" {plugin.name}")), [])
            if words:
                reasons.remove(words)
            found.append(Refused(number, position, plugin.name, "\n".join(map(str, words))))
    return tuple(found)
