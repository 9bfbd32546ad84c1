"""Which cluster, and what of it is a learner's own: options first, then the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import paths
from helpers.errors import BadInput

#: What Bookinfo's images are called on our own cluster, which pulls nothing.
OWN_IMAGES = "localhost/workbook"
#: The prefix in manifests/bookinfo.yaml.
PUBLIC_IMAGES = "docker.io/istio"
_OPTIONS = ("kubeconfig", "context", "namespace", "images", "yes")


def own_kubeconfig() -> Path:
    """The kubeconfig of the cluster that `workbook cluster up` makes."""
    return paths.HOME / "cluster" / "kubeconfig"


@dataclass(frozen=True)
class ClusterSettings:
    """Which cluster, which namespace, which images.

    Attributes:
        kubeconfig: a file; several joined with ":" as in $KUBECONFIG; None is kubectl's own
            choice ($KUBECONFIG, else ~/.kube/config).
        context: of the kubeconfig; None is its current one.
        namespace: where `default` leads; None is the context's namespace, else "default".
        images: takes the place of docker.io/istio in the names of Bookinfo's images; empty
            leaves them.
        yes: the learner has agreed already that things are written.
        ours: the cluster is the one that `workbook cluster up` made.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    images: str = ""
    yes: bool = False
    ours: bool = False

    @classmethod
    def read(cls, **overrides: Any) -> ClusterSettings:
        """The settings from WORKBOOK_KUBECONFIG, _CONTEXT, _NAMESPACE, _IMAGES and _YES.

        Args:
            overrides: `kubeconfig` (path), `context`, `namespace`, `images` (str) and `yes`
                (bool), each in place of its variable; None means "not said".

        Raises:
            BadInput: another option, or a namespace whose name is none.
        """
        if unknown := sorted(set(overrides) - set(_OPTIONS)):
            raise BadInput(
                f"a cluster takes no option {', '.join(unknown)}",
                cause=f"it takes: {', '.join(_OPTIONS)}",
                fix='open_mesh("cluster", namespace="anna")',
            )
        said = {name: value for name, value in overrides.items() if value is not None}

        def option(name: str) -> str | None:
            value = said.get(name, os.environ.get(f"WORKBOOK_{name.upper()}"))
            return str(value) if value else None

        own = own_kubeconfig()
        kubeconfig = option("kubeconfig")
        if kubeconfig is None and own.is_file():
            kubeconfig = str(own)
        ours = kubeconfig is not None and Path(kubeconfig).resolve() == own.resolve()
        images = said.get("images", os.environ.get("WORKBOOK_IMAGES") or None)
        if images is None:
            images = OWN_IMAGES if ours else ""
        return cls(
            kubeconfig=kubeconfig,
            context=option("context"),
            namespace=_valid(option("namespace")),
            images=str(images).rstrip("/"),
            yes=bool(said.get("yes", os.environ.get("WORKBOOK_YES") == "1")),
            ours=ours,
        )


def _valid(namespace: str | None) -> str | None:
    # A namespace's name is also a label's value here: at most 63 characters, as a DNS label.
    plain = (namespace or "a").replace("-", "a")
    if (
        len(plain) <= 63
        and plain.isascii()
        and plain.isalnum()
        and plain == plain.lower()
        and not (namespace or "a").startswith("-")
        and not (namespace or "a").endswith("-")
    ):
        return namespace
    raise BadInput(
        f"a namespace cannot be called {namespace!r}",
        cause="a lowercase RFC 1123 label has at most 63 of a-z, 0-9 and '-', and starts and ends "
        "with a letter or digit",
        fix="--namespace anna",
    )
