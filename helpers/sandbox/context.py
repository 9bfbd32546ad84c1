"""A context: what a plugin (root) or one stream (http) is to the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helpers.sandbox.headers import HeaderMap

if TYPE_CHECKING:
    from helpers.sandbox.clock import Timer
    from helpers.sandbox.vm import Vm

# Numbers of maps and buffers: proxy-wasm ABI, section on enumerations.
REQUEST_HEADERS, REQUEST_TRAILERS, RESPONSE_HEADERS, RESPONSE_TRAILERS = 0, 1, 2, 3
CALL_HEADERS, CALL_TRAILERS = 6, 7
REQUEST_BODY, RESPONSE_BODY = 0, 1


class Body:
    """Bytes that a callback may change."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


NO_BODIES = (None, None)


class Context:
    """What the host knows of one context id.

    Attributes:
        root: the root context; itself for a root.
        stream: the stream of an http context, None for a root.
        maps: the four header maps of the stream, None where the guest may not reach one now.
        bodies: the piece of the request's and of the response's body that a callback sees; None
            from when the filter let it go on.
        gathers: whether the filter holds the body back: then it sees the path's whole buffer.
        ending: whether the last callback about headers or a body ended its direction.
    """

    # Most contexts never get most of these: they live on the class until they are set.
    #: A pair of its own once there is a body: see Slot.on_body.
    bodies: Any = NO_BODIES
    gathers: Any = (False, False)
    ending = False
    log_maps: list[HeaderMap | None] | None = None
    #: Of a root: the answer of a callout while `proxy_on_http_call_response` runs (headers,
    #: body, trailers), and what `proxy_get_status` says; the same for gRPC.
    call: tuple[HeaderMap, bytes, HeaderMap | None] | None = None
    call_status: tuple[int, bytes] = (0, b"")
    grpc: tuple[Any, Any, Any] = (None, None, None)
    foreign_arguments: bytes | None = None
    tick: Timer | None = None
    tick_period = 0
    done_pending = False

    def __init__(self, vm: Vm, number: int, plugin: Any, root: Context | None,
                 stream: Any = None, slot: Any = None) -> None:
        self.vm = vm
        self.id = number
        self.plugin = plugin
        self.root: Context = root or self
        self.stream = stream
        self.slot = slot
        self.maps: list[HeaderMap | None] = [None, None, None, None]

    def map(self, kind: int) -> HeaderMap | None:
        """The map to read, or None."""
        if kind < 4:
            return self.log_maps[kind] if self.log_maps is not None else self.maps[kind]
        root = self.root
        if kind == CALL_HEADERS:
            return root.call[0] if root.call else None
        if kind == CALL_TRAILERS:
            return root.call[2] if root.call else None
        found: HeaderMap | None = root.grpc[0 if kind == 4 else 2]
        return found

    def mutable_map(self, kind: int) -> HeaderMap | None:
        """The map to change, or None.

        Trailers come into being when a body callback that ends its direction asks for them, and
        in Envoy also later, as long as the filter has not let that body go on.
        """
        if kind >= 4:
            return None
        found = self.maps[kind]
        stream = self.stream
        if stream is None:
            return found
        if found is None and kind & 1:
            if self.ending and self.bodies[kind >> 1] is not None:
                found = self.maps[kind] = stream.new_trailers(kind >> 1)
        elif not kind and found is not None and not stream.touched:
            stream.touch()
        return found

    def body(self, side: int) -> Body | None:
        """The body as the guest may see and change it now; None where there is nothing."""
        if self.gathers[side]:
            kept: Body | None = (self.stream.encode if side else self.stream.decode).kept
            return kept
        piece: Body | None = self.bodies[side]
        return piece
