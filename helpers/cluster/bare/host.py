"""What a cluster could leave on the host, photographed before and after: the proof of `down`.

It knows nothing of our records. It looks where Kubernetes, containerd, CNI and Istio are known
to leave things, so that a leftover that `down` does not know about is seen, too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from helpers.errors import CommandFailed

#: Folders outside of the project that the programs write to unless they are told otherwise.
_FOLDERS = ("/etc/cni", "/etc/containerd", "/etc/kubernetes", "/opt/cni", "/opt/containerd",
            "/run/containerd", "/run/netns", "/run/workbook", "/usr/libexec/kubernetes",
            "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet",
            "/var/log/containers", "/var/log/pods",
            # kubectl and istioctl keep what they discover of a cluster there.
            str(Path.home() / ".kube"))

#: Names of the cluster's programs, as the kernel cuts them (15 letters).
_PROGRAMS = frozenset(name[:15] for name in (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
    "kube-proxy", "coredns", "containerd", "containerd-shim-runc-v2", "runc", "pause",
    "pilot-agent", "pilot-discovery", "istioctl", "envoy", "nsenter", "unshare", "debootstrap"))

Snapshot = Mapping[str, frozenset[str]]


def snapshot() -> Snapshot:
    """What is there now, by kind: mounts, links, cgroups, iptables rules, processes, files.

    Raises:
        CommandFailed: iptables is installed and does not tell its rules.
    """
    return {
        "mount": frozenset(line.split()[1] for line in
                           Path("/proc/mounts").read_text(encoding="utf-8").splitlines()),
        "link": frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        "cgroup": frozenset(_cgroups()),
        "iptables rule": frozenset(_rules()),
        "process": frozenset(_processes()),
        "file": frozenset(_files()),
    }


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What is there after and was not before, in words; empty when nothing was left."""
    return [f"{kind} {each}" for kind, found in after.items()
            for each in sorted(found - before.get(kind, frozenset()))]


def _cgroups() -> Iterator[str]:
    top = Path("/sys/fs/cgroup")
    for pattern in ("*", "*/*", "*/*/*"):
        yield from (str(path) for path in top.glob(pattern) if path.is_dir())


def _rules() -> Iterator[str]:
    for program in ("iptables-save", "ip6tables-save"):
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if path is None:
            continue  # without the program nobody made rules with it
        done = subprocess.run([path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CommandFailed(f"{program} ended with status {done.returncode}",
                                cause="the host's rules cannot be read", fix=f"run {program}",
                                detail=done.stderr)
        for line in done.stdout.splitlines():
            if line.startswith(("-", "*")):
                yield f"{program}: {line}"


def _processes() -> Iterator[str]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            # A zombie holds nothing; its parent has not asked for its status yet.
            if process.name() in _PROGRAMS and process.status() != psutil.STATUS_ZOMBIE:
                yield f"{process.pid} {process.name()}"


def _files() -> Iterator[str]:
    for name in _FOLDERS:
        folder = Path(name)
        if folder.exists():
            yield name
            yield from (str(path) for path in folder.rglob("*"))
