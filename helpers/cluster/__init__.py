"""A cluster of the workbook's own: `workbook cluster up | status | down`.

Two providers make it. `kind` needs Docker or Podman and is the usual way on a laptop. `bare`
needs neither an engine nor an image registry: it builds Kubernetes and Istio from their Go
modules and runs them in namespaces of their own, as root on Linux.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers import paths
from helpers.errors import BadInput
from helpers.show import Result, TableResult

__all__ = ["PROVIDERS", "down", "made_by", "status", "up"]

PROVIDERS = ("bare", "kind")

Say = Callable[[str], None]


def made_by(home: Path | None = None) -> str | None:
    """Who made the cluster of this clone: "bare", "kind", or None where there is none.

    Told by what each leaves in the folder from its first step on, so that a cluster that came
    up only half is known, too.
    """
    home = home or paths.HOME / "cluster"
    if (home / "kind.yaml").exists():
        return "kind"
    return "bare" if home.exists() and any(home.iterdir()) else None


def up(provider: str, say: Say = print, *, images: str = "public") -> Result:
    """Bring a cluster up, or what of it is missing.

    Args:
        provider: "bare" or "kind".
        say: is given a line for each step as it begins and ends.
        images: with kind, "public" or "ours"; the bare cluster has our images alone.

    Raises:
        BadInput: no such provider, or the other provider's cluster is there.
        WorkbookError: a step failed; it says which, and what to do.
    """
    there = made_by()
    if provider not in PROVIDERS:
        raise BadInput(f"there is no provider {provider!r}", cause=f"known: {PROVIDERS}",
                       fix="--provider bare, or --provider kind")
    if there is not None and there != provider:
        raise BadInput(f"this clone has a cluster of provider {there!r}",
                       cause="one at a time: both keep their kubeconfig in the same place",
                       fix="./workbook cluster down first")
    if provider == "kind":
        from helpers.cluster.kind import Kind  # only the provider that is asked for is loaded

        return Kind(say=say).up(images=images)
    from helpers.cluster import bare

    return bare.up(say)


def status() -> TableResult:
    """The health of each part; `extra["healthy"]` is whether all of them work."""
    if made_by() == "kind":
        from helpers.cluster.kind import Kind

        return Kind().status()
    from helpers.cluster import bare

    return bare.status()


def down(*, cache: bool = False) -> Result:
    """End the cluster and remove what it left; safe after a crash, and when there is none.

    Args:
        cache: also the programs and images that `bare` keeps for the next time.

    Raises:
        WorkbookError: something could not be removed; it is named.
    """
    if made_by() == "kind":
        from helpers.cluster.kind import Kind

        return Kind().down()
    from helpers.cluster import bare

    return bare.down(cache=cache)
