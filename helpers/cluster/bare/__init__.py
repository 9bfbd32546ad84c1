"""A Kubernetes and an Istio on this computer without a container engine or a registry.

Everything is imported when it is asked for: `status` must not wait for what `up` needs.
"""

from __future__ import annotations

from collections.abc import Callable

from helpers.show import Result, TableResult

__all__ = ["down", "leftovers", "restart", "status", "up"]


def up(say: Callable[[str], None] = print) -> Result:
    """Bring the cluster up, or what of it is missing (`bring_up.up`)."""
    from helpers.cluster.bare import bring_up

    return bring_up.up(say)


def status() -> TableResult:
    """The health of each part (`health.status`)."""
    from helpers.cluster.bare import health

    return health.status()


def down(*, cache: bool = False) -> Result:
    """End and remove everything (`take_down.down`)."""
    from helpers.cluster.bare import take_down

    return take_down.down(cache=cache)


def leftovers() -> list[str]:
    """What of the cluster is still on this computer (`take_down.leftovers`)."""
    from helpers.cluster.bare import take_down
    from helpers.cluster.bare.layout import layout

    return take_down.leftovers(layout())


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
    from helpers.cluster.bare import faults

    return faults.restart(part, seconds_down=seconds_down)
