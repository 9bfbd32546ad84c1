"""Resume, close, answer in upstream's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox import pairs
from helpers.sandbox.context import NO_BODIES
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.headers import as_text
from helpers.sandbox.host import UNIMPLEMENTED
from helpers.sandbox.imports.headers import doubt
from helpers.sandbox.shared import BAD_ARGUMENT, OK

if TYPE_CHECKING:
    from helpers.sandbox.vm import Vm

_REQUEST, _RESPONSE, _DOWNSTREAM, _UPSTREAM = 0, 1, 2, 3
_UNSET = 0xFFFFFFFF


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`. What they ask for happens after the guest has returned."""
    host = vm.host

    def resume(kind: int) -> int:
        if kind > _UPSTREAM:
            return BAD_ARGUMENT
        context = vm.context
        if kind >= _DOWNSTREAM:
            host.note_unimplemented("proxy_continue_stream for TCP streams")
            return OK if kind == _DOWNSTREAM else UNIMPLEMENTED
        stream, slot = context.stream, context.slot
        if stream is None:
            host.diagnose("a stream was resumed outside of any: set_effective_context comes first")
            return OK
        vm.deferred.append(lambda: stream.resume(kind, slot))
        # As Envoy does at once, whichever stream was meant.
        context.maps[0] = context.maps[1] = None
        if context.bodies is not NO_BODIES:
            context.bodies[0] = None
        return OK

    def close(kind: int) -> int:
        if kind > _UPSTREAM:
            return BAD_ARGUMENT
        if kind >= _DOWNSTREAM:
            host.note_unimplemented("proxy_close_stream for TCP streams")
            return OK
        stream = vm.context.stream
        if stream is not None:
            vm.stop_next = True
            vm.deferred.append(stream.close)
            if vm.callback == "proxy_on_response_trailers":
                host.diagnose("proxy_close_stream in proxy_on_response_trailers: Envoy 1.40 ends "
                              "with a segmentation fault unless that callback pauses, too")
        return OK

    def reply(code: int, details_at: int, details_size: int, body_at: int, body_size: int,
              headers_at: int, headers_size: int, grpc_status: int) -> int:
        guest = vm.guest
        details = guest.read(details_at, details_size)
        body = guest.read(body_at, body_size)
        given, wrong = pairs.decode(guest.read(headers_at, headers_size))
        if wrong:
            host.diagnose(f"proxy_send_local_response: {wrong}; no headers are added, as in Envoy")
        context = vm.context
        stream, slot = context.stream, context.slot
        if stream is None:
            host.diagnose("a local reply was asked for outside of any stream")
            return OK
        vm.stop_next = True
        number = None if grpc_status == _UNSET else grpc_status
        words = as_text(details.replace(b" ", b"_"))
        added = [(name.lower(), value) for name, value in given]
        for name, value in added:
            doubt(host, name, value)
        vm.deferred.append(
            # Envoy keeps a status in sixteen bits.
            lambda: stream.local_reply(code & 0xFFFF, words, body, added, number, slot))
        return OK

    def nothing() -> int:
        return OK

    return [
        HostFunction("env", "proxy_continue_stream", "i", "i", resume),
        HostFunction("env", "proxy_close_stream", "i", "i", close),
        HostFunction("env", "proxy_continue_request", "", "i", lambda: resume(_REQUEST)),
        HostFunction("env", "proxy_continue_response", "", "i", lambda: resume(_RESPONSE)),
        HostFunction("env", "proxy_clear_route_cache", "", "i", nothing),
        HostFunction("env", "proxy_send_local_response", "iiiiiiii", "i", reply),
    ]
