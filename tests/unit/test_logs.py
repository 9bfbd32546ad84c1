"""The log parser: every format of a sidecar, and nothing is ever lost."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import bench_logs, logs, reconcile
from helpers.errors import BadInput, NotFound
from helpers.mesh.base import LogText

WASM = "2026-11-22T19:32:40.622254Z\tinfo\tenvoy wasm source/extensions/common/wasm/context.cc:1151"
PLUGIN = f"{WASM}\twasm log default.header-logger~istio-translated-wasmplugin: "
CRASH = (
    "2026-11-22T19:32:41.000001Z\terror\tenvoy wasm source/wasm_vm.cc:38\tFunction: f failed\n"
    "Proxy-Wasm plugin in-VM backtrace:\n  0:  0x1 - a\n  1:  0x2 - b\tthread=23"
)
ACCESS = (
    '[2026-11-22T19:32:30.226Z] "GET /productpage HTTP/1.1" 503 - wasm_fail_stream - "-" 0 0 7 - '
    '"-" "{agent}" "REQUEST-ID" "productpage:9080" "-" {cluster} - 10.244.0.32:9080 '
    "10.244.0.1:24542 - default"
)


def access(agent: str = "MyTestClient", cluster: str = "inbound|9080||") -> str:
    return ACCESS.format(agent=agent, cluster=cluster)


def only(log: str | bytes) -> pd.Series:
    frame = logs.parse(log)
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_plugin_line_gives_plugin_text_and_thread() -> None:
    row = only(PLUGIN + "User-Agent: MyTestClient\tthread=22\n")
    assert (row["kind"], row["level"], row["logger"]) == ("plugin", "info", "wasm")
    assert row["thread"] == 22
    assert row["plugin"] == "default.header-logger~istio-translated-wasmplugin"
    assert row["text"] == "User-Agent: MyTestClient"
    assert row["source"] == "source/extensions/common/wasm/context.cc:1151"
    assert row["time"] == pd.Timestamp("2026-11-22T19:32:40.622254Z")


def test_a_plugin_line_with_a_plugin_name_gives_the_root_id() -> None:
    row = only(f"{WASM}\twasm log default.hl my_root: hello: you\tthread=1")
    assert (row["plugin"], row["root_id"], row["text"]) == ("default.hl", "my_root", "hello: you")


def test_a_plugin_line_without_a_name_is_still_a_plugin_line() -> None:
    row = only(f"{WASM}\twasm log: HeaderLogger configured\tthread=1")
    assert row["kind"] == "plugin"
    assert pd.isna(row["plugin"])
    assert row["text"] == "HeaderLogger configured"


def test_a_backtrace_is_one_record_up_to_its_thread_and_what_follows_is_not_part_of_it() -> None:
    frame = logs.parse(f"{CRASH}\nstray\n")
    assert frame["kind"].tolist() == ["envoy", "malformed"]
    assert frame["lines"].tolist() == [4, 1]
    assert frame["line"].tolist() == [1, 5]
    assert frame["thread"].iloc[0] == 23
    assert frame["text"].iloc[0].endswith("  1:  0x2 - b")


def test_pilot_agent_lines_have_a_scope_or_the_default_one() -> None:
    frame = logs.parse(
        "2026-11-22T19:32:40.622254Z\tinfo\txdsproxy\tconnected to upstream\n"
        '2026-11-22T19:32:40.622254Z\tinfo\tFLAG: --concurrency="0"\n'
        "2026-11-22T19:32:40.622254Z\twarn\tsome words\twith a tab\n"
    )
    assert frame["kind"].tolist() == ["agent"] * 3
    assert frame["logger"].tolist() == ["xdsproxy", "default", "default"]
    assert frame["text"].tolist() == [
        "connected to upstream", 'FLAG: --concurrency="0"', "some words\twith a tab"
    ]


def test_plain_envoy_lines_are_read_too() -> None:
    frame = logs.parse(
        "[2026-11-22 19:08:05.203][12636][info][wasm] [source/context.cc:1151] wasm log N: TEXT\n"
        "[2026-11-22 19:08:05.204][12636][warning][main] no source here\n goes on\n"
    )
    assert frame["kind"].tolist() == ["plugin", "envoy"]
    assert frame["level"].tolist() == ["info", "warning"]
    assert frame["logger"].tolist() == ["wasm", "main"]
    assert frame["source"].tolist()[0] == "source/context.cc:1151"
    assert frame["text"].tolist() == ["TEXT", "no source here\n goes on"]


@pytest.mark.parametrize(
    ("cluster", "direction"),
    [
        ("inbound|9080||", "inbound"),
        ("outbound|9080||details.default.svc.cluster.local", "outbound"),
        ("PassthroughCluster", "outbound"),
        ("-", None),
    ],
)
def test_an_access_line_tells_its_direction(cluster: str, direction: str | None) -> None:
    row = only(access(cluster=cluster))
    assert (row["kind"], row["method"], row["path"]) == ("access", "GET", "/productpage")
    assert (row["status"], row["flags"], row["details"]) == (503, "-", "wasm_fail_stream")
    assert (row["duration_ms"], row["user_agent"], row["request_id"]) == (
        7.0, "MyTestClient", "REQUEST-ID"
    )
    assert (None if pd.isna(row["direction"]) else row["direction"]) == direction


def test_an_access_line_without_response_code_details_is_an_access_line() -> None:
    row = only(
        '[2026-11-22T21:08:49.680Z] "GET /productpage HTTP/1.1" 500 NFCF  - "-" 0 0 0 - "-" '
        '"MyTestClient" "16614f29-969f-4281-be19-0bb990baeeef" "productpage:9080" "-" '
        "inbound|9080|| - 127.0.0.1:44313 127.0.0.1:49786 - default"
    )
    assert (row["kind"], row["status"], row["flags"]) == ("access", 500, "NFCF")
    assert pd.isna(row["details"])
    assert (row["user_agent"], row["direction"]) == ("MyTestClient", "inbound")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_message_that_ends_in_a_line_break_loses_it(newline: str) -> None:
    frame = logs.parse(
        "2026-11-22T19:32:40.622254Z\twarning\tenvoy config source/a.cc:1\t"
        "Filesystem config update rejected: Error adding/updating listener(s) 0.0.0.0_9080: "
        f"Invalid path: /etc/x.wasm{newline}\tthread=18777{newline}{access()}"
    )
    assert frame["kind"].tolist() == ["envoy", "access"]
    assert frame["lines"].tolist() == [2, 1]
    assert frame["thread"].iloc[0] == 18777
    assert frame["text"].iloc[0].endswith("Invalid path: /etc/x.wasm")


def test_texts_alike_in_length_and_head_are_told_apart_in_any_number() -> None:
    texts = [f"{'é' if n % 7 == 0 else 'ee'}{n:04d}" for n in range(100)]
    heads = [f"{WASM[:-1]}{n}\twasm log p{n}: " for n in range(100)]
    frame = logs.parse("".join(f"{heads[n]}{texts[n]}\tthread={n}\n" for n in range(100)))
    assert frame["text"].tolist() == texts
    assert frame["plugin"].tolist() == [f"p{n}" for n in range(100)]
    assert frame["source"].str.endswith("cc:11599").sum() == 1
    assert frame["thread"].tolist() == list(range(100))


def test_quotes_in_a_user_agent_do_not_shift_the_fields() -> None:
    row = only(access(agent='a "quoted" one'))
    assert (row["user_agent"], row["request_id"]) == ('a "quoted" one', "REQUEST-ID")


def test_bytes_that_are_not_utf8_and_nul_are_kept_and_printable() -> None:
    frame = logs.parse((PLUGIN + "User-Agent: Yodao").encode() + b"\xa1\0 caf\xc3\xa9\tthread=1\n")
    assert frame["text"].iloc[0] == "User-Agent: Yodao\\xa1\0 café"
    frame.to_string().encode("utf-8")


def test_crlf_lines_read_like_lf_lines() -> None:
    text = "\n".join([PLUGIN + "x\tthread=1", access()])
    pd.testing.assert_frame_equal(logs.parse(text), logs.parse(text.replace("\n", "\r\n")))


def test_a_truncated_last_line_is_kept_as_malformed() -> None:
    frame = logs.parse(access() + "\n" + access()[:60])
    assert frame["kind"].tolist() == ["access", "malformed"]
    assert frame["text"].iloc[1] == access()[:60]


@pytest.mark.parametrize("date", ["2026-13-01", "2026-02-30", "2026-00-10", "1900-01-01"])
def test_an_impossible_date_is_malformed(date: str) -> None:
    assert only(f"{date}T19:32:40.622254Z\tinfo\tads\thello")["kind"] == "malformed"


def test_columns_and_dtypes_are_as_documented_even_for_an_empty_log() -> None:
    for log in ("", access(), PLUGIN + "x"):
        assert logs.parse(log).dtypes.astype(str).to_dict() == logs.COLUMNS


def test_text_bytes_lines_files_and_results_read_alike(tmp_path: Path) -> None:
    text = f"{CRASH}\n{access()}\n"
    path = tmp_path / "sidecar.log"
    path.write_text(text, newline="\n")
    wanted = logs.parse(text)
    lines = text.splitlines()
    for log in (text.encode(), path, lines, iter(lines), LogText(lines=tuple(lines))):
        pd.testing.assert_frame_equal(logs.parse(log), wanted)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="nowhere"):
        logs.parse(Path("nowhere.log"))


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(BadInput, match="sideways"):
        logs.access_lines(logs.parse(""), "sideways")


def test_user_agents_of_plugin_lines() -> None:
    frame = logs.parse(f"{PLUGIN}User-Agent: A b\tthread=1\n{PLUGIN}other\tthread=1\n")
    assert logs.user_agents(frame).to_dict() == {0: "A b"}
    assert len(logs.plugin_lines(frame, "default.header-logger")) == 2
    assert len(logs.plugin_lines(frame, "default.other")) == 0


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 5000])
def test_block_borders_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = bench_logs.synthesise(60, seed=3) + f"{CRASH}\n" * 3 + f"stray\n{access()}"
    wanted = logs.parse(text)
    monkeypatch.setattr(logs, "_READ", size)
    pd.testing.assert_frame_equal(logs.parse(text), wanted)


PIECES = st.sampled_from(
    [
        PLUGIN, access(), CRASH, WASM, "\n", "\r\n", "\t", "\tthread=5", '"', "\0", "é", "\ud800",
        "2026-11-22T19:32:40.622254Z\tinfo\t", "[2026-11-22 19:08:05.203][1][info][wasm] [a:1] ",
        "]", "[", "wasm log", ": ", " ", "x",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join))
def test_every_line_of_any_text_belongs_to_exactly_one_record(text: str) -> None:
    frame = logs.parse(text)
    count = text.count("\n") + (not text.endswith("\n") and text != "")
    assert frame["lines"].sum() == count
    assert (frame["line"] == frame["lines"].cumsum() - frame["lines"] + 1).all()
    assert frame.dtypes.astype(str).to_dict() == logs.COLUMNS
    malformed = frame[frame["kind"] == "malformed"]
    source = text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace").split("\n")
    assert malformed["text"].tolist() == [
        source[line - 1].removesuffix("\r") for line in malformed["line"]
    ]


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    unfinished = data != b"" and not data.endswith(b"\n")
    assert logs.parse(data)["lines"].sum() == data.count(b"\n") + unfinished


def test_the_naive_way_counts_the_same() -> None:
    text = bench_logs.synthesise(3000, seed=1)
    tags = logs.plugin_lines(logs.parse(text))["text"].str.extract(reconcile.TAG, expand=False)
    assert tags.dropna().value_counts().to_dict() == bench_logs.naive(text)
