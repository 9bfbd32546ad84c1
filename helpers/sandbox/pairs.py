"""Header maps as they cross the border: proxy-wasm's serialised pairs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Pair = tuple[bytes, bytes]

#: proxy-wasm-cpp-host, limits.h: a larger map arrives empty.
MOST_BYTES = 1024 * 1024
MOST_PAIRS = 1024

_U32 = struct.Struct("<I")
_HEADS: dict[int, struct.Struct] = {}


def encode(pairs: Sequence[Pair]) -> bytes:
    """u32 count, two u32 sizes for each pair, then each name and value with a NUL behind."""
    if not pairs:
        return b""
    parts = [text for pair in pairs for text in pair]
    count = len(pairs)
    head = _HEADS.get(count) or _HEADS.setdefault(count, struct.Struct(f"<{1 + 2 * count}I"))
    return head.pack(count, *map(len, parts)) + b"\0".join(parts) + b"\0"


def decode(data: bytes) -> tuple[list[Pair], str]:
    """The pairs, and what is wrong with `data` if anything: then there are no pairs.

    As proxy-wasm-cpp-host's `toPairs`: what does not fit exactly becomes an empty map without
    an error. The second value says so, for those who wonder where their headers went.
    """
    if len(data) > MOST_BYTES:
        return [], f"{len(data):,} bytes of pairs: a host takes at most {MOST_BYTES:,}"
    if len(data) < 4:
        return [], ""
    count = _U32.unpack_from(data)[0]
    if count > MOST_PAIRS:
        return [], f"{count:,} pairs: a host takes at most {MOST_PAIRS:,}"
    at = 4 + 8 * count
    if at > len(data):
        return [], f"{count} pairs announced, but their sizes end after {len(data)} bytes"
    sizes = struct.unpack_from(f"<{2 * count}I", data, 4)
    found = []
    for number in range(count):
        texts = []
        for size in sizes[2 * number : 2 * number + 2]:
            end = at + size
            if end >= len(data):
                return [], f"pair {number} reaches outside the {len(data)} bytes"
            if data[end]:
                return [], f"pair {number} has no NUL behind its text"
            texts.append(data[at:end])
            at = end + 1
        found.append((texts[0], texts[1]))
    if at != len(data):
        return [], f"{len(data) - at} bytes are left over behind the last pair"
    return found, ""
