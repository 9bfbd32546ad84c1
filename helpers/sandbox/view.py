"""How an exchange looks: plain text here and there, tables in a notebook.

A change is marked by a sign and a word, never by colour alone, and all that comes from a plugin
is escaped: a header cannot write HTML into the notebook, nor a log line a second line.
"""

from __future__ import annotations

import html as escape
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from helpers.sandbox.changes import Change, argument, between, body, paragraph, readable
from helpers.sandbox.names import readable_name

if TYPE_CHECKING:
    import pandas as pd

    from helpers.sandbox.exchange import Exchange
    from helpers.sandbox.records import Call, Message

_MOST_ROWS = 200
_ANSWERS_NOTHING = frozenset({
    "proxy_on_context_create", "proxy_on_log", "proxy_on_delete", "proxy_on_tick",
    "proxy_on_queue_ready", "proxy_on_http_call_response", "proxy_on_foreign_function"})
_ANSWERS_YES = frozenset({"proxy_on_vm_start", "proxy_on_configure", "proxy_on_done"})
_DIRECTIONS = {"guest": "host -> VM", "host": "VM -> host"}
_CELL = "text-align:left;vertical-align:top;padding:.15em .6em;overflow-wrap:anywhere"
_CODE = "font-family:var(--jp-code-font-family,monospace);font-size:90%"
_PRE = f"{_CODE};margin:.2em 0;white-space:pre-wrap;overflow-wrap:anywhere"
_REQUEST = ("Request", "the client sent", "upstream got")
_RESPONSE = ("Response", "upstream sent", "the client got")


def text(exchange: Exchange) -> str:
    """An exchange in plain text: what was changed is marked as a diff marks it."""
    lines = [_headline(exchange)]
    for panic in exchange.panics:
        lines += [panic.what, f"  {panic.trap}"]
        lines += [f"  {number}: {readable_name(name)}" for number, name in enumerate(panic.frames)]
    for title, found, note in _messages(exchange):
        lines.append(f"{title}{f' ({note})' if note else ''}")
        lines += [f"  {_line(change)}" for change in found]
    for title, rows in _lists(exchange):
        lines.append(title)
        lines += [f"  {'  '.join(row)}" for row in rows]
    return "\n".join(lines)


def html(exchange: Exchange) -> str:
    """An exchange as a notebook shows it."""
    parts = [f"<div><b>{escape.escape(_headline(exchange))}</b></div>"]
    for panic in exchange.panics:
        frames = "\n".join(f"{number}: {readable_name(name)}"
                           for number, name in enumerate(panic.frames))
        parts.append(
            f"<div role='alert'><b>Panic</b> in <code>{escape.escape(panic.callback)}</code>: "
            f"{_lines_html(panic.message or 'it left no message')}"
            f"<br><small>{escape.escape(readable(panic.trap))}; "
            f"the functions on the stack, innermost first:</small>"
            f"<pre style='{_PRE}'>{escape.escape(paragraph(frames))}</pre></div>")
    for (title, found, note), sides in zip(_messages(exchange), (_REQUEST, _RESPONSE),
                                           strict=True):
        parts.append(_changes_html(title, found, note, sides))
    for title, rows in _lists(exchange):
        parts.append(_table_html(title, (), rows))
    if exchange.trace:
        parts.append(
            f"<details><summary>{escape.escape(_trace_title(exchange.trace))}</summary>"
            f"<pre style='{_PRE}' tabindex='0'>{escape.escape(trace_text(exchange.trace))}</pre>"
            "</details>")
    return f"<div style='display:flex;flex-direction:column;gap:.7em'>{''.join(parts)}</div>"


def trace_text(trace: Sequence[Call]) -> str:
    """The trace, a line a crossing; calls inside another are indented."""
    lines = []
    for call in trace[:_MOST_ROWS]:
        arrow = "->" if call.direction == "guest" else "<-"
        lines.append(f"{call.begun_us:>9,.0f} µs {'    ' * call.depth} {arrow} {call.name}"
                     f"({arguments(call)}) = {result(call) or 'nothing'}  "
                     f"[{call.took_us:,.0f} µs]")
    more = len(trace) - _MOST_ROWS
    return "\n".join([*lines, *([f"and {more:,} more in .trace"] if more > 0 else [])])


def trace_table(trace: Sequence[Call]) -> pd.DataFrame:
    """See `Exchange.trace_table`."""
    import pandas as pd  # slow to import, and most exchanges never ask for it

    made = pd.DataFrame({
        "begun_us": pd.Series([round(call.begun_us, 1) for call in trace], dtype="float64"),
        "direction": pd.Series([_DIRECTIONS[call.direction] for call in trace], dtype="str"),
        "call": pd.Series([call.name for call in trace], dtype="str"),
        "arguments": pd.Series([arguments(call) for call in trace], dtype="str"),
        "result": pd.Series([result(call) for call in trace], dtype="str"),
        "took_us": pd.Series([round(call.took_us, 1) for call in trace], dtype="float64"),
        "depth": pd.Series([call.depth for call in trace], dtype="int64"),
        "plugin": pd.Series([readable(call.plugin) for call in trace], dtype="str"),
        "context": pd.Series([call.context for call in trace], dtype="int64"),
    })
    made.index += 1  # the numbers of the timeline
    return made


def arguments(call: Call) -> str:
    """The arguments of a call in a line; of a callback without its context's number."""
    given = call.arguments
    if call.direction == "guest" and given and given[0][1] == call.context:
        given = given[1:]
    return ", ".join(f"{name}={argument(value)}" for name, value in given)


def result(call: Call) -> str:
    """What a call gave back, in words; empty for a callback that gives nothing back."""
    if call.direction == "guest" and call.result in ("0", "1"):
        if call.name in _ANSWERS_NOTHING:
            return ""
        if call.name in _ANSWERS_YES:
            return "true" if call.result == "1" else "false"
    return readable(call.result)


def _headline(exchange: Exchange) -> str:
    status = f"HTTP {exchange.status}" if exchange.status else "no answer"
    details = f", {readable(exchange.details)}" if exchange.details else ""
    return f"{status} ({exchange.state}{details})"


def _messages(exchange: Exchange) -> Iterable[tuple[str, list[Change], str]]:
    """Both messages: a heading, what became of them, and what has to be said of a side."""
    sent, got = exchange.sent, exchange.upstream
    yield "request", between(sent, got), _note(
        sent, got, "it never reached upstream" if exchange.state != "paused"
        else "upstream has not got it yet", "upstream got it as the client sent it")
    answered, client = exchange.answered, exchange.client
    local = exchange.local_reply
    if local is not None:
        note = f"a local reply, in upstream's place: {readable(local.details or 'no details')}"
        yield "response", between(None, client), note
    else:
        yield "response", between(answered, client), _note(
            answered, client, "the client got none", "the client got it as upstream sent it")


def _note(before: Message | None, after: Message | None, missing: str, same: str) -> str:
    """What has to be said of a message; empty where both sides are there and differ."""
    if after is None:
        return missing
    if before is None:
        return "what it was before is kept only with trace=True"
    return "" if any(change.sign != " " for change in between(before, after)) else same


def _line(change: Change) -> str:
    name = change.name if change.part != "trailer" else f"{change.name} (trailer)"
    if change.sign == "~":
        return f"~ {name}: {change.before} -> {change.after}"
    return f"{change.sign} {name}: {change.after if change.before is None else change.before}"


def _lists(exchange: Exchange) -> Iterable[tuple[str, list[tuple[str, ...]]]]:
    """What else happened, under headings; what did not happen has none."""
    if exchange.logs:
        yield "logged", [
            (line.level, readable(line.plugin), readable(line.callback), readable(line.text, 2000))
            for line in exchange.logs[:_MOST_ROWS]]
        if len(exchange.logs) > _MOST_ROWS:
            yield "not shown", [(f"{len(exchange.logs) - _MOST_ROWS:,} more lines, in .logs",)]
    if exchange.callouts:
        yield "called out to", [
            (readable(one.cluster), readable(one.headers.get(":method", "") or ""),
             readable(one.headers.get(":path", "") or ""), body(one.body))
            for one in exchange.callouts[:_MOST_ROWS]]
    if exchange.metrics:
        yield "metrics", [(readable(name), f"{value:,}")
                          for name, value in list(exchange.metrics.items())[:_MOST_ROWS]]
    if exchange.unimplemented:
        yield "asked for, and not carried out here", [
            (readable(name),) for name in exchange.unimplemented]
    notes: list[tuple[str, ...]] = [(readable(note, 2000),) for note in exchange.diagnostics]
    if exchange.details == "wasm_fail_stream" and not exchange.panics:
        notes.insert(0, ("the plugin died earlier, and is not called again: see "
                         "sandbox.panics",))
    if notes:
        yield "worth knowing", notes


def _trace_title(trace: Sequence[Call]) -> str:
    callbacks = sum(call.direction == "guest" for call in trace)
    took = max(call.begun_us + call.took_us for call in trace) - trace[0].begun_us
    return (f"Trace: {_count(callbacks, 'callback')}, "
            f"{_count(len(trace) - callbacks, 'host call')}, {took:,.0f} µs")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _changes_html(title: str, found: list[Change], note: str, sides: tuple[str, str, str]) -> str:
    if not found:
        return f"<div><b>{sides[0]}</b>: {escape.escape(note)}</div>" if note else ""
    head = (f"<b>{sides[0]}</b>{f': {escape.escape(note)}' if note else ''}")
    one_side = bool(note)
    rows = []
    for change in found[:_MOST_ROWS]:
        name = escape.escape(change.name)
        if change.part == "trailer":
            name += " <small>(trailer)</small>"
        start = f"<th scope='row' style='{_CELL};font-weight:normal;{_CODE}'>{name}</th>"
        if one_side:
            rows.append(f"<tr>{start}{_cell(change.before)}</tr>")
        elif change.sign == " ":
            # Once, over both columns: what differs is what has to be seen.
            rows.append(f"<tr><td style='{_CELL}'></td>{start}"
                        f"{_cell(change.before, span=True)}</tr>")
        else:
            rows.append(
                f"<tr><td style='{_CELL};white-space:nowrap'><b>{change.sign} {change.word}</b>"
                f"</td>{start}{_cell(change.before)}{_cell(change.after)}</tr>")
    columns = ("name", "value") if one_side else ("", "name", sides[1], sides[2])
    return _framed(sides[0], head, columns, rows)


def _cell(value: str | None, *, span: bool = False, whole: bool = False) -> str:
    shown = "–" if value is None else escape.escape(value) or "<i>empty</i>"
    style = f"{_CELL};{_CODE}{';white-space:nowrap' if whole else ''}"
    return f"<td style='{style}'{' colspan=2' if span else ''}>{shown}</td>"


def _lines_html(said: str) -> str:
    return escape.escape(paragraph(said)).replace("\n", "<br>")


def _table_html(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    # The last column takes what wraps; a word of the others is never broken.
    made = ["<tr>" + "".join(_cell(value, whole=True) for value in row[:-1]) + _cell(row[-1])
            + "</tr>" for row in rows]
    return _framed(title, f"<b>{escape.escape(title.capitalize())}</b>", columns, made)


def _framed(label: str, caption: str, columns: Sequence[str], rows: Sequence[str]) -> str:
    """A table that scrolls sideways where the page is narrow, and by the keyboard."""
    head = "".join(f"<th scope='col' style='{_CELL}'>{escape.escape(name)}</th>"
                   for name in columns)
    return (
        f"<div>{caption}"
        f"<div style='overflow-x:auto;max-width:100%' tabindex='0' role='region' "
        f"aria-label='{escape.escape(label, quote=True)}'>"
        f"<table style='margin:0;border-collapse:collapse'>"
        f"{f'<thead><tr>{head}</tr></thead>' if columns else ''}"
        f"<tbody>{''.join(rows)}</tbody></table></div></div>")
