"""What a plugin hands over: maps, enumerations, names and values that are not as they should be.

Section "Data" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import pytest
from sandbox_wat import HEAP, call, plugin, said, say, u32

from helpers.sandbox import Exchange, Reply, Sandbox, pairs

GOOD = pairs.encode([(b"x-a", b"1"), (b"x-b", b"2")])
MANY = pairs.encode([(b"k", b"v")] * 1024)
TOO_MANY = pairs.encode([(b"k", b"v")] * 1025)
LARGE = pairs.encode([(b"k", b"v" * (pairs.MOST_BYTES - 15))])
#: What is wrong with the bytes, and what the sandbox says of it.
DAMAGED = {
    "count overflow": (u32(0xFFFFFFFF) + GOOD[4:], "4,294,967,295 pairs"),
    "more pairs than sizes": (u32(64) + GOOD[4:], "64 pairs announced"),
    "a size that overflows": (u32(1, 0xFFFFFFFF, 1) + b"a\0b\0", "reaches outside"),
    "sizes that wrap": (u32(1, 0xFFFFFFFF, 3) + b"a\0b\0", "reaches outside"),
    "missing NUL": (u32(1, 1, 1) + b"a1b1", "no NUL"),
    "last NUL missing": (GOOD[:-1], "reaches outside"),
    "trailing bytes": (GOOD + b"!", "1 bytes are left over"),
    "more than 1,024": (TOO_MANY, "1,025 pairs"),
    "over 1 MiB": (LARGE + b"v", "1,048,577 bytes"),
}
SET = "proxy_set_header_map_pairs"


def sent(data: bytes, action: str = "") -> Exchange:
    """A request whose headers a plugin replaces by these bytes."""
    body = say(call(SET, 0, HEAP, len(data))) + action
    module = plugin({"request_headers": body}, data={HEAP: data}, memory="33")
    return Sandbox(module).request()


@pytest.mark.parametrize("name", DAMAGED)
def test_pairs_that_do_not_fit_are_an_empty_map_and_the_reason_is_said(
    way: str, name: str
) -> None:
    data, words = DAMAGED[name]
    exchange = sent(data)
    assert said(exchange) == [0]
    assert any(words in note and "empty now" in note for note in exchange.diagnostics)
    assert exchange.upstream is None  # without a path nothing is routed
    assert exchange.status == 404


@pytest.mark.parametrize("data", [GOOD, MANY, LARGE, b"", b"\0", u32(0)])
def test_pairs_that_fit_are_taken_up_to_the_limits(way: str, data: bytes) -> None:
    exchange = sent(data)
    assert said(exchange) == [0]
    assert not [note for note in exchange.diagnostics if "empty now" in note]


@pytest.mark.parametrize("where", ["headers", "trailers"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_callout_with_damaged_pairs_is_refused_or_has_none(
    way: str, name: str, where: str
) -> None:
    data, words = DAMAGED[name]
    good = pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"x")])
    headers, trailers = ((HEAP, len(data)), (0, 0)) if where == "headers" else (
        (64, len(good)), (HEAP, len(data)))
    body = say(call("proxy_http_call", 0, 1, *headers, 0, 0, *trailers, 0, 32))
    module = plugin({"request_headers": body}, data={0: b"c", 64: good, HEAP: data}, memory="33")
    exchange = Sandbox(module, callouts={"c": Reply()}).request()
    assert said(exchange) == [2 if where == "headers" else 0]
    assert any(words in note for note in exchange.diagnostics)
    assert [one.trailers for one in exchange.callouts] == [None] * (where == "trailers")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_local_reply_with_damaged_pairs_goes_without_them(way: str, name: str) -> None:
    data, words = DAMAGED[name]
    body = say(call("proxy_send_local_response", 403, 0, 0, 0, 0, HEAP, len(data), -1))
    exchange = Sandbox(plugin({"request_headers": body}, data={HEAP: data},
                              memory="33")).request()
    assert said(exchange) == [0]
    assert exchange.status == 403
    assert any(words in note for note in exchange.diagnostics)


@pytest.mark.parametrize("value", [8, 9, 100, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize(("name", "rest"), [
    ("proxy_get_header_map_pairs", (0, 4)), ("proxy_get_header_map_size", (0,)),
    ("proxy_set_header_map_pairs", (0, 0)), ("proxy_get_header_map_value", (0, 1, 0, 4)),
    ("proxy_add_header_map_value", (0, 1, 0, 1)), ("proxy_remove_header_map_value", (0, 1)),
    ("proxy_replace_header_map_value", (0, 1, 0, 1)), ("proxy_log", (0, 1)),
    ("proxy_continue_stream", ()), ("proxy_close_stream", ()), ("proxy_define_metric", (0, 1, 4)),
    ("proxy_get_buffer_bytes", (0, 1, 0, 4)), ("proxy_get_buffer_status", (0, 4)),
    ("proxy_set_buffer_bytes", (0, 0, 0, 1)),
])
def test_an_enumeration_out_of_range_is_a_bad_argument(
    way: str, name: str, rest: tuple[int, ...], value: int
) -> None:
    if "buffer" in name and value == 8:
        value = 9  # 8 are the arguments of a foreign function
    module = plugin({"request_headers": say(call(name, value, *rest))})
    assert said(Sandbox(module).request()) == [2]


@pytest.mark.parametrize("value", [2, 3])
def test_streams_of_tcp_are_not_carried_out_and_that_is_said(way: str, value: int) -> None:
    body = say(call("proxy_continue_stream", value), call("proxy_close_stream", value))
    exchange = Sandbox(plugin({"request_headers": body})).request()
    assert said(exchange) == [0 if value == 2 else 12, 0]  # as Envoy's HTTP filter answers
    assert len(exchange.unimplemented) == 2


def test_names_and_values_that_are_no_utf8_lose_no_byte(way: str) -> None:
    name, value = b"x-\xc3\xa4\xff", b"\xff\xfe\0\x80"
    module = plugin({
        "request_headers": say(call("proxy_log", 2, 64, len(value))),
        "response_headers": say(call("proxy_add_header_map_value", 2, 0, len(name), 64,
                                     len(value)))}, data={0: name, 64: value})
    exchange = Sandbox(module).request()
    assert said(exchange) == [0, 0]
    assert exchange.logs[0].text.encode("utf-8", "surrogateescape") == value
    assert exchange.client is not None
    assert (name, value) in exchange.client.headers.raw


@pytest.mark.parametrize(("name", "rest"), [
    ("proxy_define_metric", (0, 0, 3, 32)), ("proxy_register_shared_queue", (0, 3, 32)),
    ("proxy_set_shared_data", (0, 3, 0, 3, 0)), ("proxy_set_property", (0, 3, 0, 3)),
    ("proxy_get_property", (0, 3, 32, 36)), ("proxy_resolve_shared_queue", (0, 3, 0, 3, 32)),
    ("proxy_call_foreign_function", (0, 3, 0, 3, 32, 36)),
    ("proxy_http_call", (0, 3, 0, 0, 0, 0, 0, 0, 0, 32)),
])
def test_names_that_are_no_utf8_have_a_status_and_can_be_shown(
    way: str, name: str, rest: tuple[int, ...]
) -> None:
    module = plugin({"request_headers": say(call(name, *rest))}, data={0: b"\xff\x80\xc3"})
    sandbox = Sandbox(module)
    exchange = sandbox.request()
    assert said(exchange)[0] in (0, 1, 2)
    assert str(exchange)
    assert exchange._repr_html_()
    assert all(isinstance(metric, str) for metric in sandbox.metrics)


@pytest.mark.parametrize(("name", "rest", "status"), [
    ("proxy_get_header_map_value", (0, 0, 0, 32, 36), 1),
    ("proxy_add_header_map_value", (0, 0, 0, 0, 1), 0),
    ("proxy_remove_header_map_value", (0, 0, 0), 0), ("proxy_get_property", (0, 0, 32, 36), 3),
    ("proxy_set_property", (0, 0, 0, 1), 0), ("proxy_set_shared_data", (0, 0, 0, 0, 0), 0),
    ("proxy_register_shared_queue", (0, 0, 32), 0), ("proxy_define_metric", (0, 0, 0, 32), 0),
    ("proxy_resolve_shared_queue", (0, 0, 0, 0, 32), 1),
    ("proxy_http_call", (0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 2),
    ("proxy_call_foreign_function", (0, 0, 0, 0, 32, 36), 1), ("proxy_log", (2, 0, 0), 0),
])
def test_an_empty_name_has_a_status(
    way: str, name: str, rest: tuple[int, ...], status: int
) -> None:
    module = plugin({"request_headers": say(call(name, *rest))})
    assert said(Sandbox(module).request())[-1] == status


@pytest.mark.parametrize("value", [b"a\r\nx-forged: 1", b"a\nb", b"a\rb", b"a\0b"])
@pytest.mark.parametrize("how", ["add", "replace", "pairs", "reply"])
def test_cr_lf_and_nul_in_a_value_forge_no_header_and_are_pointed_out(
    way: str, how: str, value: bytes
) -> None:
    encoded = pairs.encode([(b":status", b"200"), (b"x-v", value)])
    made = {"add": call("proxy_add_header_map_value", 2, 0, 3, 64, len(value)),
            "replace": call("proxy_replace_header_map_value", 2, 0, 3, 64, len(value)),
            "pairs": call(SET, 2, 128, len(encoded)),
            "reply": call("proxy_send_local_response", 403, 0, 0, 0, 0, 128, len(encoded), -1)}
    module = plugin({"response_headers": say(made[how])},
                    data={0: b"x-v", 64: value, 128: encoded})
    exchange = Sandbox(module).request()
    assert said(exchange)[:1] == [0]
    assert any("CR, LF or NUL" in note for note in exchange.diagnostics)
    assert exchange.client is not None
    assert exchange.client.headers.get("x-forged") is None


def test_a_status_that_is_no_number_breaks_nothing(way: str) -> None:
    for value in (b"9" * 5000, b"abc", b"", b"-1", "²".encode()):
        body = say(call("proxy_replace_header_map_value", 2, 0, 7, 64, len(value)))
        module = plugin({"response_headers": body}, data={0: b":status", 64: value})
        exchange = Sandbox(module).request()
        assert exchange.state == "complete"
        assert exchange.status in (0, 502)


def test_a_property_path_of_hostile_form_is_not_found(way: str) -> None:
    for path in (b"list\0" + b"9" * 5000, b"list\0-1", b"\0" * 5000, b"list\0\0", b"." * 5000):
        module = plugin({"request_headers": say(call("proxy_get_property", 64, len(path), 0, 4))},
                        data={64: path})
        assert said(Sandbox(module, properties={"list": ["a"]}).request()) == [1]


def test_a_property_that_has_no_form_is_a_serialization_failure(way: str) -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle
    module = plugin({"request_headers": say(call("proxy_get_property", 0, 1, 32, 36))},
                    data={0: b"p"})
    for value in ({"a": object()}, circle):
        assert said(Sandbox(module, properties={"p": value}).request()) == [3]


@pytest.mark.parametrize("size", [1024 * 1024, 16 * 1024 * 1024])
def test_a_huge_configuration_arrives_whole(way: str, size: int) -> None:
    body = say("(local.get 1)", call("proxy_get_buffer_bytes", 7, 0, -1, 0, 4),
               "(i32.load (i32.const 4))")
    sandbox = Sandbox(plugin({"configure": body}), plugin_config="x" * size)
    assert said(sandbox.logs) == [size, 0, size]


def test_a_configuration_that_the_guest_has_no_room_for_is_refused_by_a_status(way: str) -> None:
    body = say(call("proxy_get_buffer_bytes", 7, 0, -1, 0, 4))
    sandbox = Sandbox(plugin({"configure": body}, memory="1 4"), plugin_config="x" * 1024 * 1024)
    assert said(sandbox.logs) == [6]


def test_a_huge_body_arrives_whole_and_one_without_room_is_refused_by_a_status(way: str) -> None:
    body = say("(local.get 1)", call("proxy_get_buffer_bytes", 0, 0, -1, 0, 4))
    size = 8 * 1024 * 1024
    for pages, status in (("1", 0), ("1 4", 6)):
        module = plugin({"request_body": body}, memory=pages)
        exchange = Sandbox(module).request("POST", body=b"x" * size, protocol="HTTP/2")
        assert said(exchange) == [size, status]
        assert exchange.upstream is not None
        assert len(exchange.upstream.body) == size
