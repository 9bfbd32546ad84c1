"""What VMs share: data with compare-and-swap, queues, metrics (proxy-wasm-cpp-host, shared_*)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from helpers.sandbox.headers import as_text

#: A flood of entries is bounded; Envoy is not, and would grow until it is killed.
MOST_KEYS = 100_000
MOST_BYTES = 256 * 1024 * 1024
MOST_QUEUED = 100_000
MOST_QUEUES = 10_000
MOST_METRICS = 100_000
MOST_NAME = 4 * 1024

OK, NOT_FOUND, BAD_ARGUMENT, EMPTY, CAS_MISMATCH, INTERNAL_FAILURE = 0, 1, 2, 7, 8, 10
PARSE_FAILURE = 4

COUNTER, GAUGE, HISTOGRAM = 0, 1, 2


class SharedData:
    """Key and value by vm_id, with a number that every set moves on."""

    def __init__(self) -> None:
        self._data: dict[tuple[str, bytes], tuple[bytes, int]] = {}
        self._cas = 1
        self._bytes = 0

    def get(self, vm_id: str, key: bytes) -> tuple[bytes, int] | None:
        """Value and number, or None."""
        return self._data.get((vm_id, key))

    def set(self, vm_id: str, key: bytes, value: bytes, cas: int) -> int:
        """OK, CAS_MISMATCH, or INTERNAL_FAILURE when the store is full.

        A number other than 0 must be the current one; on an absent key it is ignored.
        """
        have = self._data.get((vm_id, key))
        if have is not None and cas and cas != have[1]:
            return CAS_MISMATCH
        more = len(value) - (len(have[0]) if have else -len(key))
        if self._bytes + more > MOST_BYTES or (have is None and len(self._data) >= MOST_KEYS):
            return INTERNAL_FAILURE
        self._bytes += more
        self._data[(vm_id, key)] = (value, self._cas)
        self._cas = self._cas + 1 & 0xFFFFFFFF or 1
        return OK

    def of(self, vm_id: str) -> dict[bytes, bytes]:
        """All that one vm_id holds."""
        # A copy: another thread's request may store something meanwhile.
        return {key: value for (owner, key), (value, _) in list(self._data.items())
                if owner == vm_id}


@dataclass
class Queue:
    """One queue. `owner` is the root context that registered last: it is told of new items."""

    number: int
    owner: Any
    items: deque[bytes] = field(default_factory=deque)


class SharedQueues:
    """Queues by vm_id and name; ids begin at 1."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, bytes], Queue] = {}
        self._by_id: dict[int, Queue] = {}
        self._bytes = 0

    def enqueue(self, queue: Queue, value: bytes) -> bool:
        """One item more; False when the queue, or all of them, are full."""
        if len(queue.items) >= MOST_QUEUED or self._bytes + len(value) > MOST_BYTES:
            return False
        self._bytes += len(value)
        queue.items.append(value)
        return True

    def dequeue(self, queue: Queue) -> bytes:
        """The oldest item; there must be one."""
        value = queue.items.popleft()
        self._bytes -= len(value)
        return value

    def register(self, vm_id: str, name: bytes, owner: Any) -> Queue | None:
        """The queue; registering again keeps what is in it and moves the notice.

        None when there are too many queues, or the name is longer than any name.
        """
        found = self._by_name.get((vm_id, name))
        if found is None:
            if len(self._by_id) >= MOST_QUEUES or len(name) > MOST_NAME:
                return None
            found = Queue(len(self._by_id) + 1, owner)
            self._by_name[(vm_id, name)] = self._by_id[found.number] = found
        found.owner = owner
        return found

    def resolve(self, vm_id: str, name: bytes) -> Queue | None:
        """The queue, or None."""
        return self._by_name.get((vm_id, name))

    def get(self, number: int) -> Queue | None:
        """By id."""
        return self._by_id.get(number)


@dataclass
class Metric:
    """One metric; a histogram keeps what was recorded, at most the last 1,000."""

    kind: int
    value: int = 0
    recorded: deque[int] = field(default_factory=lambda: deque(maxlen=1_000))
    count: int = 0


class Metrics:
    """Metrics by name, shared by every plugin, as Envoy's stats scope shares them."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[int, bytes], Metric] = {}

    def define(self, kind: int, name: bytes) -> Metric | None:
        """The metric of that kind and name; None when there are too many."""
        found = self._by_name.get((kind, name))
        if found is None and len(self._by_name) < MOST_METRICS and len(name) <= MOST_NAME:
            found = self._by_name[(kind, name)] = Metric(kind)
        return found

    def values(self) -> dict[str, int]:
        """Name to value; for a histogram how many values were recorded."""
        return {
            as_text(name):
                metric.count if metric.kind == HISTOGRAM else metric.value
            for (_, name), metric in list(self._by_name.items())
        }
