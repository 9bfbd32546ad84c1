"""Metrics (Envoy: `wasmcustom.NAME`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.guest import HostFunction
from helpers.sandbox.shared import (
    BAD_ARGUMENT,
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INTERNAL_FAILURE,
    NOT_FOUND,
    OK,
    Metric,
)

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

_U64 = 0xFFFFFFFFFFFFFFFF


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`. An id's two low bits are the kind, as in Envoy."""
    host = vm.host
    known: dict[int, Metric] = {}
    last = [0, 0, 0]

    def define(kind: int, name_at: int, name_size: int, id_at: int) -> int:
        name = vm.guest.read(name_at, name_size)
        if kind > HISTOGRAM:
            return BAD_ARGUMENT
        metric = host.metrics.define(kind, name)
        if metric is None or len(known) >= 1_000_000:
            host.diagnose("proxy_define_metric: too many metrics, or too long a name")
            return INTERNAL_FAILURE
        last[kind] += 4
        number = last[kind] | kind
        known[number] = metric
        vm.guest.write_u32(id_at, number)
        return OK

    def increment(number: int, delta: int) -> int:
        if number & 3 > GAUGE:
            return BAD_ARGUMENT
        metric = known.get(number)
        if metric is None:
            return NOT_FOUND
        if metric.kind == COUNTER and delta <= 0:
            return BAD_ARGUMENT
        metric.value = metric.value + delta & _U64
        return OK

    def record(number: int, value: int) -> int:
        metric = known.get(number)
        if metric is None:
            return NOT_FOUND
        value &= _U64
        if metric.kind == COUNTER:
            metric.value = metric.value + value & _U64
        elif metric.kind == GAUGE:
            metric.value = value
        else:
            metric.recorded.append(value)
            metric.count += 1
        return OK

    def get(number: int, value_at: int) -> int:
        if number & 3 > GAUGE:
            return BAD_ARGUMENT
        metric = known.get(number)
        if metric is None:
            return NOT_FOUND
        vm.guest.write_u64(value_at, metric.value)
        return OK

    return [
        HostFunction("env", "proxy_define_metric", "iiii", "i", define),
        HostFunction("env", "proxy_increment_metric", "iI", "i", increment),
        HostFunction("env", "proxy_record_metric", "iI", "i", record),
        HostFunction("env", "proxy_get_metric", "ii", "i", get),
    ]
