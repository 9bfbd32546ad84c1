"""Header maps: read, change, replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from helpers.sandbox import pairs
from helpers.sandbox.guest import HostFunction
from helpers.sandbox.headers import HeaderMap
from helpers.sandbox.shared import BAD_ARGUMENT, INTERNAL_FAILURE, NOT_FOUND, OK

if TYPE_CHECKING:
    from helpers.sandbox.host import Host
    from helpers.sandbox.vm import Vm

_MOST_KIND = 7
#: A map that a plugin makes grow is bounded.
_MOST_HEADERS, _MOST_BYTES = 100_000, 64 * 1024 * 1024
_MANY, _LARGE = 1_000, 64 * 1024


def doubt(host: Host, name: bytes, value: bytes) -> None:
    """Say what is odd about a header that a plugin makes."""
    if not name:
        host.diagnose("a header without a name was set: HTTP has no such thing")
    if b"\r" in value or b"\n" in value or b"\0" in value:
        host.diagnose(f"the value of {name[:100]!r} holds CR, LF or NUL: over HTTP/1 it would "
                      "forge a header")


def functions(vm: Vm) -> list[HostFunction]:
    """Bound to `vm`."""
    host = vm.host
    empty_for_missing = vm.abi == "0.1.0"

    def mutable(kind: int) -> HeaderMap | None:
        return vm.context.mutable_map(kind)

    def size(kind: int, size_at: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        found = vm.context.map(kind) if host.spec else mutable(kind)
        if found is None:
            return BAD_ARGUMENT
        vm.guest.write_u32(size_at, found.size())
        return OK

    def get_pairs(kind: int, pointer_at: int, size_at: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        found = vm.context.map(kind)
        return vm.give(pairs.encode(found.pairs) if found else b"", pointer_at, size_at)

    def set_pairs(kind: int, pointer: int, length: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        given, wrong = pairs.decode(vm.guest.read(pointer, length))
        if wrong:
            host.diagnose(f"proxy_set_header_map_pairs: {wrong}; the map is empty now, "
                          "as in Envoy")
        found = mutable(kind)
        if found is None:
            return BAD_ARGUMENT
        found.pairs = []
        for name, value in given:
            doubt(host, name, value)
            found.add(name.lower(), value)
        return OK

    def get_value(kind: int, key_at: int, key_size: int, pointer_at: int, size_at: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        name = vm.guest.read(key_at, key_size).lower()
        context = vm.context
        found = context.map(kind)
        if found is None and context.log_maps is None:
            return BAD_ARGUMENT
        value = found.get(name) if found is not None else None
        if value is None:
            if not empty_for_missing:
                return NOT_FOUND
            value = b""
        return vm.give(value, pointer_at, size_at)

    def changed(kind: int, key_at: int, key_size: int) -> tuple[HeaderMap | None, bytes]:
        name = vm.guest.read(key_at, key_size).lower()
        return mutable(kind), name

    def room(found: HeaderMap, size: int) -> bool:
        # Counted only where it may matter: it takes a look at every header.
        if (size > _LARGE or len(found.pairs) > _MANY) and (
                found.size() + size > _MOST_BYTES or len(found.pairs) >= _MOST_HEADERS):
            host.diagnose(f"a header map of {len(found.pairs):,} headers may not grow by "
                          f"{size:,} bytes")
            return False
        return True

    def changing(change: Callable[[HeaderMap, bytes, bytes], None]) -> Callable[..., int]:
        """A host call that puts one name and value into a map."""

        def put(kind: int, key_at: int, key_size: int, value_at: int, value_size: int) -> int:
            if kind > _MOST_KIND:
                return BAD_ARGUMENT
            value = vm.guest.read(value_at, value_size)
            found, name = changed(kind, key_at, key_size)
            if found is None:
                return BAD_ARGUMENT
            doubt(host, name, value)
            if not room(found, len(name) + len(value)):
                return INTERNAL_FAILURE
            change(found, name, value)
            return OK

        return put

    def remove(kind: int, key_at: int, key_size: int) -> int:
        if kind > _MOST_KIND:
            return BAD_ARGUMENT
        found, name = changed(kind, key_at, key_size)
        if found is None:
            return BAD_ARGUMENT
        found.remove(name)
        return OK

    return [
        HostFunction("env", "proxy_get_header_map_size", "ii", "i", size),
        HostFunction("env", "proxy_get_header_map_pairs", "iii", "i", get_pairs),
        HostFunction("env", "proxy_set_header_map_pairs", "iii", "i", set_pairs),
        HostFunction("env", "proxy_get_header_map_value", "iiiii", "i", get_value),
        HostFunction("env", "proxy_add_header_map_value", "iiiii", "i",
                     changing(lambda found, name, value: found.add(name, value))),
        HostFunction("env", "proxy_replace_header_map_value", "iiiii", "i",
                     changing(lambda found, name, value: found.replace(name, value))),
        HostFunction("env", "proxy_remove_header_map_value", "iii", "i", remove),
    ]
