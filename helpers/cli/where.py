"""Which mesh a command means, as the environment variables that every kernel reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Read by helpers.mesh and helpers.mesh.cluster.settings.
MESH = "WORKBOOK_MESH"
KUBECONFIG = "WORKBOOK_KUBECONFIG"
CONTEXT = "WORKBOOK_CONTEXT"
NAMESPACE = "WORKBOOK_NAMESPACE"
IMAGES = "WORKBOOK_IMAGES"
YES = "WORKBOOK_YES"


@dataclass(frozen=True)
class Where:
    """What --mesh and the options that belong to it said; None is "not said".

    Attributes:
        mesh: "local" or "cluster".
        kubeconfig: an absolute path.
        images: takes the place of docker.io/istio in the names of Bookinfo's images.
        yes: the learner has agreed already.
    """

    mesh: str = "local"
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    images: str | None = None
    yes: bool = False

    @property
    def is_cluster(self) -> bool:
        """Whether a cluster is meant."""
        return self.mesh == "cluster"

    def environment(self) -> dict[str, str]:
        """The variables to add to a kernel's environment; what was not said is left as it is."""
        said = {
            MESH: self.mesh,
            KUBECONFIG: str(self.kubeconfig or ""),
            CONTEXT: self.context or "",
            NAMESPACE: self.namespace or "",
            IMAGES: self.images or "",
            YES: "1" if self.yes else "",
        }
        return {name: value for name, value in said.items() if value}

    def again(self) -> str:
        """The options as a person would type them."""
        words = ["--mesh", self.mesh]
        for name in ("kubeconfig", "context", "namespace", "images"):
            if value := getattr(self, name):
                words += [f"--{name}", str(value)]
        return " ".join(words)


def from_options(given: Mapping[str, Any]) -> Where:
    """What the parsed options `given` say."""
    return Where(**{name: given[name] for name in Where.__dataclass_fields__ if name in given})
