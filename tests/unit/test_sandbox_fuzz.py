"""A small part of `python -m helpers.sandbox.fuzz`, and that it would find what it looks for.

The large run's figures are in docs/sandbox-safety.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.sandbox import engine, fuzz
from helpers.sandbox.fuzz_rig import (
    ANY,
    BUMP,
    DATA,
    GROW,
    NAMES,
    PHASES,
    SHAPES,
    SIZE,
    TALK,
    ZERO,
    Call,
    Rig,
)
from helpers.sandbox.imports import known

_PARAMS = {name: found.params for (_, name), found in known().items()}
#: Out of the control area: what a guest does to its own bookkeeping is its own affair.
_EDGES = [DATA, SIZE - 8, SIZE - 4, SIZE - 3, SIZE - 1, SIZE, SIZE + 1, (1 << 31) - 1, 1 << 31,
          (1 << 32) - SIZE, (1 << 32) - 8, (1 << 32) - 1]
NUMBERS = {"i": st.sampled_from(_EDGES) | st.integers(DATA, (1 << 32) - 1),
           "I": st.integers(-(1 << 63), (1 << 63) - 1)}
SMALL = st.integers(0, 12) | NUMBERS["i"]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Any host call, with pointers anywhere and other numbers small or anything."""
    name = draw(st.sampled_from(NAMES))
    numbers: list[int] = []
    for word in SHAPES[name].split():
        if word.isdigit():
            kind = _PARAMS[name][len(numbers)]
            numbers.append(draw(SMALL if kind == "i" else NUMBERS[kind]))
            continue
        numbers.append(draw(NUMBERS["i"]))
        if word in ("i", "p", "v", "b"):
            numbers.append(draw(SMALL))
    return Call(name, tuple(numbers))


@pytest.fixture(scope="module", params=["fast", "public"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with engine.taking(request.param):
        made = Rig(witness=True)
    yield made
    assert not made.disturbed()


@settings(max_examples=250, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(calls(), min_size=1, max_size=8), st.sampled_from(PHASES),
       st.sampled_from([BUMP, ANY, ZERO, GROW, TALK]), NUMBERS["i"], st.binary(max_size=50))
def test_no_host_call_does_more_than_it_was_asked_for(
    rig: Rig, made: list[Call], phase: str, mode: int, answer: int, noise: bytes
) -> None:
    rig.vm.guest.write(DATA, noise)
    fuzz.check(made, rig.run(made, phase, mode=mode, answer=answer), may_stop=False)


@pytest.mark.parametrize("way", ["fast", "public"])
@pytest.mark.parametrize("trace", [True, False])
def test_a_few_thousand_calls_of_the_command_violate_nothing(way: str, trace: bool) -> None:
    found = fuzz.run(1500, 7, way, trace=trace)
    assert found.calls >= 1500
    assert len(found.names) > 40
    assert {"0", "1", "2", "6", "wasi 21"} <= set(found.statuses)


def test_the_command_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--calls", "300", "--seed", "3"]) == 0
    assert "seed 3: nothing was violated" in capsys.readouterr().out


def test_a_host_without_bounds_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.taking("fast"):
        rig = Rig()
    guest = rig.vm.guest
    # What reads over the end of a memoryview gets less than it asked for: here without a word.
    monkeypatch.setattr(type(guest), "read",
                        lambda self, pointer, size: self._view[pointer : pointer + size].tobytes())
    made = [Call("proxy_log", (2, SIZE - 2, 4))]
    with pytest.raises(fuzz.Violation, match="reaches outside"):
        fuzz.check(made, rig.run(made, "proxy_on_request_headers"), may_stop=False)


def test_a_host_that_writes_elsewhere_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.taking("fast"):
        rig = Rig()
    write = type(rig.vm.guest).write_u32
    monkeypatch.setattr(type(rig.vm.guest), "write_u32",
                        lambda self, pointer, value: write(self, pointer ^ 256, value))
    made = [Call("proxy_get_header_map_size", (0, DATA + 1024))]
    with pytest.raises(fuzz.Violation, match="changed"):
        fuzz.check(made, rig.run(made, "proxy_on_request_headers"), may_stop=False)


def test_a_status_that_the_abi_does_not_have_would_be_found() -> None:
    with engine.taking("fast"):
        rig = Rig()
    made = [Call("proxy_done", ())]
    ran = rig.run(made, "proxy_on_request_headers")
    ran.statuses[0] = 99
    with pytest.raises(fuzz.Violation, match="answered 99"):
        fuzz.check(made, ran, may_stop=False)


def test_the_same_seed_gives_the_same_calls() -> None:
    with engine.taking("fast"):
        rig = Rig()
    sequences = []
    for _ in range(2):
        numbers = fuzz.Numbers(random.Random(5))
        numbers.fill(rig)
        sequences.append([numbers.call(SIZE) for _ in range(50)])
    assert sequences[0] == sequences[1]
