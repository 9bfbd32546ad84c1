"""A free range for the link between the host and the node."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable, Iterator

from helpers.cluster.bare.layout import POD_RANGE, SERVICE_RANGE, Addresses
from helpers.errors import NotReady

#: Private ranges that home routers, VPNs and container engines seldom use.
_CANDIDATES = ("10.213.0.0/20", "172.30.208.0/20", "192.168.213.0/24")


def in_use() -> list[ipaddress.IPv4Network]:
    """Every range that this computer has an address in or a route to, but the default route.

    Raises:
        NotReady: `ip` fails.
    """
    found = []
    for what in (["route", "show", "table", "all"], ["addr"]):
        done = subprocess.run(["ip", "-j", "-4", *what], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise NotReady(f"ip {' '.join(what)} ended with status {done.returncode}",
                           cause="the computer's routes could not be read", fix="run it by hand",
                           detail=done.stderr)
        found += list(_ranges(json.loads(done.stdout or "[]")))
    return found


def _ranges(entries: Iterable[dict[str, object]]) -> Iterator[ipaddress.IPv4Network]:
    for entry in entries:
        if "dst" in entry and entry["dst"] != "default":
            yield ipaddress.IPv4Network(str(entry["dst"]), strict=False)
        info = entry.get("addr_info")
        for address in info if isinstance(info, list) else ():
            yield ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)


def choose(used: Iterable[ipaddress.IPv4Network]) -> Addresses:
    """The first /30 that overlaps nothing in `used`, nor the cluster's own ranges.

    Raises:
        NotReady: none is free.
    """
    taken = [*used, ipaddress.IPv4Network(POD_RANGE), ipaddress.IPv4Network(SERVICE_RANGE)]
    for candidate in _CANDIDATES:
        for network in ipaddress.IPv4Network(candidate).subnets(new_prefix=30):
            if not any(network.overlaps(each) for each in taken):
                return Addresses.of(network)
    raise NotReady(
        f"no free /30 in {', '.join(_CANDIDATES)}",
        cause="routes or addresses of this computer cover all of them (a VPN?)",
        fix="leave the VPN, or use a cluster elsewhere: ./workbook run --mesh cluster",
    )
