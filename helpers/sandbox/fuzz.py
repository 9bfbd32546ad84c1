"""Make host calls with hostile numbers, a million of them, and account for each.

    python -m helpers.sandbox.fuzz --calls 1000000 --seed 1

After each batch of calls it holds that: every status is one that the ABI has; OK was answered
only where each pointer lies in memory; no byte of the guest's memory changed but those that were
asked for; the guest was stopped only where its allocator traps; another VM saw nothing; and no
exception came out.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from helpers.sandbox import engine, pairs
from helpers.sandbox.fuzz_rig import (
    ANY,
    BUMP,
    DATA,
    GROW,
    HEAP,
    MOST_BLOCKS,
    MOST_CALLS,
    NAMES,
    PAGE,
    PHASES,
    RESTRICTED,
    SHAPES,
    SIZE,
    TALK,
    TRAP,
    WRITES,
    ZERO,
    Call,
    Ran,
    Rig,
)
from helpers.sandbox.imports import known

_ENV = frozenset(range(13))
_WASI = frozenset({0, 8, 20, 21, 28, 44, 52, 58})
_SPACE = {name: space for space, name in known()}
_PARAMS = {name: found.params for (_, name), found in known().items()}
#: Of a rig so many batches are made, or until its memory has grown so much.
_BATCHES, _MOST_MEMORY = 1500, 16 * PAGE
_MODES = [BUMP] * 60 + [ANY] * 15 + [ZERO] * 12 + [GROW] * 2 + [TALK] * 8
_TEXTS = (b"c", b"f", b"q", b":path", b":status", b"x-a", b"x-b", b"content-length", b"",
          b"plugin_name", b"request\0headers", b"request\0headers\0x-a", b"list\0" + b"9" * 5000,
          b"list\0001", b"bad\0x", b"node\0metadata", b"\xff\xfe", b"a\r\nb: c")
_BLOBS = (pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"x")]),
          pairs.encode([(b"a", b"1")] * 200), b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80\0")


class Violation(AssertionError):
    """The sandbox did what no guest may bring it to."""


@dataclass
class Figures:
    """What was run.

    Attributes:
        calls: host calls that were made; refused: of them with another status than 0.
        statuses: how many calls ended in each, "wasi" in front of WASI's own.
        stopped: guests that were stopped, on purpose; rigs: sandboxes that were made.
    """

    calls: int = 0
    refused: int = 0
    stopped: int = 0
    rigs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)


class Numbers:
    """Where hostile numbers come from.

    Args:
        source: of randomness.
    """

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._places: dict[bytes, int] = {}
        self._vectors = DATA

    def fill(self, rig: Rig) -> None:
        """Put text, pairs, lists of vectors and noise into the guest's memory."""
        source, at = self._random, DATA
        rig.vm.guest.write(DATA, source.randbytes(HEAP - DATA))
        for piece in (*_TEXTS, *_BLOBS, *(_damaged(source, blob) for blob in _BLOBS)):
            self._places[piece] = at
            rig.vm.guest.write(at, piece)
            at += len(piece)
        self._vectors = at
        rig.vm.guest.write(at, struct.pack("<64I", *(self.edge(SIZE) for _ in range(64))))

    def edge(self, size: int) -> int:
        """A number at which things break: around the end of memory, of 31 and of 32 bits."""
        source = self._random
        base = source.choice((0, DATA, size, size, 1 << 31, 1 << 32, HEAP, source.getrandbits(32)))
        return base + source.randrange(-9, 10) & 0xFFFFFFFF

    def call(self, size: int, name: str = "") -> Call:
        """A call of any host function.

        Args:
            size: of the guest's memory now.
        """
        source = self._random
        name = name or source.choice(NAMES)
        numbers: list[int] = []
        for word in SHAPES[name].split():
            if word in ("i", "p", "b"):
                numbers += self._range(word, size)
            elif word == "v":
                numbers += (self._vectors if source.random() < 0.7 else self.edge(size),
                            source.choice((0, 1, 2, 5, 1024, 1025, self.edge(size))))
            elif word in WRITES or word == "x":
                inside = source.random() < 0.7
                numbers.append(source.randrange(DATA, HEAP) if inside else
                               max(DATA, self.edge(size)))
            elif _PARAMS[name][len(numbers)] == "I":
                numbers.append(source.choice((0, 1, -1, 1 << 63, source.getrandbits(64))))
            elif source.random() < 0.5:
                numbers.append(int(word))
            else:
                numbers.append(source.choice((source.randrange(12), self.edge(size))))
        return Call(name, tuple(numbers))

    def _range(self, word: str, size: int) -> tuple[int, int]:
        source = self._random
        if word == "b":
            return max(DATA, self.edge(size)), source.choice((0, 1, 65536, 65537, self.edge(size)))
        if source.random() < 0.5:
            piece = source.choice(_TEXTS if word == "i" else _BLOBS)
            return self._places[piece], len(piece)
        return (source.randrange(size) if source.random() < 0.6 else self.edge(size),
                source.randrange(64) if source.random() < 0.6 else self.edge(size))


def _damaged(source: random.Random, blob: bytes) -> bytes:
    changed = bytearray(blob)
    changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def check(calls: Sequence[Call], ran: Ran, *, may_stop: bool) -> None:
    """Hold what came of the calls against what may come.

    Raises:
        Violation: it may not.
    """
    if len(ran.statuses) < len(calls) and not may_stop:
        raise Violation(f"the guest was stopped in {calls[len(ran.statuses)]}: "
                        f"{ran.exchange.panics}")
    size, allowed = len(ran.after), [(0, DATA), *ran.blocks]
    for call, status in zip(calls, ran.statuses, strict=False):
        if status not in (_ENV if _SPACE[call.name] == "env" else _WASI):
            raise Violation(f"{call} answered {status}")
        outside, writes = _reach(call, size)
        if status == 0 and outside:
            raise Violation(f"{call} reaches outside of {size} bytes, and answered OK")
        allowed += writes
    for call in calls[len(ran.statuses):]:
        allowed += _reach(call, size)[1]
    expected = bytearray(ran.before) + bytes(size - len(ran.before))
    for at, length in allowed:
        expected[at : at + length] = ran.after[at : at + length]
    if len(ran.blocks) < MOST_BLOCKS and expected != ran.after:
        where = next(at for at in range(size) if expected[at] != ran.after[at])
        raise Violation(f"byte {where:#x} changed, which none of these asked for: {calls}")


def _reach(call: Call, size: int) -> tuple[bool, list[tuple[int, int]]]:
    """Whether a range that is always followed is outside of memory; and what may be written."""
    outside, writes, at = False, [], 0
    optional = call.name == "proxy_call_foreign_function"  # its answer may be unwanted
    for word in SHAPES[call.name].split():
        number = call.arguments[at]
        if word in ("i", "p", "b"):
            length = call.arguments[at + 1]
            outside |= number + length > size and not (word == "b" and not length)
            if word == "b":
                writes.append((number, length))
        elif word in WRITES:
            outside |= number + WRITES[word] > size and not optional
            writes.append((number, WRITES[word]))
        at += 1 + (word in ("i", "p", "b", "v"))
    return outside, writes


def run(calls: int, seed: int, way: str, *, trace: bool = False) -> Figures:
    """Make at least `calls` host calls.

    Args:
        way: "fast" or "public".

    Raises:
        Violation: see `check`.
    """
    source, figures = random.Random(f"{seed} {way} {trace}"), Figures()
    numbers = Numbers(source)
    with engine.taking(way):
        while figures.calls < calls:
            rig = Rig(trace=trace, witness=source.random() < 0.2)
            figures.rigs += 1
            for batch in range(_BATCHES):
                if batch % 50 == 0:
                    numbers.fill(rig)
                _batch(rig, numbers, source, figures)
                if (rig.dead or figures.calls >= calls
                        or rig.vm.guest.memory_bytes > _MOST_MEMORY):
                    break
            if rig.disturbed():
                raise Violation("another VM's memory or shared data changed")
            rig.close()
    return figures


def _batch(rig: Rig, numbers: Numbers, source: random.Random, figures: Figures) -> None:
    size = rig.vm.guest.memory_bytes
    made = [numbers.call(size) for _ in range(source.choice((1, 4, MOST_CALLS)))]
    # To stop a guest on purpose costs a new one.
    mode = source.choice((TRAP, RESTRICTED)) if source.random() < 0.001 else source.choice(_MODES)
    ran = rig.run(made, source.choice(PHASES), mode=mode, answer=max(DATA, numbers.edge(size)),
                  body=source.randbytes(source.choice((1, 7, 300))))
    check(made, ran, may_stop=mode in (TRAP, RESTRICTED))
    figures.calls += len(ran.statuses)
    figures.refused += sum(status != 0 for status in ran.statuses)
    figures.stopped += rig.dead
    for call, status in zip(made, ran.statuses, strict=False):
        wasi = "" if _SPACE[call.name] == "env" else "wasi "
        figures.statuses[f"{wasi}{status}"] += 1
        figures.names[call.name] += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000_000, help="host calls in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", choices=("fast", "public", "both"), default="both")
    given = parser.parse_args(arguments)
    # The public way is ten times slower, and its part of the code is small.
    parts: dict[str, list[tuple[str, bool, float]]] = {
        "fast": [("fast", False, 0.8), ("fast", True, 0.2)],
        "public": [("public", False, 0.8), ("public", True, 0.2)],
        "both": [("fast", False, 0.6), ("fast", True, 0.2), ("public", False, 0.2)]}
    total = 0
    for way, trace, share in parts[given.way]:
        begun = time.perf_counter()
        found = run(round(given.calls * share), given.seed, way, trace=trace)
        total += found.calls
        spent = time.perf_counter() - begun
        print(f"{way}{', traced' * trace}: {found.calls:,} calls of {len(found.names)} host "
              f"functions in {spent:.0f} s, {found.refused:,} not OK, {found.rigs:,} sandboxes, "
              f"{found.stopped:,} guests stopped on purpose")
        print("  status: " + ", ".join(f"{name} {count:,}" for name, count
                                       in sorted(found.statuses.items())))
    print(f"{total:,} calls, seed {given.seed}: nothing was violated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
