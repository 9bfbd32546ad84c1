"""A Kubernetes and an Istio on this computer without a container engine or a registry.

Everything is imported when it is asked for: `status` must not wait for what `up` needs.
"""

from __future__ import annotations

from collections.abc import Callable

from helpers.show import Result, TableResult

__all__ = ["down", "leftovers", "restart", "status", "up"]


def up(say: Callable[[str], None] = print) -> Result:
    """Bring the cluster up, or what of it is missing (`helpers.cluster.bare.up.up`)."""
    from helpers.cluster.bare import up as module

    return module.up(say)


def status() -> TableResult:
    """The health of each part (`helpers.cluster.bare.status.status`)."""
    from helpers.cluster.bare import status as module

    return module.status()


def down(*, cache: bool = False) -> Result:
    """End and remove everything (`helpers.cluster.bare.down.down`)."""
    from helpers.cluster.bare import down as module

    return module.down(cache=cache)


def leftovers() -> list[str]:
    """What of the cluster is still on this computer (`helpers.cluster.bare.down.leftovers`)."""
    from helpers.cluster.bare import down as module
    from helpers.cluster.bare.layout import layout

    return module.leftovers(layout())


def restart(part: str, *, seconds_down: float = 0.0) -> Result:
    """End one part and start it again, as a fault to learn from.

    Args:
        part: its name, such as "kubelet" or "kube-apiserver".
        seconds_down: how long it stays away.

    Raises:
        BadInput: there is no such part.
        NotReady: there is no cluster.
        PartFailed: it does not come back.
    """
    from helpers.cluster.bare import restart as module

    return module.restart(part, seconds_down=seconds_down)
