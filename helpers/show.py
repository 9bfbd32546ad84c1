"""How results look: a card in a notebook, plain text everywhere else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# An exported page has no style for a bare <pre>: without a font of equal widths the columns
# of a table would not stand under each other.
_PRE = (
    "margin:.3em 0;white-space:pre-wrap;overflow-wrap:anywhere;max-height:32em;overflow:auto;"
    "font-family:var(--jp-code-font-family,monospace)"
)
# Columns that wrap are no columns any more: a table wider than the page scrolls sideways.
_PRE_TABLE = _PRE.replace("white-space:pre-wrap;overflow-wrap:anywhere", "white-space:pre")


def table_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under headings, padded with spaces, as kubectl and istioctl print them."""
    cells = [[str(c) for c in columns], *[[str(v) for v in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "   ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def command_html(command: str) -> str:
    """The command that a person would type, marked as such."""
    if not command:
        return ""
    return f"<pre style='{_PRE}'><code>$ {html.escape(command)}</code></pre>"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: "3 ms", "0.42 s", "75 s"."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def badge_html(mesh: str) -> str:
    """Which mesh made a result. The word carries the meaning; the frame only sets it off."""
    if not mesh:
        return ""
    return (
        "<span style='border:1px solid currentColor;border-radius:.6em;padding:0 .5em;"
        f"font-size:85%'>{html.escape(mesh)} mesh</span>"
    )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a step gives back.

    Attributes:
        command: what a person would type on a cluster; may hold several lines.
        text: what the command would print.
        mesh: "local" or "cluster"; empty where no mesh took part.
        seconds: wall time of the real work.
        notes: short remarks in our own words, printed under the text.
    """

    command: str = ""
    text: str = ""
    mesh: str = ""
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        # @dataclass would give each subclass a repr that lists its fields, unreadable where a
        # notebook shows plain text.
        super().__init_subclass__()
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign]

    def __str__(self) -> str:
        parts = [f"$ {self.command}"] if self.command else []
        if self.text:
            parts.append(self.text.rstrip("\n"))
        parts.extend(f"# {note}" for note in self.notes)
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        took = "" if self.seconds is None else f" <small>{duration(self.seconds)}</small>"
        notes = "".join(f"<div><i>{html.escape(note)}</i></div>" for note in self.notes)
        body = self._body_html() if self.text else ""
        return f"<div>{badge_html(self.mesh)}{took}{command_html(self.command)}{body}{notes}</div>"

    def _body_html(self) -> str:
        return f"<pre style='{_PRE}'>{html.escape(self.text)}</pre>"


@dataclass(frozen=True, kw_only=True)
class TableResult(Result):
    """A result whose text is a table.

    Attributes:
        columns: the headings.
        rows: one tuple a row, in the order of `columns`.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def _body_html(self) -> str:
        # tabindex: what scrolls must be reachable from the keyboard.
        return f"<pre tabindex='0' style='{_PRE_TABLE}'>{html.escape(self.text)}</pre>"

    def frame(self) -> Any:
        """The rows as a pandas DataFrame with `columns` (dtype object)."""
        import pandas as pd  # slow to import, and most cells never ask for a frame

        return pd.DataFrame([list(row) for row in self.rows], columns=list(self.columns))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "", **kwargs: Any
) -> TableResult:
    """A `TableResult` whose text is the padded table, or `empty` when there are no rows."""
    kept = tuple(tuple(row) for row in rows)
    text = table_text(columns, kept) if kept or not empty else empty
    return TableResult(columns=tuple(columns), rows=kept, text=text, **kwargs)
