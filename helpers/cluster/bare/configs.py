"""The configuration files of the cluster's parts: pure functions from names to text.

Each setting that is not plain Kubernetes has its reason beside it; most were found out on a
machine with cgroup v1, Debian 12's containerd 1.6 and no CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from helpers.cluster.bare.layout import (
    CONTEXT,
    DOMAIN,
    INSIDE,
    NODE_NAME,
    POD_RANGE,
    Addresses,
)

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

#: Where parts answer whether they are healthy: their usual ports, on the node's end of the link.
HEALTH = {"kube-controller-manager": 10257, "kube-scheduler": 10259, "kube-proxy": 10256,
          "coredns": 8080}


def containerd(*, pause: str, runc: Path, cni: Path) -> str:
    """containerd's config.toml, version 2 (containerd 1.6 and 1.7).

    Args:
        pause: the image of a pod's first container.
        runc: the program.
        cni: the folder of CNI plugins.
    """
    cri = '"io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{INSIDE}/data/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins.{cri}]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE a lower score is refused, and runc dies with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins.{cri}.cni]
    bin_dir = "{cni}"
    conf_dir = "{INSIDE}/config/cni"
    max_conf_num = 1
  [plugins.{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins.{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "{runc}"
"""


def network() -> str:
    """The CNI configuration: one routed link a pod.

    `ptp`, not `bridge`: what one pod sends to another by a service's address must pass
    iptables on its way back, too, which over a bridge needs the kernel module br_netfilter.
    """
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": "workbook",
            "plugins": [
                {
                    "type": "ptp",
                    "mtu": 1500,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": f"{INSIDE}/data/cni",
                        "ranges": [[{"subnet": POD_RANGE}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        },
        indent=2,
    )


def kubelet(addresses: Addresses, *, cgroup: str) -> str:
    """The KubeletConfiguration (kubelet.config.k8s.io/v1beta1)."""
    certificates = f"{INSIDE}/certificates"
    return _yaml(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": addresses.node,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{certificates}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{certificates}/kubelet-serving.crt",
            "tlsPrivateKeyFile": f"{certificates}/kubelet-serving.key",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDNS": [addresses.node],
            "clusterDomain": DOMAIN,
            # The host's own may name servers that this network namespace cannot reach.
            "resolvConf": f"{INSIDE}/config/resolv.conf",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            # Reads the host's root file system, which is not the node's.
            "localStorageCapacityIsolation": False,
            # A full disk of the host is no reason to evict a learner's pods or their images.
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": f"{INSIDE}/data/pod-logs",
            "volumePluginDir": f"{INSIDE}/data/volume-plugins",
            "staticPodPath": "",
            "maxPods": 60,
            "registerNode": True,
        }
    )


def kube_proxy(addresses: Addresses) -> str:
    """The KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1)."""
    return _yaml(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": POD_RANGE,
            "hostnameOverride": NODE_NAME,
            "clientConnection": {"kubeconfig": f"{INSIDE}/config/kube-proxy.kubeconfig"},
            "healthzBindAddress": f"{addresses.node}:{HEALTH['kube-proxy']}",
            "metricsBindAddress": "127.0.0.1:10249",
            # The table's size belongs to the host's kernel, not to this network namespace.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s",
                          "tcpCloseWaitTimeout": "0s"},
            "oomScoreAdj": 0,
            "nodePortAddresses": ["127.0.0.0/8"],
        }
    )


def coredns(addresses: Addresses) -> str:
    """CoreDNS's Corefile: the cluster's names, and nothing else."""
    return f"""{DOMAIN}:53 in-addr.arpa:53 {{
    bind {addresses.node}
    errors
    health {addresses.node}:{HEALTH['coredns']}
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {INSIDE}/config/coredns.kubeconfig default
        pods insecure
        ttl 5
    }}
}}
"""


def kubeconfig(server: str, folder: Path, client: str, *, context: str = "default") -> str:
    """A kubeconfig with everything in it, so that it can be copied.

    Args:
        server: the API server's URL.
        folder: where the certificates are.
        client: the name of a client's certificate, such as "admin".
    """

    def data(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    return _yaml(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": {
                "server": server, "certificate-authority-data": data("ca.crt")}}],
            "users": [{"name": client, "user": {
                "client-certificate-data": data(f"{client}.crt"),
                "client-key-data": data(f"{client}.key")}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": client}}],
        }
    )


def learners_kubeconfig(addresses: Addresses, folder: Path) -> str:
    """The kubeconfig that the notebooks use."""
    return kubeconfig(addresses.api, folder, "admin", context=CONTEXT)


def coredns_rights() -> list[dict[str, Any]]:
    """What CoreDNS's kubernetes plugin reads (coredns/deployment, coredns.yaml.sed)."""
    read = ["list", "watch"]
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "workbook-coredns"},
            "rules": [
                {"apiGroups": [""], "verbs": read,
                 "resources": ["endpoints", "services", "pods", "namespaces"]},
                {"apiGroups": ["discovery.k8s.io"], "verbs": read,
                 "resources": ["endpointslices"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "workbook-coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "workbook-coredns"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
                          "name": "system:coredns"}],
        },
    ]


def _yaml(document: Any) -> str:
    return str(yaml.safe_dump(document, sort_keys=False))
