"""The sandbox's small parts: pairs on the wire, header maps, the clock, shared stores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import BadInput
from helpers.sandbox import Headers, pairs
from helpers.sandbox.clock import Clock
from helpers.sandbox.headers import HeaderMap, given_pairs
from helpers.sandbox.properties import SerializationFailure, serialise, split, walk
from helpers.sandbox.shared import CAS_MISMATCH, OK, SharedData, SharedQueues

texts = st.binary(max_size=40)


def test_pairs_are_written_as_the_specification_says() -> None:
    assert pairs.encode([(b"a", b"1"), (b"b", b"22")]) == bytes.fromhex(
        "02000000 01000000 01000000 01000000 02000000 61 00 31 00 62 00 32 32 00")
    assert pairs.encode([]) == b""


@given(st.lists(st.tuples(texts, texts), max_size=30))
def test_pairs_survive_the_way_there_and_back(found: list[tuple[bytes, bytes]]) -> None:
    assert pairs.decode(pairs.encode(found)) == (found, "")


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0", b"\0\0\0\0"])
def test_nothing_is_an_empty_map(data: bytes) -> None:
    assert pairs.decode(data) == ([], "")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    found, wrong = pairs.decode(data)
    assert not (found and wrong)


def test_what_does_not_fit_is_an_empty_map_and_the_reason_is_said() -> None:
    good = pairs.encode([(b"a", b"1")])
    for bad, word in ((good + b"x", "left over"), (good[:-1], "reaches outside"),
                      (b"\xff\xff\xff\xff" + good[4:], "at most 1,024"),
                      (good[:-1] + b"x", "no NUL"), (b"\x05\0\0\0" + good[4:], "announced"),
                      (b"\0" * (pairs.MOST_BYTES + 1), "at most 1,048,576")):
        found, wrong = pairs.decode(bad)
        assert found == []
        assert word in wrong


def test_a_map_keeps_repeated_headers_apart_and_pseudo_headers_first() -> None:
    found = HeaderMap([(b"x", b"1"), (b":path", b"/"), (b"x", b"2")])
    assert found.pairs == [(b":path", b"/"), (b"x", b"1"), (b"x", b"2")]
    assert found.get(b"x") == b"1"
    found.replace(b"x", b"3")
    assert found.pairs == [(b":path", b"/"), (b"x", b"3")]
    found.add(b"x", b"4")
    found.remove(b"x")
    found.replace(b"y", b"")
    assert found.pairs == [(b":path", b"/"), (b"y", b"")]
    assert found.size() == len(b":path/y")


def test_headers_are_read_by_any_case_and_lose_no_byte() -> None:
    found = Headers([(b"x", b"1"), (b"x", b"2"), (b"y", b"\xff")])
    assert (found["X"], found.all("x"), found.get("z"), found.get("z", "-")) == (
        "1", ["1", "2"], None, "-")
    assert "Y" in found
    assert "z" not in found
    assert given_pairs(dict(found.items()))[-1] == (b"y", b"\xff")
    assert list(found) == ["x", "y"]
    with pytest.raises(KeyError):
        found["z"]


def test_headers_may_be_given_in_several_ways() -> None:
    assert given_pairs({"A": ["1", b"2"]}) == [(b"a", b"1"), (b"a", b"2")]
    assert given_pairs([("A", "1"), (b"b", b"2")]) == [(b"a", b"1"), (b"b", b"2")]
    assert given_pairs(None) == []
    with pytest.raises(BadInput, match="trailers"):
        given_pairs([1, 2], "trailers")  # type: ignore[list-item]


def test_the_clock_stands_until_it_is_moved_and_does_what_is_due_in_order() -> None:
    clock, seen = Clock(1000), []
    clock.after(20, lambda: seen.append(("b", clock.now)))
    clock.after(10, lambda: seen.append(("a", clock.now)))
    cancelled = clock.after(15, lambda: seen.append(("never", clock.now)))
    cancelled.cancel()
    assert (clock.now, clock.next()) == (1000, 1010)
    while clock.step(1030):
        pass
    assert seen == [("a", 1010), ("b", 1020)]
    assert clock.next() is None


def test_shared_data_is_kept_by_vm_id_and_a_stale_number_is_refused() -> None:
    data = SharedData()
    assert data.set("one", b"k", b"v", 99) == OK, "on an absent key the number is ignored"
    value, cas = data.get("one", b"k") or (b"", 0)
    assert value == b"v"
    assert data.get("two", b"k") is None
    assert data.set("one", b"k", b"w", cas) == OK
    assert data.set("one", b"k", b"x", cas) == CAS_MISMATCH
    assert data.set("one", b"k", b"y", 0) == OK
    assert data.of("one") == {b"k": b"y"}


def test_a_queue_that_is_registered_again_keeps_its_items_and_changes_its_owner() -> None:
    queues = SharedQueues()
    first = queues.register("vm", b"q", "a")
    first.items.append(b"1")
    again = queues.register("vm", b"q", "b")
    assert again is first
    assert (again.number, again.owner, list(again.items)) == (1, "b", [b"1"])
    assert queues.resolve("other", b"q") is None
    assert queues.get(2) is None


def test_properties_have_envoys_forms() -> None:
    assert serialise("é") == "é".encode()
    assert serialise(True) == b"\1"
    assert serialise(-1) == b"\xff" * 8
    assert serialise({"a": "1"}) == pairs.encode([(b"a", b"1")])
    assert serialise(["x"]) == pairs.encode([(b"x", b"")])
    with pytest.raises(SerializationFailure):
        serialise(None)
    assert split(b"node\0metadata\0NAME\0") == ["node", "metadata", "NAME"]
    assert walk({"a": [1, {"b": 2}]}, ["a", "1", "b"]) == 2
    assert walk({"a": 1}, ["a", "b"]) is None
