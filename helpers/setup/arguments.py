"""The command line of `./workbook`, read by the bootstrap and by helpers.cli alike."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

#: The kinds of tests, in the order in which they run, and what each needs.
SUITES = {
    "unit": "no network, no Envoy",
    "toolchain": "builds crates with cargo",
    "mesh": "a real Envoy on this computer",
    "notebooks": "every notebook, headless",
    "setup": "this command itself, in throw-away clones",
}

_EXIT = "exit status: 0 all well; 1 a failure that is explained; 2 wrong usage; 130 interrupted"


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; every one has its own --help."""
    top = argparse.ArgumentParser(
        prog="workbook",
        description="Extend Istio with WebAssembly: a workbook that runs on this one computer. "
        "Each command first sets up what is missing and says what that is.",
        epilog=_EXIT,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, epilog=_EXIT)

    lab = add("lab", "open the notebooks in JupyterLab; ending it ends what they started")
    lab.add_argument("--no-browser", action="store_true", help="print the address only")
    lab.add_argument("--port", type=_port, default=0, help="a fixed port (default: a free one)")

    run = add("run", "execute the notebooks headless and report what was verified")
    run.add_argument(
        "--notebook", nargs="+", action="extend", metavar="NN", default=None,
        help="only these, by number, such as: --notebook 05 07",
    )
    run.add_argument(
        "--mesh", choices=["local"], default="local", help="where modules are deployed"
    )
    run.add_argument(
        "--cell-timeout", type=_seconds, default=600.0, metavar="SECONDS",
        help="the longest that one cell may take (default: 600)",
    )

    test = add("test", "lint, type-check and test; arguments after -- go to pytest")
    for suite, needs in SUITES.items():
        test.add_argument(
            f"--{suite}", dest="suites", action="append_const", const=suite, help=needs
        )
    test.add_argument("pytest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    scenarios = add("scenarios", "run what the plugins must do (plugins/*/scenarios.yaml)")
    scenarios.add_argument(
        "plugins", nargs="*", metavar="PLUGIN",
        help="a plugin's folder name, or a path to a scenarios.yaml (default: all)",
    )
    scenarios.add_argument(
        "--on", choices=["sandbox", "local"], default="sandbox",
        help="in this process, or on a real Envoy on this computer (default: sandbox)",
    )
    scenarios.add_argument(
        "--module", type=Path, default=None, metavar="PATH",
        help="the .wasm to run them with (default: it is built)",
    )

    bench = add("bench", "measure, each figure with the naive way beside it")
    bench.add_argument("names", nargs="*", metavar="NAME", help="only these benches")

    add("doctor", "look at this computer and print one report to paste")
    add("setup", "set up everything and stop: for the evening before a workshop")

    clean = add("clean", "stop what the workbook started and remove its state")
    clean.add_argument(
        "--all", action="store_true",
        help="also the environment and the compiled crates; never workspace/ or notebooks/",
    )

    reset = add("reset", "bring a pristine notebook back; the old one is kept aside")
    reset.add_argument("notebook", metavar="NN", help="its number, such as 05")
    return top


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read `argv`; all after a lone `--` is kept for pytest.

    Raises:
        SystemExit: status 2 for wrong usage, 0 after --help.
    """
    words = list(argv)
    rest: list[str] = []
    if "--" in words:
        cut = words.index("--")
        words, rest = words[:cut], words[cut + 1 :]
    options = parser().parse_args(words)
    if rest or options.command == "test":
        if options.command != "test":
            parser().error("only `test` takes arguments after --")
        if options.pytest:
            parser().error(f"put -- before what pytest is to read: -- {' '.join(options.pytest)}")
        options.pytest = rest
    return options


def _port(text: str) -> int:
    value = int(text) if text.isdecimal() else -1
    if not 1024 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1024 to 65535")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value
