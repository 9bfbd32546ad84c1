"""Every sent request is found again, or the reconciliation says which is not."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from helpers import logs, reconcile
from helpers.errors import BadInput
from helpers.mesh.base import LogText

RUN = "3fa9c1d2"


def sent(count: int, *, lost: tuple[int, ...] = ()) -> pd.DataFrame:
    numbers = range(1, count + 1)
    return pd.DataFrame(
        {
            "id": [f"{RUN}-{n:06d}" for n in numbers],
            "time": pd.date_range("2026-11-22", periods=count, freq="20ms", tz="UTC"),
            "status": pd.array([None if n in lost else 200 for n in numbers], dtype="Int16"),
            "agent": ["MyTestClient"] * count,
            "request_id": [f"rid-{n}" for n in numbers],
        }
    )


def plugin(number: int, run: str = RUN) -> str:
    return (
        "2026-11-22T19:32:40.622254Z\tinfo\tenvoy wasm context.cc:1\twasm log default.hl: "
        f"User-Agent: MyTestClient req/{run}-{number:06d}\tthread=22\n"
    )


def access(number: int, cluster: str = "inbound|9080||", agent: str | None = None) -> str:
    agent = agent or f"MyTestClient req/{RUN}-{number:06d}"
    return (
        '[2026-11-22T19:32:30.226Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 0 7 6 "-" '
        f'"{agent}" "rid-{number}" "productpage:9080" "-" {cluster} - '
        "10.0.0.1:9080 10.0.0.2:2 - default\n"
    )


def out(number: int, agent: str | None = None) -> str:
    return access(number, "outbound|9080||details.default.svc.cluster.local", agent)


def run(frame: pd.DataFrame, *lines: str, **options: str) -> reconcile.Reconciliation:
    return reconcile.reconcile(frame, logs.parse("".join(lines)), **options)  # type: ignore[arg-type]


def test_without_match_one_inbound_and_each_outbound_line_balance() -> None:
    found = run(sent(2), *[plugin(n) * 3 + access(n) + out(n) * 2 for n in (1, 2)])
    assert found.balanced
    assert found.match == "CLIENT_AND_SERVER"
    totals = found.totals
    assert (totals["logged_inbound"], totals["logged_outbound"]) == (2, 4)
    assert "Balanced" in found.summary()


def test_with_match_server_one_line_a_request_balances() -> None:
    found = run(sent(2), *[plugin(n) + access(n) + out(n) * 2 for n in (1, 2)])
    assert (found.balanced, found.match) == (True, "SERVER")
    assert found.totals["logged_outbound"] == 0


def test_with_match_client_the_lines_are_outbound() -> None:
    found = run(sent(2), *[plugin(n) * 2 + access(n) + out(n) * 2 for n in (1, 2)])
    assert (found.balanced, found.match) == (True, "CLIENT")
    assert found.totals["logged_inbound"] == 0


def test_a_silent_plugin_never_balances() -> None:
    found = run(sent(3), *[access(n) for n in (1, 2, 3)])
    assert not found.balanced
    assert found.totals["missing"] == 3


def test_missing_and_duplicated_lines_are_named() -> None:
    good = [plugin(n) + access(n) for n in (3, 4)]
    found = run(sent(4), access(1), plugin(2) * 2 + access(2), *good)
    assert found.frame["verdict"].tolist() == ["missing", "duplicated", "ok", "ok"]
    assert not found.balanced
    assert "1 missing, 1 duplicated" in found.summary()
    assert "000001" in found._repr_html_()


def test_an_unanswered_request_is_accounted_for_as_such() -> None:
    found = run(sent(2, lost=(2,)), plugin(1) + access(1))
    assert found.frame["verdict"].tolist() == ["ok", "unanswered"]
    assert found.balanced
    assert "1 without an answer" in found.summary()


def test_a_line_that_the_access_log_does_not_hold_is_unconfirmed() -> None:
    assert run(sent(1), plugin(1)).frame["verdict"].tolist() == ["unconfirmed"]


def test_nothing_sent_is_not_balanced() -> None:
    found = run(sent(0), plugin(1))
    assert not found.balanced
    assert "Nothing was sent" in found.summary()


def test_lines_of_another_run_and_untagged_lines_are_counted_apart() -> None:
    found = run(sent(1), plugin(1) + access(1), plugin(1, run="00000000"), plugin(1)[:90] + "\n")
    assert (found.balanced, found.strangers, found.untagged) == (True, 1, 1)


def test_a_call_whose_user_agent_was_dropped_is_found_by_its_request_id() -> None:
    found = run(sent(1), plugin(1) + access(1) + out(1, agent="python-requests/2"))
    assert found.totals["access_outbound"] == 1


def test_runs_are_told_apart_and_seven_digits_are_a_number_too() -> None:
    frame = sent(3)
    frame["id"] = ["aaaaaaaa-000001", "bbbbbbbb-000001", "aaaaaaaa-1000001"]
    lines = [f"{plugin(1, run='aaaaaaaa')}", f"{plugin(1, run='bbbbbbbb') * 2}"]
    found = run(frame, *lines, plugin(1000001, run="aaaaaaaa") * 3)
    assert found.frame["logged"].tolist() == [1, 2, 3]


class SlowLog:
    """A mesh whose log holds one more of its parts each time that it is read."""

    def __init__(self, *parts: str) -> None:
        self.parts, self.reads = parts, 0
        self.asked: list[tuple[str | None, float | None]] = []

    def logs(self, pod: str | None = None, *, since: float | None = None) -> LogText:
        self.reads += 1
        self.asked.append((pod, since))
        return LogText(lines=tuple("".join(self.parts[: self.reads]).splitlines()))


def settle(mesh: SlowLog, frame: pd.DataFrame, **options: Any) -> reconcile.Reconciliation:
    return reconcile.settled(mesh, frame, **options)  # type: ignore[arg-type]


def test_settled_reads_again_until_the_access_log_was_flushed() -> None:
    mesh = SlowLog(plugin(1), access(1), "")
    found = settle(mesh, sent(1), timeout=60, pod="deploy/productpage-v1")
    assert (found.balanced, mesh.reads) == (True, 2)
    start = pd.Timestamp("2026-11-22", tz="UTC").timestamp()
    assert mesh.asked == [("deploy/productpage-v1", start - 1)] * 2


def test_settled_reports_what_is_still_missing_in_the_end() -> None:
    mesh = SlowLog(access(1), access(2))
    found = settle(mesh, sent(2), timeout=0)
    assert (found.balanced, mesh.reads) == (False, 1)
    assert found.totals["missing"] == 2


def test_settled_does_not_wait_where_nothing_was_sent() -> None:
    mesh = SlowLog("")
    assert not settle(mesh, sent(0), timeout=60).balanced
    assert mesh.asked == [(None, None)]


@pytest.mark.parametrize(
    ("frame", "options"),
    [
        (sent(1), {"match": "BOTH"}),
        (sent(1).drop(columns="agent"), {}),
        (pd.concat([sent(1), sent(1)]), {}),
    ],
)
def test_bad_input_is_refused(frame: pd.DataFrame, options: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        run(frame, plugin(1), **options)
