"""Which of a pod's warnings says most: the last one, save where the kubelet is only trying."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.mesh.base import Event

#: The kubelet asks the API server for each ConfigMap and Secret of a new pod and waits a second for
#: the first answer (Kubernetes pkg/kubelet/util/manager/watch_based_manager.go). On a busy
#: node that second passes, and it says this before it knows whether the object exists.
_NOT_KNOWN_YET = ("failed to sync configmap cache", "failed to sync secret cache")


def most_telling(warnings: Sequence[Event]) -> Event:
    """The latest warning that is more than a try; the latest at all when there is none.

    A probe fails at every start for a while, and a cache is not filled yet at some: they say
    least.

    Args:
        warnings: of one pod, oldest first; at least one.
    """
    return next((each for each in reversed(warnings) if not _says_little(each)), warnings[-1])


def _says_little(event: Event) -> bool:
    return event.reason == "Unhealthy" or (
        event.reason == "FailedMount" and any(text in event.message for text in _NOT_KNOWN_YET))
