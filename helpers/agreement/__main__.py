"""The command: `python -m helpers.agreement --cases 5000`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from helpers.agreement import running
from helpers.agreement.behaviours import KINDS
from helpers.errors import WorkbookError
from helpers.progress import Progress

_RUN = re.compile(r"(.)\1{40,}", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when there is a difference that nobody has accounted for."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.agreement",
        description="Send generated cases through the sandbox and the real Envoy, and compare.")
    parser.add_argument("--cases", type=int, default=5000, metavar="N", help="default: 5000")
    parser.add_argument("--seed", type=int, default=1, metavar="N",
                        help="other cases; the same number gives the same ones (default: 1)")
    parser.add_argument("--kind", action="append", choices=list(KINDS), dest="kinds",
                        help="only this kind; may be given several times")
    parser.add_argument("--show", type=int, default=5, metavar="N",
                        help="chains whose first difference is printed (default: 5)")
    given = parser.parse_args(arguments)
    progress = Progress(given.cases, "cases")
    shown: set[object] = set()

    def tell(difference: running.Difference) -> None:
        if difference.chain not in shown and len(shown) < given.show:
            shown.add(difference.chain)
            print(_RUN.sub(lambda found: f"{found[1]}*{len(found[0])}", str(difference)))

    try:
        found = running.run(given.cases, given.seed, given.kinds or list(KINDS),
                        progress=progress.update, tell=tell)
    except WorkbookError as error:
        print(error, file=sys.stderr)
        return 2
    progress.finish(f"{found.cases.total():,} cases")
    print(found.table())
    return 1 if found.differ.total() else 0


if __name__ == "__main__":
    sys.exit(main())
