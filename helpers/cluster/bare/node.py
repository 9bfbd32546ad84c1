"""The node: namespaces of its own for mounts, network, processes, host name and IPC.

Everything of the cluster runs in them, as in one of kind's containers. So iptables rules,
routes, mounts and processes are the node's, not the host's, and all of them vanish when its
first process ends: that is why `down` is safe after any crash. What lies outside is one link,
cgroups (its own, and one for each container in containerd's) and one folder.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from helpers import ending
from helpers.cluster.bare.layout import INSIDE, NODE_NAME, Addresses, Layout
from helpers.errors import CommandFailed, NotReady
from helpers.processes import Recorded, Registry, tail

#: The name under which the node's first process is recorded.
NAME = "node"

_CGROUPS = Path("/sys/fs/cgroup")


def start(where: Layout, registry: Registry, addresses: Addresses, *, init: Path) -> Recorded:
    """Make the namespaces, the link and the cgroup; the record of the node.

    Args:
        init: the program that becomes process 1 there: it reaps whatever loses its parent.

    Raises:
        NotReady: the namespaces cannot be made.
        CommandFailed: `ip` refuses.
    """
    for folder in _cgroups(where):
        folder.mkdir(exist_ok=True)
    marker = where.home / "node-ready"
    marker.unlink(missing_ok=True)
    script = _script(where, init)
    record = registry.start(
        NAME,
        ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--uts", "--ipc",
         "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-ec", script],
        log=where.logs / "node.log",
        orphan=True,
    )
    deadline = time.monotonic() + 20
    while not marker.exists():
        if not record.alive() or time.monotonic() > deadline:
            raise NotReady(
                "the node's namespaces could not be made",
                cause="unshare or mount refused: is this root, outside of a container?",
                fix="./workbook cluster down, then up again; its words are below",
                detail=tail(record.log),
            )
        time.sleep(0.05)
    _link(where, addresses, first_process(record))
    return record


def _script(where: Layout, init: Path) -> str:
    lines = [
        # A /run of its own: sockets and locks of the host's programs stay out of reach.
        "mount -t tmpfs -o mode=755 tmpfs /run",
        f"mkdir -p {INSIDE} /run/lock /run/netns /run/containerd /run/var /run/var-work",
        f"mount --bind {shlex.quote(str(where.home.resolve()))} {INSIDE}",
        # The kubelet and CNI write small things to fixed places below /var: into memory here.
        "mount -t overlay overlay -o lowerdir=/var,upperdir=/run/var,workdir=/run/var-work /var",
        f"hostname {NODE_NAME}",
        "ip link set lo up",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        f"touch {INSIDE}/node-ready",
        f"exec {shlex.quote(str(init))}",
    ]
    return "\n".join(lines)


def first_process(record: Recorded) -> int:
    """The pid, on the host, of the node's process 1.

    Raises:
        NotReady: the node has ended.
    """
    process = record.process()
    if process is not None:
        for child in process.children():
            return int(child.pid)
    raise NotReady("the node does not run", cause="its first process has ended",
                   fix="./workbook cluster up", detail=tail(record.log))


def _link(where: Layout, addresses: Addresses, pid: int) -> None:
    peer = f"{where.link}n"[:15]
    with contextlib.suppress(CommandFailed):  # none is there, mostly
        _ip("link", "del", where.link)
    _ip("link", "add", where.link, "type", "veth", "peer", "name", peer)
    _ip("link", "set", peer, "netns", str(pid), "name", "eth0")
    _ip("addr", "add", f"{addresses.host}/30", "dev", where.link)
    _ip("link", "set", where.link, "up")
    for words in (("addr", "add", f"{addresses.node}/30", "dev", "eth0"),
                  ("link", "set", "eth0", "up"),
                  ("route", "add", "default", "via", addresses.host)):
        _run(["nsenter", "--target", str(pid), "--net", "ip", *words])


def enter(pid: int, argv: Sequence[str]) -> list[str]:
    """`argv` as it is started inside the node whose first process is `pid`."""
    return ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--uts", "--ipc",
            "--", "env", f"--chdir={INSIDE}", *argv]


def end(where: Layout, registry: Registry) -> list[str]:
    """End the node and all in it, and remove what lies outside: link and cgroups.

    It goes on over whatever an earlier crash left; what it did, in words.

    Raises:
        NotReady: something cannot be removed.
    """
    done: list[str] = []
    record = registry.get(NAME)
    if record is not None and (process := record.process()) is not None:
        for child in process.children():
            # SIGKILL to process 1 of a pid namespace ends every process in it.
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        ending.end(process)
        done.append("the node and every process in it")
    registry.forget(NAME)
    if has_link(where):
        # With its namespace the peer vanishes, and this end with it; unless one just crashed.
        with contextlib.suppress(CommandFailed):
            _ip("link", "del", where.link)
        if has_link(where):
            raise NotReady(f"the link {where.link} cannot be removed", cause="ip refused",
                           fix=f"ip link del {where.link}")
        done.append(f"link {where.link}")
    left = remove_cgroups(where)
    if left:
        raise NotReady(f"{len(left)} cgroups cannot be removed, such as {left[0]}",
                       cause="processes are still in it", fix="./workbook cluster down again")
    return done


def has_link(where: Layout) -> bool:
    """Whether the host's end of the link is there."""
    return Path("/sys/class/net", where.link).exists()


def cgroups(where: Layout) -> list[Path]:
    """The cluster's cgroups that are there, inner ones first.

    containerd puts containers under k8s.io, which another containerd of the host may use, too
    (without cgroupsPerQOS the kubelet names no parent): ours are told by their ids, of which
    containerd keeps a folder each.
    """
    known = where.data / "containerd" / "io.containerd.grpc.v1.cri"
    ids = [path.name for kind in ("containers", "sandboxes") for path in (known / kind).glob("*")]
    found: list[Path] = []
    for top in _cgroups(where):
        for each in (*(top.parent / "k8s.io" / name for name in ids), top):
            if each.is_dir():
                found += [Path(folder) for folder, _, _ in os.walk(each, topdown=False)]
    return found


def remove_cgroups(where: Layout, *, seconds: float = 10.0) -> list[Path]:
    """Remove them; those that are left after `seconds`, while their last processes end."""
    deadline = time.monotonic() + seconds
    while left := cgroups(where):
        for folder in left:
            with contextlib.suppress(OSError):  # busy: tried again until the deadline
                folder.rmdir()
        if time.monotonic() > deadline:
            return cgroups(where)
        time.sleep(0.05)
    for top in _cgroups(where):
        with contextlib.suppress(OSError):  # not there, or another containerd's
            (top.parent / "k8s.io").rmdir()
    return []


def _cgroups(where: Layout) -> list[Path]:
    if (_CGROUPS / "cgroup.controllers").exists():  # cgroup v2 alone
        return [_CGROUPS / where.cgroup]
    names = [line.split(":")[1] for line in
             Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    # The hierarchy without a name is v2's, which systems with both mount as "unified".
    known = [name.removeprefix("name=") or "unified" for name in names]
    folders = [_CGROUPS / name for name in known if (_CGROUPS / name).is_dir()]
    return [folder / where.cgroup for folder in folders]


def _ip(*words: str) -> None:
    _run(["ip", *words])


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{shlex.join(argv)} ended with status {done.returncode}",
                            cause="the node's link or namespaces could not be changed",
                            fix="./workbook cluster down, then up again", detail=done.stderr)
