"""Lines of several pods: their times, their order, and what `logs.parse` makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers import logs, reconcile
from helpers.mesh.base import LogText
from helpers.mesh.cluster import pod_logs

TRAP = (
    "2026-11-24T10:00:0{n}.000000Z\terror\tenvoy wasm source/x.cc:1\tFunction: f failed\n"
    "Proxy-Wasm plugin in-VM backtrace:\n  0:  0x1 - f\tthread=2{n}"
)


def raw(*stamped: tuple[str, str]) -> bytes:
    return "".join(f"{stamp} {text}\n" for stamp, text in stamped).encode()


def test_times_have_nanoseconds_and_are_taken_off_the_line() -> None:
    lines = list(pod_logs._lines(raw(("2026-11-24T10:00:01.000000007Z", "a b")), "p"))
    assert [(line.text, line.pod, line.time % 10**9) for line in lines] == [("a b", "p", 7)]


def test_an_empty_line_stays_a_line_and_another_zone_is_understood() -> None:
    lines = list(pod_logs._lines(
        b"2026-11-24T10:00:01.5Z \n2026-11-24T11:00:01.5+01:00 x\n", "p"))
    assert [line.text for line in lines] == ["", "x"]
    assert lines[0].time == lines[1].time


def log_of(pod: str, n: int) -> list[pod_logs.Line]:
    first, *rest = TRAP.format(n=n).split("\n")
    return [pod_logs.Line(n, first, pod), *(pod_logs.Line(n + 10, text, pod) for text in rest)]


def test_a_backtrace_is_not_torn_by_another_pods_lines() -> None:
    merged = pod_logs.merge([log_of("a", 1), log_of("b", 2)])
    assert [line.pod for line in merged] == ["a"] * 3 + ["b"] * 3


def test_each_record_names_its_pod_where_there_are_several() -> None:
    merged = pod_logs.merge([log_of("a", 2), log_of("b", 1)])
    text = LogText(
        lines=tuple(line.text for line in merged), pods=tuple(line.pod for line in merged)
    )
    frame = logs.parse(text)
    assert list(frame["pod"]) == ["b", "a"]
    assert list(frame["lines"]) == [3, 3]


def test_one_pods_log_has_the_usual_columns_only() -> None:
    frame = logs.parse(LogText(lines=tuple(TRAP.format(n=1).split("\n"))))
    assert list(frame.columns) == list(logs.COLUMNS)


def test_reconciling_counts_by_pod() -> None:
    def lines(tag: str) -> list[str]:
        return [
            "2026-11-24T10:00:01.000000Z\tinfo\tenvoy wasm source/x.cc:1\twasm log default.p: "
            f"User-Agent: A req/{tag}\tthread=21",
            '[2026-11-24T10:00:01.000Z] "GET /productpage HTTP/1.1" 200 - via_upstream - "-" 0 5 '
            f'1 1 "-" "A req/{tag}" "id-{tag}" "productpage:9080" "10.0.0.1:9080" inbound|9080|| '
            "127.0.0.6:1 10.0.0.1:9080 10.0.0.2:1 - default",
        ]

    tags = [f"0000000a-00000{n}" for n in (1, 2, 3)]
    text = [line for tag in tags for line in lines(tag)]
    log = logs.parse(LogText(lines=tuple(text), pods=("x", "x", "y", "y", "y", "y")))
    sent = pd.DataFrame({
        "id": tags, "time": pd.Timestamp("2026-11-24T10:00:01Z"), "agent": "A",
        "status": pd.array([200] * 3, dtype="Int16"),
        "request_id": [f"id-{tag}" for tag in tags]})
    found = reconcile.reconcile(sent, log, match="SERVER")
    assert found.balanced
    assert found.pods.to_numpy().tolist() == [["x", 1, 1, 0], ["y", 2, 2, 0]]
    assert "By pod" in found._repr_html_()
    assert np.all(found.frame["logged"] == 1)
