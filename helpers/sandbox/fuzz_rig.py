"""A plugin that makes any host call with any numbers, and a rig that tells it which.

The rig writes calls into the guest's memory; the guest makes them in the callback that the rig
names, and writes down each status. Its allocator does what the rig wants, bad things too, and
keeps a journal: so each byte of memory that changed can be accounted for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import wasmtime

from helpers.sandbox import Callout, Exchange, Plugin, Reply, Sandbox, pairs
from helpers.sandbox.exports import CALLBACKS
from helpers.sandbox.imports import known
from helpers.sandbox.vm import Vm

PAGE = 65536
#: Memory: what the rig and the guest tell each other, what calls may point to, what malloc gives.
CONTROL, DATA, HEAP, SIZE = 0, 4096, PAGE, 2 * PAGE
MOST_CALLS, MOST_BLOCKS = 16, 60
_ARMED, _COUNT, _MODE, _NEXT, _BLOCKS, _ANSWER, _EVENT = 0, 4, 8, 12, 16, 20, 24
_JOURNAL, _CALLS, _CALL_BYTES = 64, 1024, 128
#: What the allocator does.
BUMP, ZERO, ANY, GROW, TRAP, TALK, RESTRICTED = range(7)
#: Constants in the control area: a callout's cluster and headers, a queue's name.
_CLUSTER, _QUEUE, _HEADERS = 640, 648, 672
_PAIRS = pairs.encode([(b":path", b"/"), (b":method", b"GET"), (b":authority", b"c")])

#: What the arguments of each host call are: "i" a pointer and a size to read, "p" the same with
#: serialised pairs, "v" a list of such, "o" and "q" where four or eight bytes are written, "b" a
#: pointer and a size to write, "x" a pointer that nobody follows; a number is one.
SHAPES = {
    "proxy_log": "2 i", "proxy_get_log_level": "o", "proxy_get_current_time_nanoseconds": "q",
    "proxy_set_tick_period_milliseconds": "1000", "proxy_set_effective_context": "0",
    "proxy_done": "", "proxy_get_status": "o o o", "proxy_get_buffer_bytes": "6 0 64 o o",
    "proxy_get_buffer_status": "6 o o", "proxy_set_buffer_bytes": "0 0 0 i",
    "proxy_get_header_map_size": "0 o", "proxy_get_header_map_pairs": "0 o o",
    "proxy_set_header_map_pairs": "0 p", "proxy_get_header_map_value": "0 i o o",
    "proxy_add_header_map_value": "0 i i", "proxy_replace_header_map_value": "0 i i",
    "proxy_remove_header_map_value": "0 i", "proxy_get_property": "i o o",
    "proxy_set_property": "i i", "proxy_continue_stream": "0", "proxy_close_stream": "0",
    "proxy_send_local_response": "200 i i p 4294967295", "proxy_http_call": "i p i p 0 o",
    "proxy_grpc_call": "i i i p i 0 o", "proxy_grpc_stream": "i i i i x",
    "proxy_grpc_send": "6 i 0", "proxy_grpc_cancel": "6", "proxy_grpc_close": "5",
    "proxy_get_shared_data": "i o o o", "proxy_set_shared_data": "i i 0",
    "proxy_register_shared_queue": "i o", "proxy_resolve_shared_queue": "i i o",
    "proxy_enqueue_shared_queue": "1 i", "proxy_dequeue_shared_queue": "1 o o",
    "proxy_define_metric": "0 i o", "proxy_increment_metric": "4 1",
    "proxy_record_metric": "4 1", "proxy_get_metric": "4 q",
    "proxy_call_foreign_function": "i i o o", "envoy_resolve_dns": "i o",
    "fd_write": "1 v o", "fd_pwrite": "1 v 0 o", "random_get": "b", "environ_sizes_get": "o o",
    "environ_get": "o b8", "args_sizes_get": "o o", "clock_time_get": "0 0 q",
    "clock_res_get": "0 q", "fd_fdstat_get": "1 w", "poll_oneoff": "0 0 0 o", "fd_tell": "1 q",
}
NAMES = tuple(SHAPES)
#: How many bytes a letter that is written to stands for.
WRITES = {"o": 4, "q": 8, "w": 24, "b8": 8}
PHASES = tuple(name for name in CALLBACKS if name not in (
    "proxy_on_vm_start", "proxy_validate_configuration", "proxy_on_configure",
    "proxy_on_foreign_function", "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata"))
#: What has to be asked for in the request's headers that these come about.
_EVENTS = {"proxy_on_http_call_response": 1, "proxy_on_queue_ready": 2,
           "proxy_on_grpc_receive": 3, "proxy_on_grpc_close": 4}


@dataclass(frozen=True)
class Call:
    """A host call.

    Attributes:
        name: as the guest imports it.
        arguments: one number each, of 32 or 64 bits.
    """

    name: str
    arguments: tuple[int, ...]


@dataclass
class Ran:
    """What came of some calls.

    Attributes:
        statuses: of each, in order; fewer when the guest was stopped.
        before, after: all of the guest's memory.
        blocks: pointer and size of what the allocator gave, or claimed to give.
        exchange: of the request in which they were made.
    """

    statuses: list[int]
    before: bytes
    after: bytes
    blocks: list[tuple[int, int]]
    exchange: Exchange


def module() -> bytes:
    """The plugin."""
    host = {name: found for (_, name), found in known().items()}
    where = {name: space for (space, name) in known()}
    kinds = {"i": "i32", "I": "i64"}
    imports, thunks, table = [], [], []
    wanted = dict.fromkeys([*NAMES, "proxy_http_call", "proxy_register_shared_queue",
                            "proxy_enqueue_shared_queue"])
    for name in wanted:
        found = host[name]
        shape = "".join(f" (param {kinds[one]})" for one in found.params)
        imports.append(f'(import "{where[name]}" "{name}" (func ${name}{shape} (result i32)))')
    for name in NAMES:
        loads = " ".join(f"({kinds[one]}.load offset={8 + 8 * at} (local.get 0))"
                         for at, one in enumerate(host[name].params))
        thunks.append(f"(func $t_{name} (param i32) (result i32) (call ${name} {loads}))")
        table.append(f"$t_{name}")
    callbacks = []
    for number, name in enumerate(PHASES, 1):
        params, results = CALLBACKS[name]
        shape = f"(param {' '.join('i32' for _ in params)})" + " (result i32)" * bool(results)
        extra = "(call $events)" if name == "proxy_on_request_headers" else ""
        callbacks.append(f'(func (export "{name}") {shape} {extra} (call $go (i32.const {number}))'
                         f"{'(i32.const 0)' if results else ''})")
    return bytes(wasmtime.wat2wasm(_TEXT.format(
        imports="\n".join(imports), thunks="\n".join(thunks), table=" ".join(table),
        count=len(table), callbacks="\n".join(callbacks), heap=HEAP, journal=_JOURNAL,
        calls=_CALLS, cluster=_CLUSTER, queue=_QUEUE, headers=_HEADERS, size=len(_PAIRS))))


_TEXT = """(module {imports}
  (type $thunk (func (param i32) (result i32)))
  (memory (export "memory") 2 64)
  (table {count} funcref) (elem (i32.const 0) {table})
  (func (export "proxy_abi_version_0_2_1"))
  {thunks}
  (func $malloc (export "malloc") (param $size i32) (result i32)
    (local $mode i32) (local $at i32) (local $block i32)
    (local.set $mode (i32.load (i32.const 8)))
    (local.set $at (i32.load (i32.const 12)))
    (if (i32.eq (local.get $mode) (i32.const 1)) (then (return (i32.const 0))))
    (if (i32.eq (local.get $mode) (i32.const 2)) (then
      (local.set $at (i32.load (i32.const 20)))))
    (if (i32.eq (local.get $mode) (i32.const 3)) (then
      (drop (memory.grow (i32.const 1)))))
    (if (i32.eq (local.get $mode) (i32.const 4)) (then unreachable))
    (if (i32.eq (local.get $mode) (i32.const 5)) (then
      (drop (call $proxy_log (i32.const 2) (i32.const {queue}) (i32.const 1)))))
    (if (i32.eq (local.get $mode) (i32.const 6)) (then
      (drop (call $proxy_done))))
    (if (i32.ne (local.get $mode) (i32.const 2)) (then
      (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (i32.const 131072)) (then
        (local.set $at (i32.const {heap}))))
      (i32.store (i32.const 12) (i32.add (local.get $at) (local.get $size)))))
    (local.set $block (i32.load (i32.const 16)))
    (if (i32.lt_u (local.get $block) (i32.const 60)) (then
      (i32.store (i32.add (i32.const {journal}) (i32.mul (local.get $block) (i32.const 8)))
        (local.get $at))
      (i32.store (i32.add (i32.const {journal}) (i32.add (i32.const 4)
        (i32.mul (local.get $block) (i32.const 8)))) (local.get $size))
      (i32.store (i32.const 16) (i32.add (local.get $block) (i32.const 1)))))
    (local.get $at))
  (func $events
    (if (i32.eq (i32.load (i32.const 24)) (i32.const 1)) (then
      (drop (call $proxy_http_call (i32.const {cluster}) (i32.const 1) (i32.const {headers})
        (i32.const {size}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 32)))))
    (if (i32.eq (i32.load (i32.const 24)) (i32.const 2)) (then
      (drop (call $proxy_register_shared_queue (i32.const {queue}) (i32.const 1) (i32.const 32)))
      (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) (i32.const {queue})
        (i32.const 1)))))
    (if (i32.ge_u (i32.load (i32.const 24)) (i32.const 3)) (then
      (drop (call $proxy_grpc_call (i32.const {cluster}) (i32.const 1) (i32.const {queue})
        (i32.const 1) (i32.const {queue}) (i32.sub (i32.load (i32.const 24)) (i32.const 3))
        (i32.const 0) (i32.const 0) (i32.const {queue}) (i32.const 1) (i32.const 1000)
        (i32.const 32))))))
  (func $go (param $phase i32) (local $at i32) (local $left i32)
    (if (i32.ne (i32.load (i32.const 0)) (local.get $phase)) (then (return)))
    (i32.store (i32.const 0) (i32.const 0))
    (local.set $left (i32.load (i32.const 4)))
    (local.set $at (i32.const {calls}))
    (block $end (loop $next
      (br_if $end (i32.eqz (local.get $left)))
      (i32.store offset=4 (local.get $at) (i32.add (i32.const 1)
        (call_indirect (type $thunk) (local.get $at) (i32.load (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 128)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next))))
  {callbacks})
"""


class Rig:
    """A sandbox with that plugin.

    Args:
        trace: whether the sandbox traces: then it reads what calls point to once more.
        witness: put the plugin into the chain a second time, in a VM of its own that is never
            told to do anything.
    """

    def __init__(self, *, trace: bool = False, witness: bool = False) -> None:
        code = module()
        chain = [Plugin(code, "plugin configuration", "rig", vm_id="rig",
                        vm_config="vm configuration", env={"K": "value"})]
        if witness:
            chain.append(Plugin(code, name="witness", vm_id="witness"))
        self.sandbox = Sandbox(
            chain, trace=trace, deadline=5.0, now=1e9,
            callouts={"c": _answer}, foreign={"f": lambda given: given[::-1]},
            properties={"list": ["a", "b"], "bad": {"x": object()}}, memory_limit=64 * PAGE)
        self.vm: Vm = self.sandbox._handles[0].root.vm
        self._witness = self.sandbox._handles[1].root.vm.guest if witness else None

    def disturbed(self) -> bool:
        """Whether anything reached the VM that is not meant."""
        if self._witness is None:
            return False
        return any(self._witness.read(0, SIZE)) or bool(self.sandbox.shared_data("witness"))

    def close(self) -> None:
        """Give the memory back."""
        self.sandbox.close()

    @property
    def dead(self) -> bool:
        """Whether the guest was stopped, as by its allocator's trap."""
        return self.vm.failed is not None

    def run(self, calls: Sequence[Call], phase: str, *, mode: int = BUMP, answer: int = 0,
            body: bytes = b"body") -> Ran:
        """Make these calls in the callback `phase` of one request.

        Args:
            mode: what the allocator does, and with ANY what it answers.
        """
        guest, event = self.vm.guest, _EVENTS.get(phase, 0)
        for at, call in enumerate(calls):
            numbers = [number & 0xFFFFFFFFFFFFFFFF for number in call.arguments]
            guest.write(_CALLS + at * _CALL_BYTES, struct.pack(
                f"<II{len(numbers)}Q", NAMES.index(call.name), 0, *numbers))
        guest.write(0, struct.pack("<7I", PHASES.index(phase) + 1, len(calls), mode, HEAP, 0,
                                   answer, event))
        guest.write(_CLUSTER, b"c")
        guest.write(_QUEUE, b"q")
        guest.write(_HEADERS, _PAIRS)
        before = guest.read(0, guest.memory_bytes)
        if phase == "proxy_on_tick":
            root = self.sandbox._handles[0].root
            self.sandbox.host.set_tick(root, 1)
            self.sandbox.advance(0.001)
            self.sandbox.host.set_tick(root, 0)
        exchange = self.sandbox.request(
            "POST", "/p?q=1", {"x-a": "1", "x-b": ["2", "3"]}, body, {"t": "1"},
            Reply(body=body, trailers={"u": "2"}))
        after = guest.read(0, guest.memory_bytes)
        statuses = []
        for at in range(len(calls)):
            status = struct.unpack_from("<I", after, _CALLS + at * _CALL_BYTES + 4)[0]
            if not status:
                break
            statuses.append(status - 1)
        count = min(struct.unpack_from("<I", after, _BLOCKS)[0], MOST_BLOCKS)
        blocks = [struct.unpack_from("<II", after, _JOURNAL + 8 * at) for at in range(count)]
        return Ran(statuses, before, after, [(a, b) for a, b in blocks], exchange)


def _answer(callout: Callout) -> Reply | None:
    if callout.headers.get("content-type") == "application/grpc":
        # A method without a name is the one that fails.
        return Reply.grpc(callout.body[:100]) if callout.headers[":path"][-1] == "/" else None
    return Reply(body=callout.body[:100], trailers={"v": "3"}) if len(callout.body) & 1 else None
