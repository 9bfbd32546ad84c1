"""Why is there no log line? Layer by layer, as far as the first that fails."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from helpers.doctor import layers_envoy, layers_files, layers_log, layers_objects
from helpers.doctor.case import Case, LayerFails
from helpers.errors import WorkbookError
from helpers.mesh.base import Mesh
from helpers.show import TableResult, badge_html, table_text

COLUMNS = ("layer", "outcome", "seen")
OK, FAILS, NOT_REACHED = "ok", "FAILS", "not reached"

#: From the pod to the line; each needs those before it. Direction comes before the filter,
#: since a plugin that matches outbound traffic only is rightly missing from the inbound chain.
LAYERS: Mapping[str, Callable[[Case], str]] = MappingProxyType(
    {
        "pod": layers_objects.pod,
        "plugin": layers_objects.plugin,
        "volume": layers_files.volume,
        "file": layers_files.file,
        "module": layers_files.module,
        "selector": layers_objects.selector,
        "direction": layers_objects.direction,
        "filter": layers_envoy.filters,
        "configuration": layers_envoy.accepted,
        "requests": layers_envoy.requests,
        "log level": layers_log.level,
        "log line": layers_log.line,
    }
)


@dataclass(frozen=True, kw_only=True)
class Diagnosis(TableResult):
    """The layers. Columns: layer, outcome ("ok", "FAILS" or "not reached"), seen (all str).

    Attributes:
        layer: the first layer that fails; empty when the line was found.
        cause: why the line is lost there.
        fix: what a person types on a cluster.
        call: the same with the workbook's helpers.
    """

    layer: str = ""
    cause: str = ""
    fix: str = ""
    call: str = ""

    @property
    def found(self) -> bool:
        """Whether the line is there."""
        return not self.layer

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col' style='text-align:left'>{name}</th>" for name in COLUMNS)
        body = ""
        for row in self.rows:
            # "not reached" in two lines would make each of these rows twice as high.
            cells = (
                f"<td style='text-align:left;white-space:nowrap'>{html.escape(row[1])}</td>"
                f"<td style='text-align:left;overflow-wrap:anywhere'>{html.escape(row[2])}</td>"
            )
            weight = "font-weight:bold" if row[1] == FAILS else "font-weight:normal"
            body += (
                f"<tr style='{weight}'>"
                f"<th scope='row' style='text-align:left;white-space:nowrap;{weight}'>"
                f"{html.escape(row[0])}</th>{cells}</tr>"
            )
        if self.found:
            after = "<div><b>The line is there.</b></div>"
        else:
            after = (
                f"<div role='alert'><b>Lost at</b>: {html.escape(self.layer)}<br>"
                f"<b>Cause</b>: {html.escape(self.cause)}<br>"
                f"<b>Fix</b>: <code>{html.escape(self.fix)}</code><br>"
                f"<b>Here</b>: <code>{html.escape(self.call)}</code></div>"
            )
        return (
            f"<div>{badge_html(self.mesh)}<table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{after}</div>"
        )


def why_no_log(
    mesh: Mesh,
    *,
    namespace: str | None = None,
    plugin: str = "header-logger",
    text: str = "User-Agent",
) -> Diagnosis:
    """Follow a request from productpage's pod to the plugin's log line.

    Changes nothing; it sends four requests with a User-Agent of its own, once it gets there.

    Args:
        namespace: the pod's namespace; None means the mesh's.
        plugin: name of the WasmPlugin or TrafficExtension.
        text: what the plugin's line should contain.
    """
    begun = time.monotonic()
    case = Case(mesh, namespace or mesh.namespace, plugin, text)
    rows: list[tuple[str, str, str]] = []
    lost: LayerFails | None = None
    for name, look in LAYERS.items():
        if lost is not None:
            rows.append((name, NOT_REACHED, ""))
            continue
        try:
            rows.append((name, OK, look(case)))
        except LayerFails as failure:
            lost = failure
        except WorkbookError as error:  # the mesh could not answer: that is what is wrong here
            lost = LayerFails(
                error.what,
                cause=error.cause,
                call=error.fix,
                command=f"kubectl get pods -n {case.namespace}",
            )
        if lost is not None:
            rows.append((name, FAILS, lost.seen))
    layer = next((row[0] for row in rows if row[1] == FAILS), "")
    shown = table_text(COLUMNS, rows)
    if lost is None:
        shown += "\n\nThe line is there."
    else:
        shown += (
            f"\n\nLost at: {layer}\nCause: {lost.cause}\nFix:   {lost.command}\nHere:  {lost.call}"
        )
    return Diagnosis(
        text=shown,
        mesh=mesh.kind,
        seconds=time.monotonic() - begun,
        columns=COLUMNS,
        rows=tuple(rows),
        layer=layer,
        cause="" if lost is None else lost.cause,
        fix="" if lost is None else lost.command,
        call="" if lost is None else lost.call,
    )
