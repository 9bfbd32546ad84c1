"""Every request that was sent, found again in the sidecar's log.

A plugin's log line says neither which request it belongs to nor in which direction that
request went. The first is solved by the sender, which ends each User-Agent with a tag
(`helpers.traffic`); the second by the access log, which has one line for each request that
passed a listener, with its cluster ``inbound|…`` or ``outbound|…``, and the same tag, since
productpage hands the User-Agent and x-request-id on to the services that it calls.

So a plugin without ``match`` must have logged each tag as often as the access log holds it;
with ``match`` SERVER as often as inbound, with CLIENT as often as outbound. Of the lines of
one tag, the inbound ones are taken to be as many as the access log's inbound lines: an
inference, and the only one made here.
"""

from __future__ import annotations

import html
import time
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd

from helpers import logs, tags
from helpers.errors import BadInput
from helpers.mesh.base import Mesh
from helpers.tags import TAG, Counts

Match = Literal["auto", "CLIENT_AND_SERVER", "SERVER", "CLIENT"]

__all__ = ["TAG", "VERDICTS", "Match", "Reconciliation", "reconcile", "settled"]

_BY_POD = ("pod", "plugin lines", "inbound", "outbound")
VERDICTS = ("ok", "missing", "duplicated", "unconfirmed", "unanswered")
_EXPLAINED = {
    "ok": "answered, and logged once for each time it passed a listener",
    "missing": "logged less often than it passed",
    "duplicated": "logged more often than it passed",
    "unconfirmed": "logged, but the access log does not hold it (yet)",
    "unanswered": "no HTTP answer came; the log does not contradict that",
}


@dataclass(frozen=True)
class Reconciliation:
    """The outcome of `reconcile`.

    Attributes:
        frame: one row a sent request, in the order sent: id (str), agent (str), sent
            (datetime64[ns, UTC]), answered (bool), status (Int16), logged, logged_inbound,
            logged_outbound, access_inbound, access_outbound, expected (int64), verdict
            (category, one of `VERDICTS`).
        match: the plugin's ``match`` mode, as given or as inferred from the counts.
        inferred: whether `match` was inferred.
        strangers: tagged plugin lines whose request is not among the sent ones.
        untagged: plugin lines without a tag ("HeaderLogger configured", other clients).
        plugins: names of the plugins that logged tagged lines.
        pods: where the log is of several pods, one row a pod: pod (str), plugin lines, inbound,
            outbound (int64), the sent requests' lines of each; else without rows.
    """

    frame: pd.DataFrame
    match: str
    inferred: bool
    strangers: int
    untagged: int
    plugins: tuple[str, ...]
    pods: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_BY_POD)))

    @property
    def totals(self) -> dict[str, int]:
        """sent, answered, each verdict, lines logged and access lines, as whole numbers."""
        frame = self.frame
        verdicts = frame["verdict"].value_counts()
        return {
            "sent": len(frame),
            "answered": int(frame["answered"].sum()),
            **{verdict: int(verdicts.get(verdict, 0)) for verdict in VERDICTS},
            **{
                name: int(frame[name].sum())
                for name in (
                    "logged_inbound", "logged_outbound", "access_inbound", "access_outbound"
                )
            },
            "strangers": self.strangers,
            "untagged": self.untagged,
        }

    @property
    def balanced(self) -> bool:
        """Whether every sent request is accounted for: nothing missing, twice or unconfirmed."""
        return len(self.frame) > 0 and bool(self.frame["verdict"].isin(["ok", "unanswered"]).all())

    def summary(self) -> str:
        """The outcome in one or two sentences."""
        t = self.totals
        if not t["sent"]:
            return "Nothing was sent, so there is nothing to account for."
        text = (
            f"{t['sent']} requests sent, {t['answered']} answered; the plugin logged "
            f"{t['logged_inbound']} inbound and {t['logged_outbound']} outbound "
            f"(access log: {t['access_inbound']} and {t['access_outbound']})."
        )
        wrong = [f"{t[v]} {v}" for v in ("missing", "duplicated", "unconfirmed") if t[v]]
        if wrong:
            return f"{text} NOT balanced: {', '.join(wrong)}."
        gone = f" ({t['unanswered']} without an answer)" if t["unanswered"] else ""
        return f"{text} Balanced: every request is accounted for{gone}."

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def table(self) -> pd.DataFrame:
        """Verdicts with their counts and meaning: verdict (str), requests (int), meaning (str)."""
        t = self.totals
        return pd.DataFrame(
            {
                "verdict": list(VERDICTS),
                "requests": [t[verdict] for verdict in VERDICTS],
                "meaning": [_EXPLAINED[verdict] for verdict in VERDICTS],
            }
        )

    def _repr_html_(self) -> str:
        mark = "✔" if self.balanced else "✘"
        how = "inferred from the counts" if self.inferred else "as given"
        wrong = self.frame[~self.frame["verdict"].isin(["ok", "unanswered"])]
        parts = [
            f"<p><b>{mark}</b> {html.escape(self.summary())}</p>",
            self.table().to_html(index=False, border=0),
            f"<p><small>match: {html.escape(self.match)}, {how}; lines of other runs: "
            f"{self.strangers}; plugin lines without a tag: {self.untagged}</small></p>",
        ]
        if len(self.pods):
            parts.append("<p>By pod:</p>" + self.pods.to_html(index=False, border=0))
        if len(wrong):
            parts.append(f"<p>The first {min(len(wrong), 10)} not accounted for:</p>")
            parts.append(wrong.head(10).to_html(index=False, border=0))
        return f"<div style='overflow-x:auto'>{''.join(parts)}</div>"


def _count(positions: Counts, size: int) -> Counts:
    return np.bincount(positions[positions >= 0], minlength=size).astype(np.int64)


def _access_counts(
    log: pd.DataFrame, sent: pd.DataFrame, index: pd.Index
) -> tuple[Counts, Counts]:
    """How many inbound and outbound access lines each request has."""
    rows = (log["kind"] == "access").to_numpy()
    positions, tagged = tags.positions(log["user_agent"][rows], index)
    if "request_id" in sent.columns and not tagged.all():
        # An application that does not hand the User-Agent on may still hand on the request id.
        ids = pd.Index(sent["request_id"].astype("str"))
        positions[~tagged] = ids.get_indexer(pd.Index(log["request_id"][rows][~tagged]))
    direction = log["direction"][rows]
    return (
        _count(positions[(direction == "inbound").to_numpy()], len(index)),
        _count(positions[(direction == "outbound").to_numpy()], len(index)),
    )


def _infer(logged: Counts, inbound: Counts, outbound: Counts) -> Match:
    """The mode that explains most requests; the default of Istio where two explain as many."""
    seen = logged > 0
    fits: dict[Match, int] = {
        "CLIENT_AND_SERVER": int((seen & (logged == inbound + outbound)).sum()),
        "SERVER": int((seen & (logged == inbound)).sum()),
        "CLIENT": int((seen & (logged == outbound)).sum()),
    }
    return max(fits, key=lambda mode: fits[mode])


def reconcile(
    sent: pd.DataFrame, log: pd.DataFrame, *, match: Match = "auto", plugin: str | None = None
) -> Reconciliation:
    """Join sent requests with a sidecar's log by tag.

    Args:
        sent: what `traffic.send` returned.
        log: what `logs.parse` returned. Envoy writes its access log in blocks, up to a second
            late: `settled` waits for that.
        match: the mode of the plugin's ``match`` (all ports); "auto" infers it from the counts.
        plugin: count only this plugin's lines, such as "default.header-logger"; None counts
            all, which doubles the counts where two plugins log the User-Agent.

    Raises:
        BadInput: an unknown `match`, two requests with one id, or a frame without the columns.
    """
    if match not in get_args(Match):
        raise BadInput(
            f"match={match!r} is no mode",
            cause=f"the modes are {', '.join(get_args(Match))}",
            fix="pass one of them",
        )
    for name, frame, wanted in (
        ("sent", sent, ("id", "time", "status", "agent")),
        ("log", log, ("kind", "plugin", "text", "user_agent", "request_id", "direction")),
    ):
        lacking = [column for column in wanted if column not in frame.columns]
        if lacking:
            raise BadInput(
                f"the frame `{name}` has no column {', '.join(lacking)}",
                cause="it was made elsewhere, or columns were dropped",
                fix="pass what traffic.send and logs.parse returned, in this order",
            )
    index = pd.Index(sent["id"].astype("str"))
    if not index.is_unique:
        raise BadInput(
            f"{int(index.duplicated().sum())} ids occur twice among the sent requests",
            cause="one run was added to itself",
            fix="pass each run once: drop_duplicates('id')",
        )
    lines = logs.plugin_lines(log[["kind", "plugin", "text"]], plugin)
    positions, tagged = tags.positions(lines["text"], index)
    logged = _count(positions, len(index))
    inbound, outbound = _access_counts(log, sent, index)
    mode: Match = _infer(logged, inbound, outbound) if match == "auto" else match

    passed = inbound + outbound
    expected = {"SERVER": inbound, "CLIENT": outbound}.get(mode, passed)
    # Without an access line the first plugin line is taken for the inbound one: that is
    # where the load generator sends its requests.
    first = np.where(passed > 0, inbound, 1)
    logged_inbound = {"SERVER": logged, "CLIENT": logged * 0}.get(mode, np.minimum(logged, first))
    answered = sent["status"].notna().to_numpy(dtype=bool)
    verdict = np.select(
        [
            (passed > 0) & (logged < expected),
            (passed > 0) & (logged > expected),
            ~answered,
            passed > 0,
            logged > 0,
        ],
        ["missing", "duplicated", "unanswered", "ok", "unconfirmed"],
        default="missing",
    )
    frame = pd.DataFrame(
        {
            "id": sent["id"].to_numpy(),
            "agent": sent["agent"].to_numpy(),
            "sent": sent["time"].array,
            "answered": answered,
            "status": sent["status"].array,
            "logged": logged,
            "logged_inbound": logged_inbound,
            "logged_outbound": logged - logged_inbound,
            "access_inbound": inbound,
            "access_outbound": outbound,
            "expected": expected,
            "verdict": pd.Categorical(verdict, categories=list(VERDICTS)),
        }
    )
    names = lines["plugin"][tagged].dropna().unique()
    return Reconciliation(
        frame,
        mode,
        match == "auto",
        strangers=int((tagged & (positions < 0)).sum()),
        untagged=int((~tagged).sum()),
        plugins=tuple(sorted(str(name) for name in names)),
        pods=_by_pod(log, lines, positions, sent, index),
    )


def _by_pod(
    log: pd.DataFrame, lines: pd.DataFrame, positions: Counts, sent: pd.DataFrame, index: pd.Index
) -> pd.DataFrame:
    """The lines of the sent requests that each pod has, where the log tells pods apart."""
    if "pod" not in log.columns:
        return pd.DataFrame(columns=list(_BY_POD))
    rows = []
    pod_of = log["pod"].astype("object")
    logged = pod_of.loc[lines.index][positions >= 0]
    for pod in sorted(pod_of.unique()):
        inbound, outbound = _access_counts(log[(pod_of == pod).to_numpy()], sent, index)
        count = int((logged == pod).sum())
        rows.append((pod, count, int(inbound.sum()), int(outbound.sum())))
    return pd.DataFrame(rows, columns=list(_BY_POD))


def settled(
    mesh: Mesh,
    sent: pd.DataFrame,
    *,
    timeout: float = 5.0,
    match: Match = "auto",
    plugin: str | None = None,
    pod: str | None = None,
) -> Reconciliation:
    """Read the sidecar's log until every request is accounted for, at most `timeout` seconds.

    Envoy flushes its access log every second, so a log read right after the last request
    lacks some lines. What is still missing after `timeout` is reported, not waited for.
    """
    since = None if sent.empty else sent["time"].min().timestamp() - 1.0
    deadline = time.monotonic() + timeout

    while True:
        found = reconcile(sent, logs.parse(mesh.logs(pod, since=since)), match=match, plugin=plugin)
        if found.balanced or time.monotonic() >= deadline or sent.empty:
            return found
        time.sleep(0.25)
