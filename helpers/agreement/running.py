"""Run generated cases through both hosts and count, by kind of plugin, where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from helpers import steps
from helpers.agreement import behaviours, cases
from helpers.agreement.cases import Case, Filter
from helpers.agreement.compare import differences
from helpers.agreement.hosts import Hosts
from helpers.bare_envoy import EnvoyEnded

#: Cases that one Envoy gets before a fresh one, with other chains, takes its place.
_OF_ONE_ENVOY = 500
_CHAINS_A_KIND = 4
_MOST_SHOWN = 10
_MOST_ENDED = 5


@dataclass
class Found:
    """What a run found.

    Attributes:
        tried: cases by kind.
        differing: of them, those in which the two differ.
        shown: the first of those, each as text.
        ended: each time that Envoy itself ended; its chains were left and others taken.
    """

    tried: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def run(count: int, seed: int, *, kinds: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None) -> Found:
    """Send `count` generated cases through both.

    Args:
        count: how many.
        seed: the same seed makes the same cases.
        kinds: keys of `behaviours.KINDS`; all when empty.
        say: told how far it is.

    Raises:
        BuildFailed, ToolchainMissing: the plugins cannot be built.
        EnvoyEnded: Envoy ended again and again.
    """
    choice, found = Random(seed), Found()
    names = list(kinds) or list(behaviours.KINDS)
    while found.tried.total() < count:
        chains = [(name, behaviours.KINDS[name](choice))
                  for name in names for _ in range(_CHAINS_A_KIND)]
        needed = {one.plugin for _, chain in chains for one in chain if not one.module}
        modules = {name: steps.build_plugin(name) for name in sorted(needed)}
        try:
            with Hosts([chain for _, chain in chains], modules) as hosts:
                for _ in range(min(_OF_ONE_ENVOY, count - found.tried.total())):
                    at = choice.randrange(len(chains))
                    kind, chain = chains[at]
                    _one(hosts, at, kind, chain, cases.case(choice, chain), found)
        except EnvoyEnded as error:
            # Some settings end Envoy itself: there is nothing to compare with.
            found.ended.append(error.what)
            if len(found.ended) > _MOST_ENDED:
                raise
        say(f"{found.tried.total():,} of {count:,} cases, {found.differing.total()} differ")
    return found


def _one(hosts: Hosts, at: int, kind: str, chain: Sequence[Filter], case: Case,
         found: Found) -> None:
    wrong = differences(*hosts.both(at, case))
    found.tried[kind] += 1
    if wrong:
        found.differing[kind] += 1
        if len(found.shown) < _MOST_SHOWN:
            found.shown.append("\n  ".join([f"{kind}: {case}", *map(str, chain), *wrong]))
