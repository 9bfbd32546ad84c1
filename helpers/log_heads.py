"""What stands between a line's time and its message, in each of the formats.

Each function reads one line; `helpers.log_block.Prefixes` asks once for all that begin alike.
"""

from __future__ import annotations

import re

from helpers.log_block import Prefix

MALFORMED, AGENT, ENVOY, PLUGIN, ACCESS = range(5)
KINDS = ("malformed", "agent", "envoy", "plugin", "access")

#: 9 stands for any digit; the widths are fixed in all three formats.
SIDECAR_SHAPE = b"9999-99-99T99:99:99.999999Z\t"
ACCESS_SHAPE = b"[9999-99-99T99:99:99.999Z] \""
PLAIN_SHAPE = b"[9999-99-99 99:99:99.999]["

_PLAIN = re.compile(
    rb"[0-9]{1,10}\]\[(?P<key>[^\]]*\]\[[^\]]*\] (?P<source>\[[^\]]*\] )?)"
)
_PLUGIN = re.compile(rb"wasm log(?P<name>(?: [^:]*)?): ")


def sidecar(line: bytes) -> Prefix:
    """``LEVEL<TAB>[SCOPE<TAB>]``, what follows the time of a sidecar's line."""
    first = line.find(b"\t")
    if first < 0:
        return Prefix(MALFORMED, b"", 0, False)
    second = line.find(b"\t", first + 1)
    envoy = line.startswith(b"envoy ", first + 1)
    if envoy and second < 0:
        return Prefix(MALFORMED, b"", 0, False)
    # pilot-agent leaves its default scope out; a scope is one word.
    scoped = second >= 0 and (envoy or b" " not in line[first + 1 : second])
    high = second if scoped else first
    return Prefix(ENVOY if envoy else AGENT, line[:high], high + 1, scoped)


def plain(line: bytes) -> Prefix:
    """``PID][LEVEL][LOGGER] [FILE:LINE]``, what follows the time of a plain Envoy line."""
    found = _PLAIN.match(line)
    if found is None:
        return Prefix(MALFORMED, b"", 0, False)
    return Prefix(ENVOY, found["key"][:-1], found.end(), found["source"] is not None)


def plugin(text: bytes) -> Prefix:
    """``wasm log NAME[ ROOT_ID]:``, how the message of a plugin begins; else a kind of 0."""
    found = _PLUGIN.match(text)
    if found is None:
        return Prefix(0, b"", 0, False)
    return Prefix(PLUGIN, found["name"], found.end(), True)
