"""A proxy-wasm host in Python: send a request through a real .wasm, see every call.

    from helpers.sandbox import Sandbox

    Sandbox("header_logger.wasm").request(headers={"user-agent": "MyTestClient"})

It follows Envoy 1.40, which follows the proxy-wasm ABI 0.1.0, 0.2.0 and 0.2.1; docs/sandbox.md
says where it differs.
"""

from helpers.sandbox.errors import (
    ConfigureFailed,
    DeadlineExceeded,
    GuestPanic,
    HostCallFailed,
    LinkFailed,
    RestrictedCall,
    SandboxClosed,
    SandboxError,
    SandboxMisuse,
    StartFailed,
)
from helpers.sandbox.exchange import Exchange
from helpers.sandbox.headers import Headers
from helpers.sandbox.piecewise import Steps
from helpers.sandbox.plugin import Plugin
from helpers.sandbox.records import Call, Callout, LocalReply, LogLine, Message, Reply
from helpers.sandbox.sandbox import Sandbox

__all__ = [
    "Call",
    "Callout",
    "ConfigureFailed",
    "DeadlineExceeded",
    "Exchange",
    "GuestPanic",
    "Headers",
    "HostCallFailed",
    "LinkFailed",
    "LocalReply",
    "LogLine",
    "Message",
    "Plugin",
    "Reply",
    "RestrictedCall",
    "Sandbox",
    "SandboxClosed",
    "SandboxError",
    "SandboxMisuse",
    "StartFailed",
    "Steps",
]
