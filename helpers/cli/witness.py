"""What a cluster itself shows of a run: versions, nodes, the sidecars' own lines, counts by pod.

The checks of the notebooks are compared by the notebooks. This is looked at from outside, after
each notebook, through the same Mesh protocol, so that the report of a run says on which cluster
it was and which lines that cluster's sidecars have written.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from helpers import logs
from helpers.errors import WorkbookError
from helpers.show import table_text
from helpers.tags import TAG

if TYPE_CHECKING:
    import pandas as pd

    from helpers.mesh.cluster.mesh import ClusterMesh

#: How many of a pod's lines are quoted.
_QUOTED = 3

_COLUMNS = ("NOTEBOOK", "POD", "NODE", "RESTARTS", "INBOUND", "OUTBOUND", "USER-AGENT LINES",
            "TAGGED REQUESTS", "OF THEM LOGGED")


@dataclass(frozen=True)
class PodSeen:
    """One productpage pod at the end of one notebook.

    Attributes:
        node: the computer that it runs on; "?" where that could not be read.
        inbound, outbound: access-log lines since the notebook began, by direction.
        user_agent: plugin lines with User-Agent since then.
        tagged: requests of `helpers.traffic` in this pod's access log, each counted once.
        logged: how many of these have a plugin line in this same pod. Fewer than `tagged` is
            right where a notebook made the plugin silent, or broke it, on purpose.
        last: the newest of these plugin lines, as the sidecar wrote them.
    """

    notebook: str
    pod: str
    node: str
    restarts: int
    inbound: int
    outbound: int
    user_agent: int
    tagged: int
    logged: int
    last: tuple[str, ...] = ()


@dataclass
class Witness:
    """Looks at a mesh after each notebook.

    Attributes:
        about: what `mesh.describe()` says: context, versions, namespace, rights.
        seen: what was found, in the order of the notebooks.
        again: the command that cleans, for whoever has to do it by hand.
        troubles: what could not be looked at, and why; a look never fails a run.
        left: what `mesh.clean()` said at the end.
        clean: whether that went through.
    """

    mesh: ClusterMesh
    about: str
    seen: list[PodSeen] = field(default_factory=list)
    again: str = "./workbook clean --mesh cluster"
    troubles: list[str] = field(default_factory=list)
    left: str = ""
    clean: bool = True

    def look(self, notebook: str, since: float) -> None:
        """Read the log of each pod of productpage from `since` (seconds since the epoch) on."""
        try:
            nodes = self._nodes()
            for pod in self.mesh.pods("app=productpage").pods:
                self.seen.append(self._pod(notebook, pod.name, pod.restarts,
                                           nodes.get(pod.name, "?"), since))
        except WorkbookError as error:
            self.troubles.append(f"{notebook}: {error.what}")

    def end(self) -> None:
        """Remove what the workbook made in the cluster, and leave it; `left` says what became."""
        try:
            self.left = str(self.mesh.clean())
        except WorkbookError as error:
            self.clean = False
            self.left = f"{error}\nTo remove it later: {self.again}"
        finally:
            self.mesh.close()

    def _nodes(self) -> dict[str, str]:
        found = self.mesh.get("pod").extra["objects"]
        return {each["metadata"]["name"]: each["spec"].get("nodeName", "?") for each in found}

    def _pod(self, notebook: str, name: str, restarts: int, node: str, since: float) -> PodSeen:
        record = logs.parse(self.mesh.logs(name, since=since))
        access = record[record["kind"] == "access"]
        lines = self.mesh.logs(name, since=since, grep="User-Agent: ").lines
        inbound = access[access["direction"] == "inbound"]
        tagged = _tags(inbound["user_agent"])
        logged = tagged & _tags(record.loc[record["kind"] == "plugin", "text"])
        return PodSeen(
            notebook=notebook, pod=name, node=node, restarts=restarts,
            inbound=len(inbound),
            outbound=int((access["direction"] == "outbound").sum()),
            user_agent=len(lines), tagged=len(tagged), logged=len(logged),
            last=tuple(lines[-_QUOTED:]),
        )

    def text(self) -> str:
        """All of it for a terminal."""
        parts = [self.about]
        if self.seen:
            parts.append(table_text(_COLUMNS, [_row(one) for one in self.seen]))
            parts.append("\n".join(self._quoted()) or "no sidecar wrote a line with User-Agent")
        parts += [f"could not be looked at: {trouble}" for trouble in self.troubles]
        if self.left:
            parts.append(self.left)
        return "\n\n".join(parts)

    def section(self) -> str:
        """All of it as a part of an HTML page."""
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(str(value))}' for value in _row(one))}</tr>"
            for one in self.seen
        )
        heads = "".join(f"<th>{name.capitalize()}" for name in _COLUMNS)
        table = f"<table><tr>{heads}</tr>{rows}</table>" if self.seen else ""
        pre = "<pre>{}</pre>".format
        quoted = pre(html.escape("\n".join(self._quoted()))) if self.seen else ""
        troubles = "".join(
            f"<p>Could not be looked at: {html.escape(text)}</p>" for text in self.troubles
        )
        left = f"<h3>What was removed</h3>{pre(html.escape(self.left))}" if self.left else ""
        return (
            f"<h2>The cluster</h2>{pre(html.escape(self.about))}"
            "<h3>By pod, at the end of each notebook</h3>"
            "<p>Access-log lines and plugin lines since the notebook began. A pod that was "
            "replaced meanwhile took its log with it.</p>"
            f"{table}<h3>The sidecars' own lines</h3>{quoted}{troubles}{left}"
        )

    def _quoted(self) -> Sequence[str]:
        return [f"{one.notebook}  {one.pod}  {line}" for one in self.seen for line in one.last]


def _row(one: PodSeen) -> tuple[str | int, ...]:
    return (one.notebook, one.pod, one.node, one.restarts, one.inbound, one.outbound,
            one.user_agent, one.tagged, one.logged)


def _tags(texts: pd.Series[str]) -> set[str]:
    return {found[1] for text in texts.dropna() if (found := TAG.search(text))}
