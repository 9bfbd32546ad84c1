"""The HTML report of a run: each executed notebook, and an index with the summary table."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbconvert import HTMLExporter

from helpers import files
from helpers.cli.outcome import Outcome
from helpers.setup import places

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.3em .9em;vertical-align:top;"
    "border-bottom:1px solid #999}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
)


def write_notebook(folder: Path, name: str, notebook: Any) -> Path:
    """Write the executed `notebook` as one HTML file that needs no network; its path."""
    exporter = HTMLExporter(
        embed_images=True,
        # Empty addresses: the report must read the same in a room without a network.
        mathjax_url="", require_js_url="", jquery_url="", jupyter_widgets_base_url="",
        html_manager_semver_range="", widget_renderer_url="", mermaid_js_url="",
    )
    # Images are named relative to the notebooks.
    metadata = {"name": name, "path": str(places.NOTEBOOKS)}
    body, _ = exporter.from_notebook_node(notebook, resources={"metadata": metadata})
    path = folder / f"{name}.html"
    files.write_atomic(path, body)
    return path


def write_index(
    folder: Path, outcomes: Sequence[Outcome], lines: Sequence[str], *, more: str = ""
) -> Path:
    """Write index.html with the summary; its path.

    Args:
        lines: what is said under the table.
        more: HTML that follows them: the section of a cluster.
    """
    rows = []
    for one in outcomes:
        name = html.escape(one.name)
        link = f"<a href='{name}.html'>{name}</a>" if one.reported else name
        verified = "<br>".join(
            f"{'✔' if check.passed else '✘ NOT'} verified: {html.escape(check.id)}"
            f"<br><small>expected {html.escape(check.expected)}; seen {html.escape(check.seen)}"
            "</small>"
            for check in one.checks
        )
        wrong = "".join(f"<pre>{html.escape(text)}</pre>" for text in one.problems)
        rows.append(
            f"<tr><td>{link}<td>{'passed' if one.passed else 'FAILED'}"
            f"<td>{one.cells} of {one.total}<td>{one.seconds:.1f}<td>{verified}{wrong}</tr>"
        )
    said = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    made = time.strftime("%Y-%m-%d %H:%M:%S %z")
    document = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Workbook report</title>"
        f"<style>{_STYLE}</style><h1>Workbook report</h1><p>Made {made}</p>"
        "<table><tr><th>Notebook<th>Outcome<th>Cells<th>Seconds<th>What was verified</tr>"
        f"{''.join(rows)}</table>{said}{more}</html>\n"
    )
    path = folder / "index.html"
    files.write_atomic(path, document)
    return path
