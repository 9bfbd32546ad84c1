"""The trace: every crossing of the border, with arguments that can be read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from helpers.sandbox.guest import HostFunction, OutOfBounds
from helpers.sandbox.headers import as_text
from helpers.sandbox.records import LEVELS, STATUSES, Call

if TYPE_CHECKING:
    from helpers.sandbox.context import Context
    from helpers.sandbox.host import Host
    from helpers.sandbox.vm import Vm

MOST_CALLS = 10_000
_MOST_TEXT = 200
_SHOWN_PAIRS = 40

MAPS = ("request headers", "request trailers", "response headers", "response trailers",
        "gRPC initial metadata", "gRPC trailing metadata", "callout headers", "callout trailers")
BUFFERS = ("request body", "response body", "downstream data", "upstream data", "callout body",
           "gRPC message", "VM configuration", "plugin configuration", "foreign arguments")
STREAMS = ("request", "response", "downstream", "upstream")
ACTIONS = {0: "Continue", 1: "Pause", 2: "ContinueAndEndStream", 3: "StopAllAndBuffer",
           4: "StopAllAndWatermark"}

# What the arguments of each host call are. "text" and "pairs" take two numbers, a pointer and a
# size; "out" is where the host writes, "answer" two such places whose text is shown.
_SIGNATURES = {
    "proxy_log": "level text",
    "proxy_get_header_map_size": "map out", "proxy_get_header_map_pairs": "map answer",
    "proxy_set_header_map_pairs": "map pairs", "proxy_get_header_map_value": "map name answer",
    "proxy_add_header_map_value": "map name value",
    "proxy_replace_header_map_value": "map name value",
    "proxy_remove_header_map_value": "map name",
    "proxy_get_buffer_bytes": "buffer start size answer",
    "proxy_get_buffer_status": "buffer out out",
    "proxy_set_buffer_bytes": "buffer start size text",
    "proxy_get_property": "path answer", "proxy_set_property": "path value",
    "proxy_continue_stream": "stream", "proxy_close_stream": "stream",
    "proxy_send_local_response": "status details body pairs grpc_status",
    "proxy_http_call": "upstream pairs body pairs timeout_ms out",
    "proxy_get_shared_data": "name answer out", "proxy_set_shared_data": "name value cas",
    "proxy_register_shared_queue": "name out", "proxy_resolve_shared_queue": "vm_id name out",
    "proxy_enqueue_shared_queue": "queue value", "proxy_dequeue_shared_queue": "queue answer",
    "proxy_define_metric": "metric name out", "proxy_increment_metric": "id delta",
    "proxy_record_metric": "id value_number", "proxy_get_metric": "id out",
    "proxy_call_foreign_function": "name text answer",
    "proxy_set_tick_period_milliseconds": "milliseconds",
    "proxy_set_effective_context": "context", "proxy_get_log_level": "out",
    "proxy_get_current_time_nanoseconds": "out", "proxy_get_status": "out answer",
    "proxy_get_configuration": "answer",
}
_TEXTS = frozenset({"text", "name", "value", "path", "details", "body", "upstream", "vm_id"})
_NAMED: dict[str, tuple[str, ...]] = {
    "map": MAPS, "buffer": BUFFERS, "stream": STREAMS, "level": LEVELS,
    "metric": ("counter", "gauge", "histogram"),
}

_CALLBACK_ARGUMENTS = {
    "proxy_on_context_create": ("context", "parent"), "proxy_on_vm_start": ("context", "size"),
    "proxy_on_configure": ("context", "size"), "proxy_on_request_headers":
    ("context", "headers", "end_of_stream"), "proxy_on_response_headers":
    ("context", "headers", "end_of_stream"), "proxy_on_request_body":
    ("context", "size", "end_of_stream"), "proxy_on_response_body":
    ("context", "size", "end_of_stream"), "proxy_on_request_trailers": ("context", "trailers"),
    "proxy_on_response_trailers": ("context", "trailers"), "proxy_on_http_call_response":
    ("context", "call", "headers", "body", "trailers"), "proxy_on_queue_ready":
    ("context", "queue"),
}


class Recorder:
    """Writes the trace of an exchange.

    Args:
        host: whose `happenings` get the calls.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._zero = time.perf_counter_ns()
        self._depth = 0

    def begin(self) -> None:
        """An exchange begins: its microseconds count from here."""
        self._zero = time.perf_counter_ns()

    def enter(self, name: str, args: tuple[int, ...], context: Context | None, vm: Vm) -> Any:
        """A callback begins."""
        labels = _CALLBACK_ARGUMENTS.get(name, ())
        shown = tuple(
            (labels[at] if at < len(labels) else f"argument {at + 1}",
             bool(value) if at < len(labels) and labels[at] == "end_of_stream" else value)
            for at, value in enumerate(args))
        self._depth += 1
        where = self._room(context)
        return self._mark(where, "guest", name, shown, vm, context, self._depth - 1)

    def leave(self, mark: Any, result: str) -> None:
        """A callback ended."""
        self._depth -= 1
        where, at, begun, made = mark
        if made["name"].endswith(("_headers", "_body", "_trailers")) and result.isdecimal():
            result = ACTIONS.get(int(result), result)
        self._write(where, at, begun, made, result)

    def enter_host(self, host: HostFunction, args: tuple[int, ...], vm: Vm) -> Any:
        """A host call begins: what it was given is read now, before the guest changes it."""
        context = vm.effective or vm.current
        self._depth += 1
        shown, answer_at = _decode(host.name, args, vm)
        mark = self._mark(self._room(context), "host", host.name, shown, vm, context,
                          self._depth - 1)
        return (*mark, answer_at, vm)

    def leave_host(self, mark: Any, answer: int | None, status: bool) -> None:
        """A host call ended."""
        self._depth -= 1
        where, at, begun, made, answer_at, vm = mark
        result = "" if answer is None else (
            STATUSES.get(answer, str(answer)) if status else str(answer))
        if answer == 0 and answer_at is not None:
            made["arguments"] += (("answer", _answer(answer_at, vm)),)
        elif answer is None and status:
            result = "trap"
        self._write(where, at, begun, made, result)

    def _room(self, context: Context | None) -> list[Any]:
        stream = context.stream if context is not None else None
        calls: list[Any] = (stream.happenings if stream is not None
                            else self._host.happenings).trace
        return calls

    def _mark(self, where: list[Any], direction: str, name: str, shown: tuple[Any, ...], vm: Vm,
              context: Context | None, depth: int) -> Any:
        at = -1
        if len(where) < MOST_CALLS:
            at = len(where)
            where.append(None)  # its place: calls inside it come behind
        else:
            self._host.diagnose(f"the trace holds {MOST_CALLS:,} calls and no more")
        made = {"direction": direction, "name": name, "arguments": shown, "depth": depth,
                "plugin": vm.name, "context": context.id if context is not None else 0}
        return where, at, time.perf_counter_ns(), made

    def _write(self, where: list[Any], at: int, begun: int, made: dict[str, Any],
               result: str) -> None:
        if at >= 0:
            where[at] = Call(
                direction=made["direction"], name=made["name"], arguments=made["arguments"],
                result=result, begun_us=(begun - self._zero) / 1000,
                took_us=(time.perf_counter_ns() - begun) / 1000, depth=made["depth"],
                plugin=made["plugin"], context=made["context"])


def _text(vm: Vm, pointer: int, size: int) -> str:
    if not size:
        return ""
    try:
        data = vm.guest.read(pointer, min(size, _MOST_TEXT))
    except OutOfBounds:
        return f"<{size} bytes at {pointer:#x}, outside of memory>"
    return as_text(data) + (f"… ({size:,} bytes)" if size > _MOST_TEXT else "")


def _pairs(vm: Vm, pointer: int, size: int) -> Any:
    from helpers.sandbox import pairs

    try:
        found, wrong = pairs.decode(vm.guest.read(pointer, min(size, pairs.MOST_BYTES + 1)))
    except OutOfBounds:
        return f"<{size} bytes at {pointer:#x}, outside of memory>"
    return wrong or [(_cut(n), _cut(v)) for n, v in found[:_SHOWN_PAIRS]]


def _cut(data: bytes) -> str:
    """A name or a value, no longer than a trace of ten thousand calls can bear."""
    return as_text(data[:_MOST_TEXT]) + (f"… ({len(data):,} bytes)" if len(data) > _MOST_TEXT
                                         else "")


def _decode(name: str, args: tuple[int, ...], vm: Vm) -> tuple[tuple[Any, ...], Any]:
    shown: list[tuple[str, Any]] = []
    answer: Any = None
    at = 0
    for word in _SIGNATURES.get(name, "").split():
        if word in _TEXTS:
            text = _text(vm, args[at], args[at + 1])
            shown.append((word, text.replace("\0", ".") if word == "path" else text))
            at += 2
        elif word == "pairs":
            shown.append((word, _pairs(vm, args[at], args[at + 1])))
            at += 2
        elif word == "answer":
            answer = ("pairs" if name.endswith("_pairs") else "text", args[at], args[at + 1])
            at += 2
        else:
            if word in _NAMED:
                names = _NAMED[word]
                shown.append((word, names[args[at]] if args[at] < len(names) else args[at]))
            elif word != "out":
                shown.append((word.removesuffix("_number"), args[at]))
            at += 1
    if name not in _SIGNATURES:
        shown = [(f"argument {number + 1}", value) for number, value in enumerate(args)]
    return tuple(shown), answer


def _answer(where: Any, vm: Vm) -> Any:
    kind, pointer_at, size_at = where
    try:
        pointer, size = vm.guest.read_u32(pointer_at), vm.guest.read_u32(size_at)
    except OutOfBounds:
        return "<outside of memory>"
    if kind == "pairs":
        return _pairs(vm, pointer, size) if size else []
    return _text(vm, pointer, size)
