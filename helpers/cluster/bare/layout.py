"""Where the bare cluster keeps its files, and the numbers it runs with.

All lies in one folder of the clone's state. Inside the node (`node.py`) that folder is seen
as `/run/workbook`, so that unix sockets keep the short paths that they need (108 bytes).
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from helpers import files, paths

#: The folder as programs inside the node see it.
INSIDE = Path("/run/workbook")

#: Pods and services live in the node's own network namespace: nobody else sees these ranges.
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
API_PORT = 6443

NODE_NAME = "workbook"
CONTEXT = "workbook-bare"
DOMAIN = "cluster.local"

_SCHEMA = 1


@dataclass(frozen=True)
class Layout:
    """The folders of one bare cluster.

    Attributes:
        home: the cluster's folder, such as `.workbook/cluster`.
    """

    home: Path

    @property
    def certificates(self) -> Path:
        return self.home / "certificates"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def data(self) -> Path:
        """What programs write: containerd's root, the kubelet's folder, pod logs."""
        return self.home / "data"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the learner: cluster-admin in this cluster."""
        return self.home / "kubeconfig"

    @property
    def tag(self) -> str:
        """Eight letters that tell this clone's cluster from another clone's on one computer."""
        return hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:8]

    @property
    def link(self) -> str:
        """The link on the host's side; 15 letters are the most that Linux takes."""
        return f"wbk{self.tag}"

    @property
    def cgroup(self) -> str:
        """The cgroup that the kubelet is told as its root, in every hierarchy.

        Nothing is in it: without cgroupsPerQOS the kubelet names pods no parent, and containerd
        puts them into k8s.io (`node.cgroups`). It marks the cluster on the host.
        """
        return f"workbook-{self.tag}"


@dataclass(frozen=True)
class Addresses:
    """The two ends of the link between the host and the node: the hosts of one /30.

    Attributes:
        host: the host's end, such as "10.213.0.1".
        node: the node's end; the API server listens on it.
    """

    host: str
    node: str

    @classmethod
    def of(cls, network: ipaddress.IPv4Network) -> Addresses:
        """The two hosts of a /30."""
        first, second = network.hosts()
        return cls(str(first), str(second))

    @property
    def api(self) -> str:
        """The API server's URL."""
        return f"https://{self.node}:{API_PORT}"


def layout() -> Layout:
    """The layout of this clone's cluster."""
    return Layout(paths.HOME / "cluster")


def keep_addresses(where: Layout, addresses: Addresses) -> None:
    """Write down which addresses the cluster runs with."""
    files.write_json(where.home / "addresses.json",
                     {"host": addresses.host, "node": addresses.node}, version=_SCHEMA)


def kept_addresses(where: Layout) -> Addresses | None:
    """The addresses of a cluster that was brought up; None when there is none.

    Raises:
        BadState: the file is damaged.
    """
    path = where.home / "addresses.json"
    try:
        found = files.read_json(path, version=_SCHEMA)
    except FileNotFoundError:
        return None
    try:
        return Addresses(str(found["host"]), str(found["node"]))
    except (KeyError, TypeError) as error:
        raise files.damaged(path) from error
