"""What the kind provider runs and which versions: pins, configuration and commands."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from helpers import paths

#: The release of kind that NODE was built for, from the release's own notes:
#: https://github.com/kubernetes-sigs/kind/releases/tag/v0.33.0
KIND = "v0.33.0"

#: The node's image, with the digest of those notes: a tag alone may be built anew for another kind.
NODE = ("kindest/node:v1.34.11@sha256:"
        "44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d")

#: The Istio that the notebooks were written against.
ISTIO = "1.31.0"

#: The cluster's name for kind; its context is then "kind-workbook".
NAME = "workbook"
CONTEXT = f"kind-{NAME}"

#: Bookinfo's tag, as in manifests/bookinfo.yaml.
TAG = "1.20.3"
SERVICES = ("productpage", "details", "reviews", "ratings")

#: Where our images come from: the same name as in the bare cluster.
PREFIX = "localhost/workbook"

#: How our Bookinfo becomes an image; the same recipe for Docker and Podman.
CONTAINERFILE = Path(__file__).with_name("Containerfile")


def config() -> str:
    """kind's configuration: one node that is control plane and worker in one."""
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": NAME,
            "nodes": [{"role": "control-plane", "image": NODE}],
        },
        sort_keys=False,
    )


def create(configuration: Path, kubeconfig: Path) -> list[str]:
    """The command that creates the cluster."""
    return ["kind", "create", "cluster", "--config", str(configuration),
            "--kubeconfig", str(kubeconfig), "--wait", "180s"]


def install(kubeconfig: Path) -> list[str]:
    """The command that installs Istio, small, with the access log that the notebooks read."""
    return ["istioctl", "install", "-y", "--kubeconfig", str(kubeconfig), "--context", CONTEXT,
            "--set", "profile=minimal", "--set", f"tag={ISTIO}",
            "--set", "meshConfig.accessLogFile=/dev/stdout"]


def build(engine: str, service: str) -> list[str]:
    """The command that builds one of Bookinfo's images from our own sources."""
    return [engine, "build", "--file", str(CONTAINERFILE), "--build-arg", f"SERVICE={service}",
            "--tag", image(service), str(paths.ROOT)]


def image(service: str) -> str:
    """The name of one of our images: only the prefix differs from the manifest's."""
    return f"{PREFIX}/examples-bookinfo-{service}-v1:{TAG}"


def use(images: str) -> str:
    """What to type next: our own kubeconfig stands for our own images unless others are named."""
    public = " --images docker.io/istio" if images == "public" else ""
    return f"next: ./workbook lab --mesh cluster{public}"


def with_engine(engine: str) -> dict[str, str]:
    """The variables that tell kind which engine is meant."""
    return {"KIND_EXPERIMENTAL_PROVIDER": "podman"} if engine == "podman" else {}


def version(text: str) -> str:
    """The first version of three numbers in a program's words; empty when there is none."""
    found = re.search(r"\bv?(\d+\.\d+\.\d+)", text)
    return found[1] if found else ""


def last(text: str) -> str:
    """The last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
