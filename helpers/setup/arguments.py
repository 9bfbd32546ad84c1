"""The command line of `./workbook`, read by the bootstrap and by helpers.cli alike."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

#: The kinds of tests, in the order in which they run, and what each needs.
SUITES = {
    "unit": "no network, no Envoy",
    "toolchain": "builds crates with cargo",
    "mesh": "a real Envoy on this computer",
    "notebooks": "every notebook, headless",
    "setup": "this command itself, in throw-away clones",
    "cluster": "a real Kubernetes with a real Istio, built and ended here: root on Linux, "
    "20 minutes or more where nothing is built yet; only when it is asked for",
}

#: Those that run when none is named. The cluster's are slow and need root.
DEFAULT_SUITES = tuple(name for name in SUITES if name != "cluster")

#: Where modules are deployed.
MESHES = ("local", "cluster")

#: Who brings a cluster up: `helpers.cluster.bare` without a container engine, or kind.
PROVIDERS = ("bare", "kind")

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
    _mesh_options(lab)

    run = add("run", "execute the notebooks headless and report what was verified")
    run.add_argument(
        "--notebook", nargs="+", action="extend", metavar="NN", default=None,
        help="only these, by number, such as: --notebook 05 07",
    )
    _mesh_options(run)
    run.add_argument(
        "--cell-timeout", type=_seconds, default=600.0, metavar="SECONDS",
        help="the longest that one cell may take (default: 600)",
    )

    test = add("test", "lint, type-check and test; arguments after -- go to pytest")
    for suite, needs in SUITES.items():
        test.add_argument(
            f"--{suite}", dest="suites", action="append_const", const=suite, help=needs
        )
    test.add_argument(
        "--keep-cluster", action="store_true",
        help="with --cluster: use a cluster that is up already, and leave it up",
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

    cluster = add("cluster", "a cluster of your own on this computer: up, status, down")
    steps = cluster.add_subparsers(dest="step", metavar="STEP", required=True)
    up = steps.add_parser(
        "up", help="bring it up; what was done already is not done again", epilog=_EXIT
    )
    up.add_argument(
        "--provider", choices=PROVIDERS, default=None,
        help="bare: no container engine needed, root on Linux; kind: Docker or Podman, and kind "
        "(default: bare for root on Linux where no engine answers, else kind)",
    )
    up.add_argument(
        "--images", choices=["public", "ours"], default="public",
        help="with kind: whose Bookinfo (default: Istio's public images)",
    )
    steps.add_parser("status", help="what is healthy and what is not, part by part", epilog=_EXIT)
    down = steps.add_parser("down", help="end it and remove what it made", epilog=_EXIT)
    down.add_argument(
        "--cache", action="store_true",
        help="also what was downloaded and built for it; the next `up` takes long again",
    )

    add("doctor", "look at this computer and print one report to paste")
    add("setup", "set up everything and stop: for the evening before a workshop")

    clean = add("clean", "stop what the workbook started and remove its state")
    clean.add_argument(
        "--all", action="store_true",
        help="also the environment and the compiled crates; never workspace/ or notebooks/",
    )
    _mesh_options(
        clean,
        mesh="local: this computer; cluster: what the workbook made in a cluster "
        "(default: local; a cluster is never touched by a clean that does not name it)",
    )

    reset = add("reset", "bring a pristine notebook back; the old one is kept aside")
    reset.add_argument("notebook", metavar="NN", help="its number, such as 05")
    return top


def _mesh_options(
    command: argparse.ArgumentParser, mesh: str = "where modules are deployed (default: local)"
) -> None:
    command.add_argument("--mesh", choices=MESHES, default="local", help=mesh)
    group = command.add_argument_group("with --mesh cluster")
    group.add_argument(
        "--kubeconfig", type=_file, metavar="FILE",
        help="default: the cluster of `./workbook cluster up` where there is one, else "
        "KUBECONFIG, else ~/.kube/config",
    )
    group.add_argument("--context", metavar="NAME", help="default: the kubeconfig's current one")
    group.add_argument(
        "--namespace", type=_namespace, metavar="NAME",
        help="a learner's own, made when it is not there (default: default)",
    )
    group.add_argument(
        "--images", type=_images, metavar="PREFIX",
        help="takes the place of docker.io/istio in the names of Bookinfo's images",
    )
    group.add_argument("--yes", action="store_true", help="do not ask before the first change")


#: The options that only --mesh cluster knows.
_OF_A_CLUSTER = ("kubeconfig", "context", "namespace", "images", "yes")


def _combinations(options: argparse.Namespace) -> str:
    """What is wrong about options that are fine one by one; empty when nothing is."""
    given = [name for name in _OF_A_CLUSTER if getattr(options, name, None)]
    if options.command in ("run", "lab", "clean"):
        if options.mesh != "cluster" and given:
            return f"--{given[0]} is for --mesh cluster"
        if options.command == "clean" and options.all and options.mesh == "cluster":
            return "--all is about this computer: leave --mesh cluster out, or clean twice"
    if (options.command, getattr(options, "step", "")) == ("cluster", "up") and (
        options.provider == "bare" and options.images == "ours"
    ):
        return "--images ours is for --provider kind: bare always uses ours"
    if options.command == "test" and options.keep_cluster and "cluster" not in (
        options.suites or ()
    ):
        return "--keep-cluster is for --cluster"
    return ""


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
    if wrong := _combinations(options):
        parser().error(wrong)
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


def _file(text: str) -> Path:
    path = Path(text).expanduser().resolve()  # a kernel runs in another folder
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _namespace(text: str) -> str:
    if len(text) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a namespace: lower-case letters, digits and '-', at most 63"
        )
    return text


def _images(text: str) -> str:
    prefix = text.rstrip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._:-]*(/[a-z0-9._-]+)*", prefix):
        raise argparse.ArgumentTypeError(f"{text!r} is no prefix such as registry.example/bookinfo")
    return prefix
