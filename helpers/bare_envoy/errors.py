"""What can go wrong with a bare Envoy; each error carries Envoy's last log lines."""

from __future__ import annotations

from helpers.bare_envoy.types import Seen
from helpers.errors import MeshDown, NotReady


class EnvoyEnded(MeshDown):
    """Envoy did not start, or ended while it was needed."""


class NoAnswer(NotReady):
    """Something did not come before its deadline, such as a response; the stream was cancelled.

    Attributes:
        seen: what had happened until then; None when it was not about a response.
    """

    seen: Seen | None = None
