"""The programs of the cluster: how each is started in the node, and how it is known to work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from helpers.cluster.bare import node
from helpers.cluster.bare.api import Api, condition
from helpers.cluster.bare.configs import CONTAINERD_SOCKET, HEALTH
from helpers.cluster.bare.layout import (
    API_PORT,
    DOMAIN,
    INSIDE,
    NODE_NAME,
    SERVICE_RANGE,
    Addresses,
    Layout,
)
from helpers.cluster.bare.packages import Programs
from helpers.processes import Recorded, Registry


@dataclass(frozen=True)
class Part:
    """One program.

    Attributes:
        name: as in Kubernetes' own documentation.
        what: what it does, in a learner's words.
        argv: the command line inside the node.
    """

    name: str
    what: str
    argv: tuple[str, ...]


def parts(
    programs: Programs, binaries: Mapping[str, Path], addresses: Addresses
) -> dict[str, Part]:
    """All parts, in the order in which they are started.

    Flags follow kubernetes.io/docs/reference/command-line-tools-reference; leader election is
    off where there is one of a kind.
    """
    certificates, config = INSIDE / "certificates", INSIDE / "config"

    def kubernetes(name: str, *flags: str) -> tuple[str, ...]:
        return (str(binaries[name]), "--v=1", *flags)

    found = [
        Part("etcd", "keeps the objects", (
            str(programs.etcd), "--data-dir=/run/etcd", "--log-level=warn",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
        )),
        Part("kube-apiserver", "takes and gives the objects", kubernetes(
            "kube-apiserver",
            f"--advertise-address={addresses.node}", f"--bind-address={addresses.node}",
            f"--secure-port={API_PORT}", "--etcd-servers=http://127.0.0.1:2379",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={certificates}/ca.crt",
            f"--tls-cert-file={certificates}/apiserver.crt",
            f"--tls-private-key-file={certificates}/apiserver.key",
            f"--kubelet-certificate-authority={certificates}/ca.crt",
            f"--kubelet-client-certificate={certificates}/apiserver-kubelet.crt",
            f"--kubelet-client-key={certificates}/apiserver-kubelet.key",
            # A build without the release's own version constants takes all alpha APIs as asked for.
            "--runtime-config=api/alpha=false",
            # The node's name is in no DNS; without this, logs and exec cannot find it.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={certificates}/service-accounts.pub",
            f"--service-account-signing-key-file={certificates}/service-accounts.key",
        )),
        Part("containerd", "runs the containers", (
            str(programs.containerd), "--config", f"{config}/containerd.toml",
        )),
        Part("kube-controller-manager", "makes pods from Deployments", kubernetes(
            "kube-controller-manager",
            f"--kubeconfig={config}/controller-manager.kubeconfig", "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--bind-address={addresses.node}",
            f"--service-account-private-key-file={certificates}/service-accounts.key",
            f"--root-ca-file={certificates}/ca.crt",
            f"--cluster-signing-cert-file={certificates}/ca.crt",
            f"--cluster-signing-key-file={certificates}/ca.key",
        )),
        Part("kube-scheduler", "gives pods a node", kubernetes(
            "kube-scheduler", f"--kubeconfig={config}/scheduler.kubeconfig",
            "--leader-elect=false", f"--bind-address={addresses.node}",
        )),
        Part("kubelet", "starts the node's pods", kubernetes(
            "kubelet", f"--config={config}/kubelet.yaml",
            f"--kubeconfig={config}/kubelet.kubeconfig", f"--hostname-override={NODE_NAME}",
            f"--node-ip={addresses.node}", f"--root-dir={INSIDE}/data/kubelet",
        )),
        Part("kube-proxy", "routes services to pods", kubernetes(
            "kube-proxy", f"--config={config}/kube-proxy.yaml",
        )),
        Part("coredns", "answers for the services' names", (
            str(binaries["coredns"]), "-conf", f"{config}/Corefile",
        )),
    ]
    return {part.name: part for part in found}


def start(where: Layout, registry: Registry, programs: Programs, part: Part) -> Recorded:
    """Start one part in the node that runs, and record it.

    Raises:
        NotReady: the node does not run.
        MeshDown: it ended as soon as it was started.
    """
    record = registry.get(node.NAME)
    if record is None:
        raise AssertionError("the node is started first")
    pid = node.first_process(record)
    return registry.start(part.name, node.enter(pid, part.argv), orphan=True,
                          log=where.logs / f"{part.name}.log",
                          env=environment(programs.shim_folder))


def environment(shim_folder: Path) -> dict[str, str]:
    """What a part sees of the environment: no proxy, no setting of the user's.

    containerd finds its shim, and the CNI plugins find iptables, on the PATH.

    Args:
        shim_folder: where containerd-shim-runc-v2 lies.
    """
    path = f"{shim_folder}:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/root", "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")}


def checks(
    where: Layout, registry: Registry, api: Api, addresses: Addresses
) -> dict[str, Callable[[], str]]:
    """For each part a question whose answer is "" when it works, else what is wrong."""

    def alive(name: str) -> Callable[[], str]:
        def ask() -> str:
            record = registry.get(name)
            if record is None:
                return "was never started"
            return "" if record.alive() else "has ended"
        return ask

    def api_server() -> str:
        if problem := alive("kube-apiserver")():
            return problem
        status, text = api.ask("/readyz")
        return "" if status == 200 else f"/readyz: {status or ''} {text.strip()}"[:300]

    def containerd() -> str:
        if problem := alive("containerd")():
            return problem
        record = registry.get(node.NAME)
        if record is None or not record.alive():
            return "the node has ended"
        root = Path(f"/proc/{node.first_process(record)}/root")
        # By its own root: the socket lies in the node's mount namespace. Not resolved, since
        # the magic link would lead to the host's root.
        return "" if (root / CONTAINERD_SOCKET.lstrip("/")).exists() else "has no socket yet"

    def kubelet() -> str:
        if problem := alive("kubelet")():
            return problem
        ready = condition(api.get(f"/api/v1/nodes/{NODE_NAME}"), "Ready")
        return "" if ready == "True" else f"node not Ready: {ready}"

    def healthy(name: str) -> Callable[[], str]:
        scheme = "https" if name in ("kube-controller-manager", "kube-scheduler") else "http"
        path = "health" if name == "coredns" else "healthz"
        url = f"{scheme}://{addresses.node}:{HEALTH[name]}/{path}"

        def ask() -> str:
            if problem := alive(name)():
                return problem
            try:
                # Not verified: each makes a certificate of its own, and says nothing secret here.
                status = httpx.get(url, verify=False, trust_env=False, timeout=3).status_code
            except httpx.HTTPError as error:
                return f"{url}: {error}"
            return "" if status == 200 else f"{url}: HTTP {status}"
        return ask

    return {
        node.NAME: alive(node.NAME), "etcd": alive("etcd"), "kube-apiserver": api_server,
        "containerd": containerd,
        "kube-controller-manager": healthy("kube-controller-manager"),
        "kube-scheduler": healthy("kube-scheduler"), "kubelet": kubelet,
        "kube-proxy": healthy("kube-proxy"), "coredns": healthy("coredns"),
    }
