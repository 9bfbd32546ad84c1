"""`python -m helpers.cluster.bare`: up, down, up, down; how long each takes and what it leaves.

    python -m helpers.cluster.bare [--without-cache]

With --without-cache everything is built from nothing into a throw-away folder first, which
takes 20 to 30 minutes. Exit status 1 when anything was left behind.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

from helpers import paths
from helpers.cluster import bare
from helpers.cluster.bare import host
from helpers.errors import Busy, WorkbookError
from helpers.show import table_text


def main() -> int:
    """Measure; print a table; 1 when something was left behind."""
    parser = argparse.ArgumentParser(prog="python -m helpers.cluster.bare",
                                     description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--without-cache", action="store_true",
                        help="build everything from nothing first")
    given = parser.parse_args()
    try:
        if (paths.HOME / "cluster").exists():
            raise Busy("a cluster is up already", cause="this brings one up and down twice",
                       fix="./workbook cluster down")
        if not given.without_cache:
            return measure()
        with tempfile.TemporaryDirectory(prefix="workbook-cache-", dir=paths.HOME) as folder:
            os.environ["WORKBOOK_CACHE"] = folder
            return measure()
    except WorkbookError as error:
        print(f"workbook: {error}", file=sys.stderr)
        return 1


def measure() -> int:
    """Up, down, up, down, with what each `down` left; see `main`."""
    rows: list[tuple[str, str, str]] = []
    left: list[str] = []
    for number in ("first", "second"):
        before = host.snapshot()
        begun = time.monotonic()
        try:
            bare.up(lambda text: print(text, flush=True))
            rows.append((f"{number} up", f"{time.monotonic() - begun:.1f}", ""))
            begun = time.monotonic()
        finally:
            print(bare.down(), flush=True)
        took = time.monotonic() - begun
        found = host.difference(before, host.snapshot())
        found += [f"file {path}" for path in [paths.HOME / "cluster"] if path.exists()]
        left += found
        rows.append((f"{number} down", f"{took:.1f}", "; ".join(found) or "nothing left"))
    print(table_text(("STEP", "SECONDS", "LEFT ON THE HOST"), rows))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
