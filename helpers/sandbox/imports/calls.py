"""Calls to other services, by the caller's answers: HTTP, gRPC with one message each way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox import grpc, pairs
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.headers import RequestHeaders, as_text
from helpers.sandbox.imports.headers import doubt
from helpers.sandbox.shared import BAD_ARGUMENT, INTERNAL_FAILURE, NOT_FOUND, OK, PARSE_FAILURE

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
        for name, value in (*given, *trailers):
            doubt(host, name, value)
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
            headers.put(b"content-length", b"%d" % len(body))
        if trailers and not host.spec:
            host.diagnose("proxy_http_call: Envoy does not send the trailers of a callout")
            trailers = []
        number = host.outgoing.begin(vm.context, cluster, headers, body, trailers, timeout)
        if number is None:
            return INTERNAL_FAILURE
        vm.guest.write_u32(id_at, number)
        return OK

    def grpc_call(upstream_at: int, upstream_size: int, service_at: int, service_size: int,
                  method_at: int, method_size: int, metadata_at: int, metadata_size: int,
                  message_at: int, message_size: int, timeout: int, id_at: int) -> int:
        cluster = grpc.cluster_of(text(upstream_at, upstream_size))
        service, method = text(service_at, service_size), text(method_at, method_size)
        metadata, wrong = pairs.decode(text(metadata_at, metadata_size))
        message = text(message_at, message_size)
        if wrong:
            host.diagnose(f"proxy_grpc_call: {wrong}")
        if as_text(cluster) not in host.callouts:
            known = ", ".join(map(repr, host.callouts)) or "none"
            host.diagnose(f"proxy_grpc_call: there is no cluster {as_text(cluster)[:100]!r}; "
                          f"callouts= names {known}")
            return PARSE_FAILURE
        vm.guest.read_u32(id_at)  # a bad pointer must not begin a call
        headers = grpc.request(cluster, service, method, metadata, timeout)
        number = host.outgoing.begin(vm.context, as_text(cluster), headers, grpc.frame(message), [],
                                 timeout, kind=grpc.CALL)
        if number is None:
            return INTERNAL_FAILURE
        vm.guest.write_u32(id_at, number)
        return OK

    def grpc_stream(*args: int) -> int:
        # Pointers are held to memory all the same: a bad one is the guest's mistake.
        for at in range(0, 8, 2):
            vm.guest.read(args[at], args[at + 1])
        if as_text(grpc.cluster_of(text(args[0], args[1]))) not in host.callouts:
            return PARSE_FAILURE
        return host.unimplemented("proxy_grpc_stream")

    def grpc_send(number: int, message_at: int, message_size: int, _end: int) -> int:
        vm.guest.read(message_at, message_size)
        return NOT_FOUND if number & grpc.KIND == grpc.STREAM else BAD_ARGUMENT

    def grpc_cancel(number: int) -> int:
        kind = number & grpc.KIND
        if kind not in (grpc.CALL, grpc.STREAM):
            return BAD_ARGUMENT
        root = host.outgoing.waiting.get(number)
        if root is not vm.context.root:
            return NOT_FOUND
        host.outgoing.forget(number)
        return OK

    return [
        HostFunction("env", "proxy_http_call", "i" * 10, "i", http_call),
        HostFunction("env", "proxy_grpc_call", "i" * 12, "i", grpc_call),
        HostFunction("env", "proxy_grpc_stream", "i" * 9, "i", grpc_stream),
        HostFunction("env", "proxy_grpc_send", "iiii", "i", grpc_send),
        HostFunction("env", "proxy_grpc_cancel", "i", "i", grpc_cancel),
        HostFunction("env", "proxy_grpc_close", "i", "i", grpc_cancel),
    ]
