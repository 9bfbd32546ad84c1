"""Guest memory: whatever a plugin does with it, the host reads and writes inside of it.

Section "Memory" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import pytest
from sandbox_wat import HEAP, MALLOC, PAGE, call, plugin, said, say, u32

from helpers.errors import BadInput
from helpers.sandbox import DeadlineExceeded, GuestPanic, Sandbox
from helpers.sandbox.fuzz import check
from helpers.sandbox.fuzz_rig import (
    ANY,
    BUMP,
    DATA,
    GROW,
    SHAPES,
    SIZE,
    WRITES,
    ZERO,
    Call,
    Rig,
)
from helpers.sandbox.host import MOST_LOG_BYTES
from helpers.sandbox.imports import known

GET = call("proxy_get_header_map_pairs", 0, 0, 4)
#: Where a range of u32s may stand in the rig's memory; what is written is never looked at.
_OUT, _TEXT, _PAIRS, _VECTORS = DATA + 1024, DATA, DATA + 64, DATA + 512
_BAD = u32(1) + u32(1, 1) + b"a\0b\0"
#: Pointers beyond memory for what has `width` bytes: just over the end, far, negative, wrapping.
OUTSIDE = ("across", "behind", "half", "negative", "wrapping")
POINTERS = [(name, at, word) for name, shape in SHAPES.items()
            for at, word in enumerate(shape.split()) if word in ("i", "p", "v", "b", *WRITES)]
#: What makes a call come so far that it follows its pointers.
VALUES = {"proxy_get_property": b"plugin_name", "proxy_get_header_map_value": b":path",
          "proxy_call_foreign_function": b"f", "proxy_http_call": b"c",
          "proxy_grpc_call": b"c",
          "proxy_resolve_shared_queue": b"rig"}  # as its VM is called, and so a queue


@pytest.fixture(scope="module")
def rigs() -> dict[str, Rig]:
    """One rig for each way: none of these calls may hurt it."""
    return {}


def rig_for(way: str, rigs: dict[str, Rig]) -> Rig:
    if way not in rigs:
        rigs[way] = Rig()
    return rigs[way]


def beyond(kind: str, width: int) -> int:
    """A pointer to `width` bytes that are not all inside of the rig's memory."""
    return {"across": SIZE - width + 1, "behind": SIZE, "half": 1 << 31, "negative": (1 << 32) - 9,
            "wrapping": (1 << 32) - width // 2 - (width == 1)}[kind]


def arguments(name: str, broken: int = -1, kind: str = "") -> tuple[int, ...]:
    """Arguments with which the call goes well, but for the word `broken`."""
    numbers: list[int] = []
    text = VALUES.get(name, b"key")
    for at, word in enumerate(SHAPES[name].split()):
        bad = at == broken
        if word == "i" or word == "b":
            size = len(text) if at == broken or word == "i" else 8
            numbers += (beyond(kind, size) if bad else _TEXT if word == "i" else _OUT, size)
        elif word == "p":
            numbers += (beyond(kind, len(_BAD)) if bad else _PAIRS, len(_BAD))
        elif word == "v":
            numbers += (beyond(kind, 8) if bad else _VECTORS, 1)
        elif word in WRITES or word == "x":
            numbers.append(beyond(kind, WRITES[word]) if bad else _OUT + 64 * at)
        else:
            numbers.append(int(word))
    return tuple(numbers)


def prepared(rig: Rig, name: str) -> None:
    """Memory and stores in which each call finds what it asks for."""
    guest = rig.vm.guest
    guest.write(_TEXT, VALUES.get(name, b"key"))
    guest.write(_PAIRS, _BAD)
    guest.write(_VECTORS, u32(_TEXT, 3))
    rig.run([Call("proxy_define_metric", (0, _TEXT, 3, _OUT)),
             Call("proxy_register_shared_queue", (_TEXT, 3, _OUT)),
             Call("proxy_set_shared_data", (_TEXT, 3, _TEXT, 3, 0))], "proxy_on_request_headers")


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize(("name", "at", "word"), POINTERS)
def test_a_pointer_outside_of_memory_is_answered_and_changes_nothing(
    way: str, rigs: dict[str, Rig], name: str, at: int, word: str, kind: str
) -> None:
    rig = rig_for(way, rigs)
    prepared(rig, name)
    wasi = ("env", name) not in known()
    phase = "proxy_on_request_body" if "set_buffer" in name else "proxy_on_request_headers"
    fill = Call("proxy_enqueue_shared_queue", (1, _TEXT, 3))
    calls = [fill, Call(name, arguments(name, at, kind))] if "dequeue" in name else [
        Call(name, arguments(name, at, kind))]
    ran = rig.run(calls, phase)
    assert ran.statuses[-1] == (21 if wasi else 6)
    assert not rig.dead
    check(calls, ran, may_stop=False)  # no byte changed but what the good pointers point to


@pytest.mark.parametrize("name", SHAPES)
def test_with_good_pointers_the_same_calls_are_followed(
    way: str, rigs: dict[str, Rig], name: str
) -> None:
    # The counterpart: what answers 6 above does not do so for some other reason.
    rig = rig_for(way, rigs)
    prepared(rig, name)
    phase = "proxy_on_request_body" if "set_buffer" in name else "proxy_on_request_headers"
    ran = rig.run([Call(name, arguments(name))], phase)
    assert ran.statuses[0] not in (6, 21)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0xFFFFFFFF - DATA, SIZE])
@pytest.mark.parametrize("name", ["proxy_log", "proxy_set_shared_data", "random_get"])
def test_a_size_that_wraps_or_is_negative_is_refused(
    way: str, rigs: dict[str, Rig], name: str, size: int
) -> None:
    rig = rig_for(way, rigs)
    made = {"proxy_log": (2, DATA, size), "proxy_set_shared_data": (DATA, 3, DATA, size, 0),
            "random_get": (DATA, size)}[name]
    status = rig.run([Call(name, made)], "proxy_on_request_headers").statuses[0]
    assert status == (28 if name == "random_get" else 6)  # INVAL: more than 64 KiB at once


def test_a_log_of_4_gib_is_refused_and_through_vectors_too(way: str, rigs: dict[str, Rig]) -> None:
    rig = rig_for(way, rigs)
    # 1,024 vectors, each all of memory: together far more than a line of a log.
    rig.vm.guest.write(DATA, u32(0, SIZE) * 1024)
    ran = rig.run([Call("proxy_log", (2, 0, 0xFFFFFFFF)), Call("fd_write", (1, DATA, 1024, _OUT)),
                   Call("fd_write", (1, DATA, 0xFFFFFFFF, _OUT))], "proxy_on_request_headers")
    assert ran.statuses == [6, 28, 28]
    assert any("fd_write of 134,217,728 bytes" in note for note in ran.exchange.diagnostics)


def test_long_lines_are_cut_and_bounded_in_all(way: str) -> None:
    long = f"(loop $on (drop {call('proxy_log', 2, 0, 2 * 1024 * 1024)}) (local.set 3 (i32.add " \
        "(local.get 3) (i32.const 1))) (br_if $on (i32.lt_u (local.get 3) (i32.const 200))))"
    sandbox = Sandbox(plugin({"request_headers": f"(local i32) {long}"}, memory="33"),
                      trace=False, deadline=60)
    for _ in range(2):
        exchange = sandbox.request()
        kept = sum(len(line.text) for line in exchange.logs)
        assert MOST_LOG_BYTES // 2 < kept <= MOST_LOG_BYTES
        assert any("was cut" in note for note in exchange.diagnostics)
        assert any("the rest is lost" in note for note in exchange.diagnostics)
    assert sum(len(line.text) for line in sandbox.logs) <= MOST_LOG_BYTES


def test_a_grow_bomb_stops_at_the_limit(way: str) -> None:
    grow = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"
    sandbox = Sandbox(plugin({"request_headers": grow + say("(memory.size)")}),
                      memory_limit=16 * PAGE)
    assert said(sandbox.request()) == [16]
    assert sandbox.request().status == 200


def test_a_table_grows_to_its_limit_only(way: str) -> None:
    grow = "(loop $on (br_if $on (i32.ne (table.grow (ref.null func) (i32.const 100000)) " \
        "(i32.const -1))))"
    sandbox = Sandbox(plugin({"request_headers": grow + say("(table.size)")},
                             extra="(table 0 funcref)"))
    assert said(sandbox.request()) == [1_000_000]


@pytest.mark.parametrize("limit", [0, -1, 65535, 1 << 33, 1.5])
def test_a_limit_that_is_no_size_is_refused(limit: int) -> None:
    with pytest.raises(BadInput):
        Sandbox(plugin(), memory_limit=limit)


def test_an_allocator_that_answers_0_makes_the_call_fail(way: str, rigs: dict[str, Rig]) -> None:
    ran = rig_for(way, rigs).run([Call("proxy_get_header_map_pairs", (0, _OUT, _OUT + 4))],
                                 "proxy_on_request_headers", mode=ZERO)
    assert ran.statuses == [6]
    assert ran.before[DATA:] == ran.after[DATA:]


@pytest.mark.parametrize("answer", [SIZE, SIZE - 1, 0xFFFFFFFF, 0x80000000, SIZE + PAGE])
def test_an_allocator_that_answers_outside_of_memory_makes_the_call_fail(
    way: str, rigs: dict[str, Rig], answer: int
) -> None:
    ran = rig_for(way, rigs).run([Call("proxy_get_header_map_pairs", (0, _OUT, _OUT + 4))],
                                 "proxy_on_request_headers", mode=ANY, answer=answer)
    assert ran.statuses == [6]
    assert ran.before[DATA:] == ran.after[DATA:]


@pytest.mark.parametrize(("body", "kind"), [
    ("unreachable", GuestPanic), ("(loop $on (br $on)) unreachable", DeadlineExceeded),
    ("(call $malloc (local.get 0))", GuestPanic),
])
def test_an_allocator_that_traps_or_loops_is_a_panic_of_the_callback(
    way: str, body: str, kind: type[GuestPanic]
) -> None:
    malloc = f'(func $malloc (export "malloc") (param i32) (result i32) {body})'
    sandbox = Sandbox(plugin({"request_headers": f"(drop {GET})"}, malloc=malloc), deadline=0.05)
    assert sandbox.request().status == 503
    assert type(sandbox.panics[0]) is kind
    assert sandbox.panics[0].callback == "proxy_on_request_headers"


def test_an_allocator_may_log_and_the_call_goes_on(way: str) -> None:
    malloc = '(func (export "malloc") (param i32) (result i32) ' + \
        say("(i32.const 5)") + f"(i32.const {HEAP}))"
    sandbox = Sandbox(plugin({"request_headers": say(GET)}, malloc=malloc))
    assert said(sandbox.request()) == [5, 0]


def test_memory_that_grows_within_a_host_call_is_seen_by_it(
    way: str, rigs: dict[str, Rig]
) -> None:
    rig = Rig()
    # The pointers lie where there is no memory yet: the allocator makes it.
    ran = rig.run([Call("proxy_get_header_map_pairs", (0, SIZE, SIZE + 4))],
                  "proxy_on_request_headers", mode=GROW)
    assert ran.statuses == [0]
    assert len(ran.after) == SIZE + PAGE
    assert ran.after[SIZE : SIZE + 8] == u32(*ran.blocks[0])
    ran = rig.run([Call("proxy_get_header_map_pairs", (0, SIZE, SIZE + 4))],
                  "proxy_on_request_headers", mode=BUMP)
    assert ran.statuses == [0]


def test_memory_that_the_guest_grows_is_readable_at_once(way: str) -> None:
    body = (f"(drop (memory.grow (i32.const 1))) (i32.store (i32.const {PAGE + 8}) "
            "(i32.const 0x64636261))" + f"(drop {call('proxy_log', 2, PAGE + 8, 4)})")
    exchange = Sandbox(plugin({"request_headers": body}, malloc=MALLOC)).request()
    assert [line.text for line in exchange.logs] == ["abcd"]


def test_a_bad_second_pointer_leaves_the_first_one_written_as_in_envoy(
    way: str, rigs: dict[str, Rig]
) -> None:
    ran = rig_for(way, rigs).run([Call("proxy_get_header_map_pairs", (0, _OUT, SIZE))],
                                 "proxy_on_request_headers")
    assert ran.statuses == [6]
    assert ran.after[_OUT : _OUT + 4] == u32(ran.blocks[0][0])
