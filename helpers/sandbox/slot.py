"""One plugin in one stream: what Envoy's Wasm filter does with a filter manager's callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.sandbox.context import NO_BODIES, Body, Context
from helpers.sandbox.headers import HeaderMap
from helpers.sandbox.path import BUFFER, CONTINUE

if TYPE_CHECKING:
    from helpers.sandbox.chain import Handle
    from helpers.sandbox.stream import Stream
    from helpers.sandbox.vm import Vm

_HEADERS = ("proxy_on_request_headers", "proxy_on_response_headers")
_BODY = ("proxy_on_request_body", "proxy_on_response_body")
_TRAILERS = ("proxy_on_request_trailers", "proxy_on_response_trailers")
_NO_BUFFER = 3
#: StopAllIterationAndWatermark.
_MOST_HEADERS = 4
_END_STREAM = 2


class Slot:
    """See the module's first line.

    Attributes:
        context: None until the request's headers arrive, and for a filter that is passed over.
        silent: it failed: its part of the stream is played without it.
    """

    context: Context | None = None
    silent = over = False
    vm: Vm

    def __init__(self, handle: Handle, stream: Stream) -> None:
        self.handle = handle
        self.stream = stream

    def _create(self) -> bool:
        """Make the context; False when there is no VM to make it in."""
        vm = self.handle.acquire()
        if vm is None:
            return False
        self.vm = vm
        root = self.handle.root
        made = self.context = vm.new_context(self.handle, root, self.stream, self)
        vm.call("proxy_on_context_create", made, made.id, root.id)
        return True

    def on_headers(self, side: int, headers: HeaderMap, end: bool) -> bool:
        """Whether the filter stops."""
        if side == 0 and not self._create():
            if self.handle.policy == "open":
                self.silent = True
                return False
            return self._fail()
        context = self.context
        if context is None or self.silent:
            return False
        vm = self.vm
        if vm.failed is not None:
            return self._fail() if side == 0 or not self._forgiven() else False
        context.maps[2 * side] = headers
        if context.bodies is not NO_BODIES:
            context.ending = end
        result = vm.call(_HEADERS[side], context, context.id, len(headers.pairs), int(end))
        if vm.failed is not None:
            return self._fail()
        if vm.stop_next and result is not None:
            return True
        if not result or result == _END_STREAM:
            context.maps[2 * side] = None
            return False
        if result > _MOST_HEADERS:
            self._odd(_HEADERS[side], result)
        return True

    def on_body(self, side: int, body: Body, end: bool) -> int:
        """The action: CONTINUE, BUFFER, WATERMARK, or more to drop the piece."""
        context = self.context
        if context is None or self.silent:
            return CONTINUE
        vm = self.vm
        if vm.failed is not None:
            if self._forgiven():
                return CONTINUE
            self._fail()
            return _NO_BUFFER
        if context.bodies is NO_BODIES:
            context.bodies, context.gathers = [None, None], [False, False]
        shown, too_large = body, False
        path = self.stream.encode if side else self.stream.decode
        if context.gathers[side]:
            # It held the last piece back: it sees all that is held, with the new piece behind it.
            too_large = path.keep(body)
            if too_large and side:
                path.end.too_large()
                return _NO_BUFFER
            shown = path.kept or body
        context.bodies[side] = body
        context.ending = end
        result = vm.call(_BODY[side], context, context.id, len(shown.data), int(end))
        context.gathers[side] = False
        if too_large:
            path.end.too_large()
            return _NO_BUFFER
        if vm.failed is not None:
            self._fail()
            return _NO_BUFFER
        if vm.stop_next and result is not None:
            return _NO_BUFFER
        if not result:
            context.bodies[side] = None
            return CONTINUE
        context.gathers[side] = result == BUFFER
        if result > _NO_BUFFER:
            self._odd(_BODY[side], result)
        return result if result <= _NO_BUFFER else _NO_BUFFER

    def on_trailers(self, side: int, trailers: HeaderMap) -> bool:
        """Whether the filter stops."""
        context = self.context
        if context is None or self.silent:
            return False
        vm = self.vm
        if vm.failed is not None:
            return False if self._forgiven() else self._fail()
        context.maps[2 * side + 1] = trailers
        result = vm.call(_TRAILERS[side], context, context.id, len(trailers.pairs))
        if vm.failed is not None:
            return self._fail()
        if vm.stop_next and result is not None:
            return True
        if not result:
            context.maps[2 * side + 1] = None
            return False
        if result > 1:
            self._odd(_TRAILERS[side], result)
        return True

    def log(self) -> None:
        """The access log's moment: the maps are there again, to read."""
        if self.context is None and not self.silent and not self._create():
            return
        context = self.context
        if context is None:
            return
        stream = self.stream
        # The trailers of the request are not among them (Context::log).
        context.log_maps = [stream.decode.map, None, stream.answer_headers(),
                            stream.answer_trailers()]
        self.vm.call("proxy_on_log", context, context.id)
        context.log_maps = None

    def done(self) -> None:
        """The stream is over. What the guest asks for now comes too late in Envoy."""
        if self.context is not None:
            self.vm.call("proxy_on_done", self.context, self.context.id)

    def delete(self) -> None:
        """The context goes."""
        if self.context is not None:
            self.vm.call("proxy_on_delete", self.context, self.context.id)
            self.vm.contexts.pop(self.context.id, None)

    def release(self) -> None:
        """Let go of what holds this slot in a circle: it would wait for the collector."""
        context, self.context = self.context, None
        if context is not None:
            context.slot = None
        self.over = True
        del self.stream

    def _odd(self, name: str, action: int) -> None:
        self.stream.host.diagnose(f"{self.handle.name} answered {action} in {name}, which is no "
                                  "action: Envoy stops there")

    def _forgiven(self) -> bool:
        return self.handle.policy == "open"

    def _fail(self) -> bool:
        self.silent = True
        if not self.over:
            self.stream.fail(self)
        return True


