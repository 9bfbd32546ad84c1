"""Bookinfo's four services, written anew and small, with Bookinfo's routes.

    python -m helpers.mesh.local.bookinfo SERVICE… --ports-file FILE
        [--outbound HOST:PORT | --outbound-file FILE] [--reviews-version v1|v2|v3]
    python -m helpers.mesh.local.bookinfo SERVICE --listen ADDRESS:PORT

One process can hold several services; each binds a free port of 127.0.0.1 by itself, so
that nobody can take it between choosing and binding, and the ports are written to the
ports file as JSON, {"productpage": 41873, …}, once all of them answer.

productpage reaches the others through its sidecar's outbound listener, as in a mesh, and
tells the listener with the Host header whom it wants. reviews calls ratings directly when
both are in one process, for it stands in a pod of its own, whose sidecar is not modelled.

With --listen it is the program of a container in a cluster: one service, which calls the
others by their names and leaves it to the pod's sidecar to take the calls up.

Routes, answers on failure, the 3 s timeout, and that reviews is tried twice follow
istio/istio's samples/bookinfo.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from helpers import files
from helpers.mesh.local import bookinfo_apps
from helpers.mesh.local.bookinfo_outbound import Outbound

SERVICES = ("productpage", "details", "reviews", "ratings")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # several servers in one process: `serve` handles the signals for all of them


async def serve(
    services: Sequence[str],
    ports_file: Path | None,
    *,
    listen: tuple[str, int] | None = None,
    outbound: str | None = None,
    outbound_file: Path | None = None,
    reviews_version: str = "v1",
) -> None:
    """Run `services` until SIGTERM or SIGINT; `ports_file` appears when all of them answer.

    Args:
        listen: address and port in a cluster, where one service runs alone; otherwise each
            takes a free port of 127.0.0.1.
    """
    sockets: dict[str, socket.socket] = {}
    for service in services:
        sockets[service] = socket.socket()
        if listen is not None:
            sockets[service].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets[service].bind(listen or ("127.0.0.1", 0))
    ports = {service: int(each.getsockname()[1]) for service, each in sockets.items()}
    sidecar = Outbound(outbound, outbound_file, by_name=listen is not None)
    beside = {"ratings": ports["ratings"]} if "ratings" in ports else None
    direct = Outbound(
        outbound, outbound_file, direct=None if listen else beside, by_name=listen is not None
    )
    makers: dict[str, Callable[[], Starlette]] = {
        "productpage": lambda: bookinfo_apps.productpage(sidecar),
        "details": bookinfo_apps.details,
        "reviews": lambda: bookinfo_apps.reviews(direct, reviews_version),
        "ratings": bookinfo_apps.ratings,
    }
    servers = {
        service: _Server(
            uvicorn.Config(
                makers[service](),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                # Longer than Envoy's idle timeout of an hour: the side that closes an idle
                # connection must be Envoy, or a request may meet the closing door.
                timeout_keep_alive=7200,
            )
        )
        for service in services
    }

    def stop(*_: object) -> None:
        for server in servers.values():
            server.should_exit = server.force_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    tasks = [
        asyncio.create_task(server.serve(sockets=[sockets[service]]))
        for service, server in servers.items()
    ]
    while not all(server.started for server in servers.values()):
        if any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.005)
    else:
        if ports_file is not None:
            files.write_atomic(ports_file, json.dumps(ports) + "\n")
    await asyncio.gather(*tasks)
    await sidecar.close()
    await direct.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bookinfo", description="Bookinfo's services, small.")
    parser.add_argument("services", nargs="+", choices=SERVICES, metavar="SERVICE")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--ports-file", type=Path, help="written once all of them answer")
    place.add_argument("--listen", type=_address, metavar="ADDRESS:PORT", help="in a cluster")
    parser.add_argument("--outbound", help="HOST:PORT of the sidecar's outbound listener")
    parser.add_argument("--outbound-file", type=Path, help="a file that holds HOST:PORT")
    parser.add_argument("--reviews-version", choices=("v1", "v2", "v3"), default="v1")
    given = parser.parse_args(arguments)
    if given.listen is not None and len(set(given.services)) != 1:
        parser.error("--listen takes one service: a container has one")
    asyncio.run(
        serve(
            list(dict.fromkeys(given.services)),
            given.ports_file,
            listen=given.listen,
            outbound=given.outbound,
            outbound_file=given.outbound_file,
            reviews_version=given.reviews_version,
        )
    )


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT")
    return host, int(port)


if __name__ == "__main__":
    main()
