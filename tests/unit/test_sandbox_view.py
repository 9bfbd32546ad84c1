"""How an exchange of the sandbox shows: in text, in a notebook, as a table and as a picture."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import paths
from helpers.plots import trace as plots
from helpers.sandbox import Call, Exchange, Headers, Message, Plugin, Reply, Sandbox
from helpers.sandbox.changes import between, body, paragraph, readable
from helpers.sandbox.names import readable_name
from helpers.sandbox.view import arguments, trace_text

LOGGER = paths.plugins() / "prebuilt" / "header_logger.wasm"
PRINTED = paths.plugins() / "prebuilt" / "as_printed.wasm"


@pytest.fixture(scope="module")
def logged() -> Exchange:
    with Sandbox(LOGGER) as sandbox:
        return sandbox.request(headers={"user-agent": b"Yodao\xa1\xb1; <b>)"}, body="<i>",
                               upstream=Reply(200, {"x-by": "us"}, "hello"))


@pytest.fixture(scope="module")
def panicked() -> Exchange:
    with Sandbox(PRINTED) as sandbox:
        return sandbox.request(path="/productpage", headers={"user-agent": "MyTestClient"})


def message(*pairs: tuple[bytes, bytes], **more: object) -> Message:
    return Message(Headers(pairs), **more)  # type: ignore[arg-type]


def call(name: str, begun: float, took: float, direction: str = "guest", depth: int = 0,
         result: str = "0", plugin: str = "p") -> Call:
    return Call(direction, name, (), result, begun, took, depth, plugin, 2)


# -- what was changed ------------------------------------------------------------------------


def test_each_change_has_its_sign_and_its_word() -> None:
    found = between(message((b"a", b"1"), (b"b", b"2"), (b"c", b"3")),
                    message((b"a", b"1"), (b"c", b"4"), (b"d", b"5")))
    assert [(one.sign, one.word, one.name, one.before, one.after) for one in found] == [
        (" ", "same", "a", "1", "1"), ("-", "removed", "b", "2", None),
        ("~", "changed", "c", "3", "4"), ("+", "added", "d", None, "5")]


def test_of_a_repeated_header_only_the_new_value_is_added() -> None:
    found = between(message((b"a", b"1")), message((b"a", b"1"), (b"a", b"2")))
    assert [(one.sign, one.after) for one in found] == [(" ", "1"), ("+", "2")]


def test_bodies_and_trailers_are_compared_too() -> None:
    found = between(message(body=b"one", trailers=Headers([(b"t", b"1")])),
                    message(body=b"two!", trailers=Headers([(b"t", b"2")])))
    assert [(one.part, one.sign, one.before, one.after) for one in found] == [
        ("body", "~", "one (3 bytes)", "two! (4 bytes)"), ("trailer", "~", "1", "2")]


def test_a_body_that_came_from_nowhere_is_added() -> None:
    assert [one.sign for one in between(message(), message(body=b"x"))] == ["+"]
    assert [one.sign for one in between(message(body=b"x"), message())] == ["-"]


def test_a_message_of_which_one_side_is_known_is_shown_as_it_is() -> None:
    one = message((b"a", b"1"), body=b"x", trailers=Headers([(b"t", b"2")]))
    assert [(c.part, c.sign, c.after) for c in between(None, one)] == [
        ("header", " ", "1"), ("body", " ", "x (1 byte)"), ("trailer", " ", "2")]
    assert between(None, one) == between(one, None)
    assert between(None, None) == []


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.sampled_from([b"1", b"2", b"3"]))),
       st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.sampled_from([b"1", b"2", b"3"]))))
def test_both_sides_can_be_read_back_from_the_changes(
    had: list[tuple[bytes, bytes]], has: list[tuple[bytes, bytes]]
) -> None:
    found = between(message(*had), message(*has))
    for name in (b"a", b"b"):
        of = [one for one in found if one.name == name.decode()]
        assert [one.before for one in of if one.before is not None] == [
            value.decode() for key, value in had if key == name]
        assert [one.after for one in of if one.after is not None] == [
            value.decode() for key, value in has if key == name]


# -- text that cannot lie --------------------------------------------------------------------


@pytest.mark.parametrize(("given_text", "shown"), [
    (b"Yodao\xa1\xb1; )".decode("utf-8", "surrogateescape"), r"Yodao\xa1\xb1; )"),
    ("one\r\ntwo\0", r"one\r\ntwo\0"), ("\x1b[31m", r"\x1b[31m"), ("瀏覽器 ☃", "瀏覽器 ☃"),
    ("\u202eevil", r"\u202eevil"), ("\x85", r"\x85"),
])
def test_what_cannot_be_seen_is_shown_as_an_escape(given_text: str, shown: str) -> None:
    assert readable(given_text) == shown


def test_long_text_is_cut_and_says_how_long_it_is() -> None:
    assert readable("x" * 1000, 10) == "xxxxxxxxxx… (1,000 characters)"
    assert body(b"x" * 1000).endswith("x… (1,000 bytes)")
    assert body(b"") == "(empty)"


def test_lines_of_a_panic_stay_lines() -> None:
    assert paragraph("one\ntwo\r") == "one\ntwo\\r"


@given(st.text())
def test_readable_text_is_one_printable_line(anything: str) -> None:
    assert readable(anything).isprintable()


# -- names of functions ----------------------------------------------------------------------


@pytest.mark.parametrize(("marked", "path"), [
    ("_ZN10proxy_wasm10dispatcher10Dispatcher17on_create_context17hadcba556e00e0313E",
     "proxy_wasm::dispatcher::Dispatcher::on_create_context"),
    ("_RNvNtCscjA5KDJiBPP_3std9panicking15panic_with_hook", "std::panicking::panic_with_hook"),
    ("_RNCINvNtCscjA5KDJiBPP_3std9panicking11begin_panicReE0B6_",
     "std::panicking::begin_panic::{closure}"),
    ("_RINvNtNtCscjA5KDJiBPP_3std3sys9backtrace26___rust_end_short_backtrace"
     "NCINvNtB6_9panicking11begin_panicReE0zEB6_",
     "std::sys::backtrace::__rust_end_short_backtrace"),
    ("proxy_on_context_create", "proxy_on_context_create"), ("_R", "_R"), ("_ZN3abE", "_ZN3abE"),
    ("_RNvC3foo", "_RNvC3foo"), ("_RB_", "_RB_"), ("", ""),
    ("_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE",
     "core::ptr::drop_in_place<alloc::string::String>"),
    ("_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h"
     "930b740aa94f1d3aE", "<Test + 'static as foo::Bar<Test>>::bar"),
    ("_ZN3foo3bar17h0123456789abcdefE.llvm.9876543210", "foo::bar"),
    ("_RNvMsr_NtCs3ssYzQotkvD_3std4pathNtB5_7PathBuf3newCs15kBYyAo9fc_7mycrate",
     "<std::path::PathBuf>::new"),
    ("_RNvXCsHASH_7mycrateNtB2_4PadxNtB2_5Trait3foo", "<mycrate::Padx as mycrate::Trait>::foo"),
    ("_RINvC3foo3barDG_INtC4core2FnTyEEp6OutputuEL_E", "foo::bar"),
    ("_RINvC3foo3barFUKCaEbE", "foo::bar"), ("_RNvC3foou8gdel_5qa", "foo::gödel"),
    ("x" * 3000, "x" * 2000 + "…"),
])
def test_rusts_marks_are_taken_off_where_they_can_be_read(marked: str, path: str) -> None:
    assert readable_name(marked) == path


def test_a_name_that_refers_back_to_itself_for_ever_is_left_as_it_is() -> None:
    # Each tuple holds the one before twice: read to its end it would have 2 ** 40 parts.
    text, place = "INvC3foo3bar", 12
    for number in range(40):
        back = f"B{_base62(place)}" if number else "u"
        place = len(text)
        text += f"T{back}{back}E"
    assert readable_name(f"_R{text}E") == f"_R{text}E"


def _base62(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    number -= 1
    return (digits[number // 62] if number > 61 else "") + digits[number % 62] + "_"


@given(st.text(alphabet="RNCMXYIBEKLvts_0123456789abcZ$.FDGUpu", max_size=60))
def test_no_name_is_too_odd_to_show(rest: str) -> None:
    assert isinstance(readable_name("_R" + rest), str)
    assert isinstance(readable_name("_ZN" + rest), str)


# -- the exchange ----------------------------------------------------------------------------


def test_text_says_what_was_sent_what_arrived_and_what_was_logged(logged: Exchange) -> None:
    said = str(logged)
    assert said.startswith("HTTP 200 (complete, via_upstream)\n")
    assert "request (upstream got it as the client sent it)" in said
    assert r"    user-agent: Yodao\xa1\xb1; <b>)" in said
    assert r"info  sandbox  proxy_on_request_headers  User-Agent: Yodao\xa1\xb1; <b>)" in said
    assert repr(logged) == said


def test_nothing_of_a_plugin_or_a_client_becomes_html(logged: Exchange) -> None:
    html = logged._repr_html_()
    assert "<b>)" not in html
    assert "&lt;b&gt;)" in html
    assert "<i> (3 bytes)" not in html
    html.encode("utf-8")  # no surrogate is left


def test_a_panic_names_callback_trap_and_readable_frames(panicked: Exchange) -> None:
    for shown in (str(panicked), panicked._repr_html_()):
        assert "proxy_on_context_create" in shown
        assert "unreachable" in shown
        assert "proxy_wasm::dispatcher::Dispatcher::on_create_context" in shown
        assert "it never reached upstream" in shown
        assert "in upstream&#x27;s place" in shown or "in upstream's place" in shown


def test_without_a_trace_what_arrived_is_shown_and_what_is_missing_is_said() -> None:
    with Sandbox(LOGGER, trace=False) as sandbox:
        exchange = sandbox.request(headers={"user-agent": "x"})
    assert exchange.sent is None
    assert exchange.trace == ()
    assert "kept only with trace=True" in str(exchange)
    assert "user-agent: x" in str(exchange)
    assert exchange.trace_table().empty
    assert "no data" in exchange.timeline().alt


def test_what_upstream_answered_is_kept(logged: Exchange) -> None:
    assert logged.answered is not None
    assert logged.answered.headers.get("x-by") == "us"
    assert logged.answered.body == b"hello"
    assert logged.sent is not None
    assert logged.sent.headers.get("user-agent") == "Yodao\udca1\udcb1; <b>)"
    assert logged.sent.body == b"<i>"


def test_an_exchange_that_waits_says_so() -> None:
    with Sandbox(LOGGER) as sandbox:
        steps = sandbox.start()
        steps.headers()
        assert "paused" in str(steps.exchange)
        assert steps.exchange.answered is None


# -- the trace -------------------------------------------------------------------------------


def test_the_trace_table_keeps_its_columns_and_types(logged: Exchange) -> None:
    table = logged.trace_table()
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    assert {name: kinds[name] for name in ("begun_us", "took_us", "depth", "context")} == {
        "begun_us": "float64", "took_us": "float64", "depth": "int64", "context": "int64"}
    assert list(table) == ["begun_us", "direction", "call", "arguments", "result", "took_us",
                           "depth", "plugin", "context"]
    assert table.index[0] == 1
    row = table[table["call"] == "proxy_log"].iloc[0]
    assert row["direction"] == "VM -> host"
    assert row["depth"] == 1
    assert row["arguments"] == r'level="info", text="User-Agent: Yodao\xa1\xb1; <b>)"'


def test_the_last_row_of_the_printed_filter_is_the_callback_that_trapped(
    panicked: Exchange,
) -> None:
    row = panicked.trace_table().iloc[-1]
    assert (row["call"], row["result"]) == ("proxy_on_context_create", "trap")


def test_a_callback_is_shown_without_the_number_of_its_context(logged: Exchange) -> None:
    first = next(one for one in logged.trace if one.name == "proxy_on_request_headers")
    assert arguments(first) == "headers=7, end_of_stream=false"


def test_calls_inside_a_callback_are_indented(logged: Exchange) -> None:
    lines = trace_text(logged.trace).splitlines()
    outer = next(line for line in lines if "-> proxy_on_request_headers(" in line)
    inner = next(line for line in lines if "<- proxy_log(" in line)
    assert inner.index("<-") > outer.index("->")


# -- the picture -----------------------------------------------------------------------------


def test_the_timeline_tells_in_words_what_it_shows(logged: Exchange) -> None:
    plot = logged.timeline()
    assert re.match(r"Timeline over [\d,]+ microseconds with 10 callbacks and 3 host calls",
                    plot.alt)
    assert "proxy_on_request_headers at " in plot.alt
    assert list(plot.table) == ["number", "call", "by", "begun_us", "took_us", "result"]
    assert len(plot.table) == 13
    assert plot.png().startswith(b"\x89PNG")


def test_a_trap_is_written_into_the_picture(panicked: Exchange) -> None:
    plot = panicked.timeline()
    assert "(trap)" in plot.alt
    assert "trap" in [text.get_text() for text in plot.figure.axes[0].texts]


def test_a_name_stands_where_it_fits_and_a_number_where_it_does_not() -> None:
    plot = plots.timeline([call("proxy_on_request_headers", 0, 900), call("proxy_on_log", 990, 4)])
    words = [text.get_text() for text in plot.figure.axes[0].texts]
    assert words == ["1 on_request_headers", "2"]


def test_a_long_pause_is_cut_out_and_marked() -> None:
    plot = plots.timeline([call("proxy_on_request_headers", 0, 50),
                           call("proxy_on_response_headers", 5_000_050, 50)])
    axes = plot.figure.axes[0]
    assert "5,000 ms cut" in [text.get_text() for text in axes.texts]
    assert axes.get_xlim()[1] < 2_000
    assert axes.get_xlabel().endswith("pauses cut out")


def test_each_plugin_of_a_chain_has_lanes_of_its_own() -> None:
    with Sandbox([Plugin(LOGGER, name="one"), Plugin(LOGGER, name="two")]) as sandbox:
        axes = sandbox.request().timeline().figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [label.split("\n")[0] for label in labels] == ["one", "one", "two", "two"]
    assert axes.get_xlabel() == "microseconds since the exchange began"
