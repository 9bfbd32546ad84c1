"""Calls to other services: HTTP is carried out by the caller's answers, gRPC is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox import pairs
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.headers import RequestHeaders, as_text
from helpers.sandbox.shared import BAD_ARGUMENT, INTERNAL_FAILURE, OK

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

_SIGNED = 1 << 31


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`."""
    host = vm.host

    def text(pointer: int, size: int) -> bytes:
        return vm.guest.read(pointer, size)

    def http_call(upstream_at: int, upstream_size: int, headers_at: int, headers_size: int,
                  body_at: int, body_size: int, trailers_at: int, trailers_size: int,
                  timeout: int, id_at: int) -> int:
        cluster = as_text(text(upstream_at, upstream_size))
        given, wrong = pairs.decode(text(headers_at, headers_size))
        body = text(body_at, body_size)
        trailers, wrong_trailers = pairs.decode(text(trailers_at, trailers_size))
        for complaint in filter(None, (wrong, wrong_trailers)):
            host.diagnose(f"proxy_http_call: {complaint}")
        vm.guest.write_u32(id_at, 0)  # a bad pointer must not begin a call
        headers = RequestHeaders((name.lower(), value) for name, value in given)
        if timeout >= _SIGNED:
            host.diagnose(f"proxy_http_call: the timeout {timeout - (1 << 32)} ms is negative")
            return BAD_ARGUMENT
        if cluster not in host.callouts:
            known = ", ".join(map(repr, host.callouts)) or "none"
            host.diagnose(f"proxy_http_call: there is no cluster {cluster[:100]!r}; callouts= "
                          f"names {known}")
            return BAD_ARGUMENT
        for name in (b":path", b":method", b":authority"):
            if headers.get(name) is None:
                host.diagnose(f"proxy_http_call: the header {name.decode()} is missing")
                return BAD_ARGUMENT
        if body:
            headers.replace(b"content-length", b"%d" % len(body))
        number = host.begin_call(vm.context, cluster, headers, body, trailers, timeout)
        if number is None:
            return INTERNAL_FAILURE
        vm.guest.write_u32(id_at, number)
        return OK

    def grpc(name: str, sizes: int) -> HostFunction:
        def refuse(*args: int) -> int:
            # Pointers are held to memory all the same: a bad one is the guest's mistake.
            for at in range(0, 2 * sizes, 2):
                vm.guest.read(args[at], args[at + 1])
            return host.unimplemented(name)

        params = {"proxy_grpc_call": 12, "proxy_grpc_stream": 9}[name]
        return HostFunction("env", name, "i" * params, "i", refuse)

    def no_stream(name: str, params: str) -> HostFunction:
        def refuse(*args: int) -> int:
            if name == "proxy_grpc_send":
                vm.guest.read(args[1], args[2])
            return host.unimplemented(name)

        return HostFunction("env", name, params, "i", refuse)

    return [
        HostFunction("env", "proxy_http_call", "i" * 10, "i", http_call),
        grpc("proxy_grpc_call", 5),
        grpc("proxy_grpc_stream", 4),
        no_stream("proxy_grpc_send", "iiii"),
        no_stream("proxy_grpc_cancel", "i"),
        no_stream("proxy_grpc_close", "i"),
    ]
