"""What is known about a module, and how it looks in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.module import abi
from helpers.module.binary import Export, Import
from helpers.show import Result, command_html, table_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Problem:
    """Why Envoy would not load a module, or not use it.

    Attributes:
        what: one sentence with the value at fault.
        envoy: Envoy's own words in its log; empty where they were not observed.
        fix: what to do.
    """

    what: str
    envoy: str
    fix: str

    def __str__(self) -> str:
        said = f" Envoy: {self.envoy}." if self.envoy else ""
        return f"{self.what}.{said} Fix: {self.fix}."


@dataclass(frozen=True, kw_only=True)
class ModuleInfo(Result):
    """A Wasm module, looked into.

    Attributes:
        path: the file.
        size: its length in bytes.
        sha256: of its bytes, in hex.
        abi: the proxy-wasm version that it is marked with ("0.2.1"), "" for none.
        custom: its custom sections, (name, bytes of content).
        imports: what it wants from the host.
        exports: what it offers the host.
        missing: imports that this Envoy does not provide, as "module.name".
        allocator: the export by which the host asks for memory, "" for none.
        initialiser: the export that the host calls first, "" for none.
        problems: why Envoy would refuse it; empty when nothing is known against it.
    """

    path: Path
    size: int
    sha256: str
    abi: str
    custom: tuple[tuple[str, int], ...]
    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    missing: tuple[str, ...]
    allocator: str
    initialiser: str
    problems: tuple[Problem, ...]

    def frame(self) -> pd.DataFrame:
        """Imports and exports as rows.

        Columns: direction (str, "import" or "export"), concern (str), module (str, "" for an
        export), name (str), kind (str), provided (bool, True for an export).
        """
        import pandas as pd  # slow to import, and most callers never ask for a frame

        rows: list[tuple[object, ...]] = [
            ("import", abi.import_concern(i.module, i.name), i.module, i.name, i.kind,
             f"{i.module}.{i.name}" not in self.missing)
            for i in self.imports
        ]
        rows += [("export", abi.export_concern(e.name), "", e.name, e.kind, True)
                 for e in self.exports]
        columns = ["direction", "concern", "module", "name", "kind", "provided"]
        frame = pd.DataFrame(rows, columns=columns)
        kinds = dict.fromkeys(columns[:-1], "str") | {"provided": "bool"}
        return frame.astype(kinds)

    def _repr_html_(self) -> str:
        def table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
            head = "".join(f"<th scope='col' style='text-align:left'>{html.escape(h)}</th>"
                           for h in heads)
            body = "".join(
                "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(str(v))}</td>"
                                 for v in row) + "</tr>"
                for row in rows)
            return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

        troubles = "".join(f"<li>{html.escape(str(p))}</li>" for p in self.problems)
        verdict = f"<b>Problems</b><ul>{troubles}</ul>" if troubles else (
            "<div>No problem found: Envoy provides all that it imports.</div>")
        notes = "".join(f"<div><i>{html.escape(note)}</i></div>" for note in self.notes)
        return ("<div>" + command_html(self.command)
                + table(("what", "value"), facts(self)) + verdict
                + table(("direction", "concern", "names"), by_concern(self)) + notes + "</div>")


def facts(info: ModuleInfo) -> list[tuple[object, ...]]:
    """The short facts, as rows of (what, value)."""
    sections = ", ".join(f"{name} {size:,}" for name, size in info.custom[:12]) or "none"
    return [
        ("file", info.path.name), ("size", f"{info.size:,} bytes"), ("sha256", info.sha256),
        ("ABI", info.abi or "none"), ("called first", info.initialiser or "nothing"),
        ("allocator", info.allocator or "none"), ("custom sections", sections),
    ]


def by_concern(info: ModuleInfo) -> list[tuple[object, ...]]:
    """Imports and exports, as rows of (direction, concern, names)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for wanted in info.imports:
        concern = abi.import_concern(wanted.module, wanted.name)
        groups.setdefault(("import", concern), []).append(wanted.name)
    for offered in info.exports:
        groups.setdefault(("export", abi.export_concern(offered.name)), []).append(offered.name)
    return [(direction, concern, _few(names)) for (direction, concern), names in groups.items()]


def _few(names: list[str]) -> str:
    shown = " ".join(names[:60])
    return shown if len(names) <= 60 else f"{shown} … ({len(names):,} in all)"


def text(info: ModuleInfo) -> str:
    """The same as plain text."""
    parts = [table_text(("what", "value"), facts(info)),
             table_text(("direction", "concern", "names"), by_concern(info))]
    parts += [f"PROBLEM: {problem}" for problem in info.problems]
    return "\n\n".join(parts)
