"""Plugins that call the host in ways no SDK would: modules made up call by call.

Each callback makes a few host calls with arguments out of `_WORDS` and out of memory, and logs
each call, its status and what the host wrote. What would end Envoy 1.40, or depends on other VMs,
on time or on chance, is left out: see `_CALLS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from random import Random

import wasmtime

from helpers.agreement.cases import Filter, chance, pick
from helpers.sandbox.exports import CALLBACKS
from helpers.sandbox.imports import known

_HEAP = 40_000
_DIGITS = 31_744
_OUT = 4_096

# Kinds of arguments: "text" (and the like) is a pointer and a size, "out" a place for the host to
# write to. Not here: continue and close of the own stream (the lifecycle kinds do that in the
# places where Envoy survives it), an empty gRPC service (it aborts Envoy), queues and marks of
# shared data (numbered for the whole Envoy), calls that another server would answer.
_CALLS = {
    "proxy_log": "level text", "proxy_get_log_level": "out",
    "proxy_get_header_map_size": "map out", "proxy_get_header_map_pairs": "map answer",
    "proxy_set_header_map_pairs": "map pairs", "proxy_get_header_map_value": "map name answer",
    "proxy_add_header_map_value": "map name text",
    "proxy_replace_header_map_value": "map name text",
    "proxy_remove_header_map_value": "map name",
    "proxy_get_buffer_bytes": "buffer offset offset answer",
    "proxy_get_buffer_status": "buffer out out",
    "proxy_set_buffer_bytes": "buffer offset offset text",
    "proxy_get_property": "path answer", "proxy_set_property": "path text",
    "proxy_continue_stream": "other_stream", "proxy_close_stream": "other_stream",
    "proxy_http_call": "nobody pairs text pairs number out",
    "proxy_get_shared_data": "name answer nowhere", "proxy_set_shared_data": "name text zero",
    "proxy_dequeue_shared_queue": "big answer", "proxy_enqueue_shared_queue": "big text",
    "proxy_resolve_shared_queue": "name name out",
    "proxy_define_metric": "metric own_name out", "proxy_increment_metric": "id number64",
    "proxy_record_metric": "id number64", "proxy_get_metric": "id out",
    "proxy_get_status": "out answer", "proxy_done": "", "proxy_set_effective_context": "context",
    "proxy_call_foreign_function": "name text answer",
    "proxy_grpc_call": "service name name pairs text number out",
    "proxy_grpc_stream": "service name name pairs out", "proxy_grpc_send": "big text number",
    "proxy_grpc_cancel": "big", "proxy_grpc_close": "big",
    "proxy_get_current_time_nanoseconds": "blind", "proxy_set_tick_period_milliseconds": "zero",
    "fd_write": "descriptor vectors small out", "clock_time_get": "small number64 blind",
    "random_get": "blind small", "environ_sizes_get": "out out", "args_sizes_get": "out out",
    "environ_get": "out out", "args_get": "out out", "sched_yield": "",
    "fd_fdstat_get": "descriptor inside", "fd_close": "descriptor", "fd_prestat_get": "number out",
    "fd_seek": "descriptor number64 small out", "poll_oneoff": "blind blind small out",
}
_TEXTS = (
    b"x-a", b"X-B", b"user-agent", b"cookie", b":path", b":status", b":authority", b"none", b"",
    b"v" * 300, b"\xff\x80", b"request\0path", b"request\0headers\0x-a", b"response\0code",
    b"plugin_name", b"mine", b"mine\0x", b"xds\0node\0id", b"a b", b"\0",
)
_PAIRS = (
    b"", b"\0", b"\0\0\0\0",
    b"\1\0\0\0\3\0\0\0\1\0\0\0x-p\0001\0",
    b"\2\0\0\0\3\0\0\0\1\0\0\0\3\0\0\0\1\0\0\0x-p\0001\0X-P\0002\0",
    b"\2\0\0\0\3\0\0\0\1\0\0\0\3\0\0\0\1\0\0\0x-p\0001\0",
    b"\1\0\0\0\3\0\0\0\1\0\0\0x-p\0001\0more", b"\1\0\0\0\377\0\0\0\1\0\0\0x-p\0001\0",
    b"\1\0\0\0\3\0\0\0\1\0\0\0x-p-1-", b"\0\4\0\0", b"\1\4\0\0" + b"\0" * 9000, b"\377\377\377\377",
    b"\3\0\0\0\5\0\0\0\1\0\0\0\7\0\0\0\3\0\0\0\12\0\0\0\1\0\0\0:path\0/\0:method\0GET\0:authority\0a\0",
)
# Pointers with sizes that lie outside of memory, in part or as a whole.
_OUTSIDE = ((65_500, 100), (0xFFFFFFF0, 4), (70_000, 0), (65_536, 0), (0, 0xFFFFFFFF))
_BAD_OUT = (65_534, 65_536, 0xFFFFFFFF)
_WORDS: dict[str, tuple[int, ...]] = {
    "level": (2, 0, 1, 3, 4, 5, 6, 0xFFFFFFFF), "map": (0, 1, 2, 3, 4, 5, 6, 7, 8, 0xFFFFFFFF),
    "buffer": (0, 1, 2, 3, 4, 5, 6, 7, 9, 0xFFFFFFFF),
    "offset": (0, 1, 2, 5, 100, 0x7FFFFFFF, 0xFFFFFFFF),
    "other_stream": (2, 3, 4, 0xFFFFFFFF), "number": (0, 1, 1000, 0xFFFFFFFF),
    "big": (999_999, 0xFFFFFFFF, 0), "metric": (0, 1, 2, 3, 0xFFFFFFFF),
    "id": (4, 5, 6, 8, 9, 10, 7, 0, 0xFFFFFFFF), "context": (0, 1, 2, 3, 9_999),
    "zero": (0,), "small": (0, 1, 2, 3), "descriptor": (1, 2, 0, 3, 0xFFFFFFFF),
    "number64": (0, 1, 5, 0xFFFFFFFFFFFFFFFF, 1 << 40),
}


class _Memory:
    """Data segments, and where each text lies."""

    def __init__(self) -> None:
        self.segments: list[tuple[int, bytes]] = []
        self._places: dict[bytes, int] = {}
        self._next = 8_192

    def put(self, data: bytes) -> tuple[int, int]:
        """Where it lies, and how long it is."""
        at = self._places.get(data)
        if at is None:
            at = self._places[data] = self._next
            self.segments.append((at, data))
            self._next += len(data) + 8
        return at, len(data)


def _argument(choice: Random, kind: str, memory: _Memory, own: bytes) -> list[int]:
    if kind in ("text", "name", "path", "pairs", "nobody", "own_name"):
        if chance(choice, 8):
            return list(pick(choice, _OUTSIDE))
        if kind == "pairs":
            return list(memory.put(pick(choice, _PAIRS)))
        if kind == "nobody":
            return list(memory.put(pick(choice, (b"nobody", b"", b"\xff"))))
        if kind == "own_name":
            return list(memory.put(own + pick(choice, (b"a", b"b"))))
        return list(memory.put(pick(choice, _TEXTS)))
    if kind == "inside":
        return [_OUT + 8 * choice.randrange(40)]
    if kind == "service":
        return list(pick(choice, ((65_500, 100), memory.put(b"nobody"), memory.put(b"\xff"))))
    if kind in ("out", "blind", "nowhere"):
        bad = chance(choice, 8) or kind == "nowhere"
        return [pick(choice, _BAD_OUT) if bad else _OUT + 8 * choice.randrange(40)]
    if kind == "answer":
        return [*_argument(choice, "out", memory, own), *_argument(choice, "out", memory, own)]
    if kind == "vectors":
        at, size = memory.put(pick(choice, (b"written", b"two\nlines\n", b"", b"\xff", b"w" * 200)))
        return [memory.put(at.to_bytes(4, "little") + size.to_bytes(4, "little"))[0]]
    return [pick(choice, _WORDS[kind])]


def _call(choice: Random, name: str, memory: _Memory, own: bytes) -> str:
    arguments: list[int] = []
    shown: list[str] = []
    for kind in _CALLS[name].split():
        values = _argument(choice, kind, memory, own)
        arguments += values
        if kind in ("out", "inside", "answer"):
            # Where a block lies depends on all blocks before it: not shown.
            look = ("(i32.load (i32.const {}))", "(i32.eqz (i32.load (i32.const {})))",
                    "(i32.load (i32.load (i32.const {})))")
            forms = (look[1:], look[:1]) if kind == "answer" else ((look[0],),)
            shown += [form.format(at) for at, some in zip(values, forms, strict=True)
                      if at not in _BAD_OUT for form in some]
    clear = [f"(i64.store (i32.const {at}) (i64.const 0))" for at in arguments
             if at % 8 == 0 and _OUT <= at < _OUT + 320]
    told, length = memory.put(f"{name}({', '.join(map(str, arguments))})".encode())
    tell = f"(drop (call $proxy_log (i32.const 1) (i32.const {told}) (i32.const {length})))"
    return "\n".join([tell, *clear, say(name, *arguments),
                      *(f"(call $say {one})" for one in shown)])


_SIGNATURES = {name: found for (module, name), found in known().items()
               if module in ("env", "wasi_snapshot_preview1")}
_PLACES = ("vm_start", "configure", "request_headers", "request_body", "request_trailers",
           "response_headers", "response_body", "response_trailers", "log", "done")


def module(choice: Random) -> bytes:
    """A plugin that makes a few host calls in each of its callbacks."""
    memory, bodies = _Memory(), {}
    own = b"m%d" % choice.randrange(10**9)
    answers = {place: _answer(choice, place) for place in _PLACES}
    names = tuple(_CALLS)
    if max(answers["request_body"], answers["response_body"]) > 1:
        # What is neither passed on nor kept is freed, and Envoy 1.40 would look at it again.
        names = tuple(name for name in names if "_buffer_" not in name)
    for place in _PLACES:
        if place == "log":  # where Envoy's maps hold a date
            names = tuple(name for name in names if "_map_pairs" not in name)
        calls = [_call(choice, pick(choice, names), memory, own)
                 for _ in range(choice.randrange(6))]
        bodies[place] = ("\n".join(calls), answers[place])
    return assembled(bodies, memory.segments)


def assembled(bodies: Mapping[str, tuple[str, int]], data: Iterable[tuple[int, bytes]]) -> bytes:
    """A plugin of the text of its callbacks, such as `{"log": (say("proxy_done"), 0)}`.

    Args:
        bodies: of each callback, without "proxy_on_", the text and the answer.
        data: what lies in its memory, and where.
    """
    code = "\n".join([_RUNTIME, *(_function(f"proxy_on_{place}", body, answer)
                                  for place, (body, answer) in bodies.items())])
    called = sorted(set(re.findall(r"\(call \$(\w+)", code)) & set(_SIGNATURES))
    lies = [f"(data (i32.const {at}) {_quoted(found)})" for at, found in data if found]
    return bytes(wasmtime.wat2wasm("\n".join([
        "(module", *map(_imported, called), '(memory (export "memory") 1)', *lies,
        '(func (export "proxy_abi_version_0_2_1"))', code, ")"])))


def say(name: str, *arguments: int) -> str:
    """Call the host and log the status."""
    words = " ".join(f"({'i64' if letter == 'I' else 'i32'}.const {value})"
                     for letter, value in zip(_SIGNATURES[name].params, arguments, strict=True))
    return f"(call $say (call ${name} {words}))"


def _answer(choice: Random, place: str) -> int:
    if place == "done":  # of a stream: nobody waits
        return pick(choice, (1, 0))
    if not place.startswith("re"):
        return 1
    return 0 if chance(choice, 75) else pick(choice, (0, 1, 2, 3, 4, 5, 0xFFFFFFFF))


def _function(name: str, body: str, answer: int) -> str:
    params, results = CALLBACKS[name]
    head = f'(func (export "{name}") (param {" ".join("i32" for _ in params)})'
    if not results:
        return f"{head}\n{body})"
    return f"{head} (result i32)\n{body}\n(i32.const {answer}))"


def _imported(name: str) -> str:
    found = _SIGNATURES[name]
    params = "".join(f" (param {'i64' if letter == 'I' else 'i32'})" for letter in found.params)
    results = " (result i32)" if found.results else ""
    return f'(import "{found.module}" "{name}" (func ${name}{params}{results}))'


def _quoted(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:02x}" for byte in data) + '"'


# An allocator that never takes anything back, and `$say`, which logs a number in eight digits.
_RUNTIME = f"""
  (global $heap (mut i32) (i32.const {_HEAP}))
  (func (export "malloc") (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at)
      (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
    (if (i32.gt_u (global.get $heap) (i32.const 65000))
      (then (global.set $heap (i32.const {_HEAP})) (return (i32.const {_HEAP}))))
    (local.get $at))
  (func $say (param $number i32) (local $digit i32) (local $at i32)
    (local.set $at (i32.const 8))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (local.set $digit (i32.and (local.get $number) (i32.const 15)))
      (i32.store8 (i32.add (i32.const {_DIGITS}) (local.get $at))
        (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48)
          (i32.gt_u (local.get $digit) (i32.const 9)))))
      (local.set $number (i32.shr_u (local.get $number) (i32.const 4)))
      (br_if $next (local.get $at)))
    (drop (call $proxy_log (i32.const 2) (i32.const {_DIGITS}) (i32.const 8))))
"""


def host_calls(choice: Random) -> tuple[Filter, ...]:
    """A made-up module, in a VM of its own."""
    return (Filter("raw", vm_id=f"vm{choice.randrange(10**9)}", module=module(choice)),)
