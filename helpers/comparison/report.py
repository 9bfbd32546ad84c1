"""What came of it, as text for a terminal and as Markdown for the docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers import files
from helpers.comparison.compare import LEFT_OUT, Difference
from helpers.comparison.model import Doubtful, PluginSet
from helpers.comparison.reading import Seen
from helpers.comparison.running import Answer
from helpers.errors import BadInput

BEGIN, END = "<!-- made by helpers.comparison: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class OfSet:
    """One set, and in what the meshes do not agree about it."""

    tried: PluginSet
    cluster: Seen
    differences: Sequence[Difference]


@dataclass(frozen=True)
class OfObject:
    """One doubtful object, and in what the meshes do not agree about it."""

    tried: Doubtful
    local: Answer
    cluster: Answer
    differences: Sequence[Difference]


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        about: seed, versions, date: what it was made with.
    """

    about: str
    sets: Sequence[OfSet]
    objects: Sequence[OfObject]

    @property
    def unexplained(self) -> list[tuple[str, Difference]]:
        """The differences that nobody has accounted for, and where."""
        named: list[tuple[str, Sequence[Difference]]] = [
            *((f"set {e.tried.number} ({e.tried.theme})", e.differences) for e in self.sets),
            *((f"object {e.tried.number} ({e.tried.what})", e.differences) for e in self.objects),
        ]
        return [(name, each) for name, found in named for each in found if not each.reason]

    def summary(self) -> str:
        """A few lines, the unexplained differences among them."""
        lines = [self.about]
        for what, found in (("sets", self.sets), ("doubtful objects", self.objects)):
            kept, differ = _counted(found)
            lines.append(
                f"{len(found)} {what}: {len(found) - kept - differ} agree, {kept} kept, "
                f"{differ} unexplained"
            )
        lines += [f"{where}: {each}" for where, each in self.unexplained]
        return "\n".join(lines)

    def markdown(self) -> str:
        """The tables."""
        return "\n".join([
            self.about, "",
            *_themes(self.sets), "",
            "### What stays different", "",
            *_kept([*self.sets, *self.objects]), "",
            "### What is left out of the comparison", "",
            "| what | why |", "|---|---|",
            *(f"| {what} | {why} |" for what, why in LEFT_OUT.items()), "",
            "### Each set", "",
            *_each_set(self.sets), "",
            "### Each doubtful object", "",
            *_each_object(self.objects),
        ])  # fmt: skip

    def write(self, path: Path) -> None:
        """Put the tables between the two marks of a document.

        Raises:
            BadInput: the document has no such marks.
        """
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise BadInput(
                f"{path.name} has no place for the table",
                cause=f"it lies between {BEGIN} and {END}",
                fix="put these two lines where the table belongs",
            )
        whole = f"{before}{begin}\n\n{self.markdown()}\n\n{end}{after}"
        files.write_atomic(path, whole.encode())


def _counted(found: Iterable[OfSet | OfObject]) -> tuple[int, int]:
    """How many differ only as they may, and how many otherwise."""
    kept = differ = 0
    for each in found:
        unexplained = any(not one.reason for one in each.differences)
        differ += unexplained
        kept += bool(each.differences) and not unexplained
    return kept, differ


def _themes(sets: Sequence[OfSet]) -> list[str]:
    rows = ["| sets about | sets | objects | agree | kept | unexplained |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for theme in [*dict.fromkeys(each.tried.theme for each in sets), ""]:
        mine = [each for each in sets if theme in ("", each.tried.theme)]
        kept, differ = _counted(mine)
        objects = sum(len(each.tried.items) for each in mine)
        rows.append(
            f"| {theme or 'all'} | {len(mine)} | {objects} | {len(mine) - kept - differ} "
            f"| {kept} | {differ} |"
        )
    return rows


def _kept(found: Sequence[OfSet | OfObject]) -> list[str]:
    counted: dict[str, int] = {}
    for each in found:
        for reason in dict.fromkeys(one.reason for one in each.differences if one.reason):
            counted[reason] = counted.get(reason, 0) + 1
    if not counted:
        return ["Nothing."]
    return ["| why | cases |", "|---|---|",
            *(f"| {_cell(reason)} | {count} |" for reason, count in counted.items())]  # fmt: skip


def _each_set(sets: Sequence[OfSet]) -> list[str]:
    rows = ["| set | about | objects | HTTP filters in, out | network filters in, out | ECDS | |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    for each in sets:
        seen = each.cluster
        counts = {
            what: ", ".join(str(len(seen.plugins(f"{side} {what}")))
                            for side in ("inbound", "outbound"))
            for what in ("http", "network")
        }  # fmt: skip
        rows.append(
            f"| {each.tried.number} | {each.tried.theme} | {len(each.tried.items)} "
            f"| {counts['http']} | {counts['network']} | {len(seen.ecds)} "
            f"| {_outcome(each.differences)} |"
        )
    return rows


def _each_object(objects: Sequence[OfObject]) -> list[str]:
    rows = ["| object | kind | what | the API server | field | |", "|---|---|---|---|---|---|"]
    for each in objects:
        field = each.cluster.field or each.local.field
        rows.append(
            f"| {each.tried.number} | {each.tried.manifest['kind']} | {_cell(each.tried.what)} "
            f"| {each.cluster.outcome} | {f'`{field}`' if field else ''} "
            f"| {_outcome(each.differences)} |"
        )
    return rows


def _outcome(differences: Sequence[Difference]) -> str:
    if not differences:
        return "same"
    return "kept" if all(each.reason for each in differences) else "**differs**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
