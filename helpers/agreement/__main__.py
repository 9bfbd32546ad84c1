"""`python -m helpers.agreement`: how many generated cases agree, by kind of plugin."""

from __future__ import annotations

import argparse
import sys

from helpers.agreement import running
from helpers.errors import WorkbookError
from helpers.show import table_text


def main() -> int:
    """Run the cases and print the table; 1 when any differs."""
    parser = argparse.ArgumentParser(prog="python -m helpers.agreement", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000, help="how many (default: 5000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same cases")
    options = parser.parse_args()
    try:
        found = running.run(options.cases, options.seed,
                            say=lambda text: print(text, flush=True))
    except WorkbookError as error:
        print(f"workbook: {error}", file=sys.stderr)
        return 1
    print(*found.shown, sep="\n")
    rows = [(kind, f"{tried:,}", found.differing[kind]) for kind, tried in found.tried.items()]
    print(table_text(("plugin", "cases", "differ"), rows))
    for what in found.ended:
        print(f"left out: {what}")
    print(f"{found.tried.total():,} cases, seed {options.seed}: {found.differing.total()} differ")
    return 1 if found.differing else 0


sys.exit(main())
