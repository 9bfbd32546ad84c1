"""What runs in Bookinfo's containers: it ends when it is asked to, also while it still starts.

Process 1 of a container ignores every signal that it has no handler for. The imports of a web
server take a second or two; a pod that is deleted then would run on for its whole grace period
of 30 s.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main() -> None:
    """Run `bookinfo` with the command line."""
    signal.signal(signal.SIGTERM, _leave)
    from helpers.mesh.local import bookinfo  # slow: only once there is a handler

    bookinfo.main(sys.argv[1:])


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
