"""Many cases through both hosts, an Envoy for each few hundred of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from helpers import steps
from helpers.agreement.behaviours import KINDS
from helpers.agreement.cases import Case, Filter, case
from helpers.agreement.compare import differences, kept
from helpers.agreement.hosts import Hosts
from helpers.bare_envoy import EnvoyEnded

PLUGINS = ("body-rewrite", "callout", "counters", "gate", "header-logger", "lifecycle", "noop",
           "panics", "properties", "response-headers", "shared-state", "trailers")
#: Chains of each kind in one Envoy. Each filter watches a file, and of those the kernel allows
#: 128 to one user.
CHAINS = 2
#: Cases that one Envoy sees.
ROUND = 400


@dataclass(frozen=True)
class Difference:
    """A case in which the hosts do not agree, and in what."""

    kind: str
    chain: tuple[Filter, ...]
    case: Case
    lines: tuple[str, ...]

    def __str__(self) -> str:
        plugins = [f"  {one.plugin} {one.config}" for one in self.chain]
        return "\n".join([self.kind, *plugins, f"  {self.case}", *(f"  * {x}" for x in self.lines)])


@dataclass
class Figures:
    """Cases by kind: all, those that differ as they may (`compare.KEPT`), and the others."""

    cases: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """One row a kind, and one for all."""
        rows = [f"{'kind':<18}{'cases':>8}{'agree':>8}{'kept':>6}{'differ':>8}"]
        for kind in [*self.cases, ""]:
            cases, kept_, differ = (
                (one[kind] if kind else one.total())
                for one in (self.cases, self.kept, self.differ))
            rows.append(f"{kind or 'all':<18}{cases:>8,}{cases - kept_ - differ:>8,}"
                        f"{kept_:>6,}{differ:>8,}")
        return "\n".join(rows)


def modules() -> dict[str, Path]:
    """The plugins, built.

    Raises:
        BuildFailed, ToolchainMissing: as for `steps.build_plugin`.
    """
    return {name: steps.build_plugin(name) for name in PLUGINS}


def chains(choice: Random, kinds: Sequence[str], each: int = CHAINS) -> list[tuple[Filter, ...]]:
    """So many chains of each kind, kind by kind."""
    return [KINDS[kind](choice) for kind in kinds for _ in range(each)]


def run(total: int, seed: int, kinds: Sequence[str], *, built: dict[str, Path] | None = None,
        progress: Callable[[int], None] = lambda done: None,
        tell: Callable[[Difference], None] = lambda difference: None) -> Figures:
    """Try `total` cases; `tell` is called with each difference.

    Raises:
        BuildFailed, ToolchainMissing, WorkbookError: as for `modules` and `Hosts`.
    """
    found, choice = Figures(Counter(dict.fromkeys(kinds, 0))), Random(seed)
    files = modules() if built is None else built
    each = max(CHAINS, CHAINS * len(KINDS) // len(kinds))
    while (left := total - found.cases.total()) > 0:
        made = chains(choice, kinds, each)
        with Hosts(made, files) as hosts:
            for _ in range(min(left, ROUND)):
                number = choice.randrange(len(made))
                kind, chain = kinds[number // each], made[number]
                one = case(choice, chain)
                found.cases[kind] += 1
                try:
                    ours, theirs = hosts.both(number, one)
                except EnvoyEnded as error:
                    found.differ[kind] += 1
                    tell(Difference(kind, chain, one, (error.what,)))
                    break
                if kept(ours, theirs):
                    found.kept[kind] += 1
                elif lines := differences(ours, theirs):
                    found.differ[kind] += 1
                    tell(Difference(kind, chain, one, tuple(lines)))
                progress(found.cases.total())
    return found
