"""One real Envoy between a scripted client and a scripted upstream, for tests and comparisons.

Both sides speak HTTP/2 with prior knowledge: each chunk of a body is one DATA frame, hence one
call into a plugin, and trailers are plain.

    with BareEnvoy([Chain([WasmFilter("header_logger.wasm")])]) as envoy:
        seen = envoy.request(path="/productpage", headers=[("user-agent", "curl")])
"""

from helpers.bare_envoy.envoy import BareEnvoy
from helpers.bare_envoy.errors import EnvoyEnded, NoAnswer
from helpers.bare_envoy.types import (
    Callout,
    Chain,
    Log,
    Message,
    Refused,
    Reply,
    Seen,
    WasmFilter,
)

__all__ = [
    "BareEnvoy",
    "Callout",
    "Chain",
    "EnvoyEnded",
    "Log",
    "Message",
    "NoAnswer",
    "Refused",
    "Reply",
    "Seen",
    "WasmFilter",
]
