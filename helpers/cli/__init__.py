"""The subcommands of `./workbook`, inside the environment.

Each is imported only when it is asked for, so that `doctor` does not wait for pandas.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from helpers.cli.where import from_options
from helpers.errors import Cancelled, WorkbookError
from helpers.setup.arguments import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` (default: the command line) names; its exit status.

    Expected failures are printed as cause and fix on stderr: status 1. Ctrl-C and SIGTERM
    end what was started: status 130 and 143.
    """
    options = parse(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return _dispatch(options.command, options)
    except Cancelled as error:
        print(f"workbook: {error}", file=sys.stderr)
        return 130
    except WorkbookError as error:
        print(f"workbook: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = " ".join(["./workbook", *(sys.argv[1:] if argv is None else argv)])
        print(f"\nworkbook: stopped; what it had started was ended. Again: {again}",
              file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (| head): nothing more to say to anybody.
        sys.stderr.close()
        return 1


def _dispatch(command: str, options: object) -> int:
    given = vars(options)
    if command == "run":
        from helpers.cli.run import run

        return run(given["notebook"], where=from_options(given),
                   cell_timeout=given["cell_timeout"])
    if command == "lab":
        from helpers.cli.lab import lab

        return lab(browser=not given["no_browser"], port=given["port"],
                   where=from_options(given))
    if command == "test":
        from helpers.cli.test import test

        return test(given["suites"], given["pytest"], keep_cluster=given["keep_cluster"])
    if command == "cluster":
        from helpers.cli.cluster import cluster

        return cluster(given)
    if command == "scenarios":
        from helpers.cli.scenarios import run as scenarios

        return scenarios(given["plugins"], on=given["on"], module=given["module"])
    if command == "clean":
        from helpers.cli.clean import clean, clean_cluster

        return clean_cluster(from_options(given)) if given["mesh"] == "cluster" else clean()
    if command == "reset":
        from helpers.setup.pristine import reset

        print(reset(given["notebook"]))
        return 0
    if command == "bench":
        from helpers.bench import main as bench

        return bench(given["names"])
    if command == "doctor":
        from helpers.doctor import main as doctor

        return doctor([])
    # `setup` ends in the bootstrap; reached only through the entry point inside the environment.
    print("workbook: this environment is set up", file=sys.stderr)
    return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
