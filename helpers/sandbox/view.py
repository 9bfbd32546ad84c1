"""How an exchange looks: plain text here and there, tables and a timeline in a notebook."""

from __future__ import annotations

import html as escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers.sandbox.exchange import Exchange


def text(exchange: Exchange) -> str:
    """An exchange in plain text."""
    lines = [f"HTTP {exchange.status or '–'} ({exchange.state}, {exchange.details or 'no answer'})"]
    lines += [str(line) for line in exchange.logs]
    lines += [str(panic) for panic in exchange.panics]
    return "\n".join(lines)


def html(exchange: Exchange) -> str:
    """An exchange as a notebook shows it."""
    return f"<pre>{escape.escape(text(exchange))}</pre>"
