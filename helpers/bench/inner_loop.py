"""The inner loop: a line of the filter is edited; how long until its new text is in the log?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from helpers import cargo, files, paths, steps
from helpers import crate as crates
from helpers.bench.figures import Bars, Figure, Measured, Spread
from helpers.bench.place import scratch
from helpers.crate import Crate
from helpers.errors import NotReady, WorkbookError
from helpers.mesh import open_mesh
from helpers.mesh.base import Mesh

GOAL_SECONDS = 2.0
_NAME = "inner-loop"
_TEXT = "User-Agent: "
_SOURCE = "src/filter.rs"
_LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Parts:
    """One turn of the loop, in seconds.

    Attributes:
        build: cargo build.
        delivered: from the module to the new file in the sidecar.
        loaded: from there until Envoy took the new module (or the new pod was ready).
        first_line: from there until the new text was in the log, with the request.
    """

    build: float
    delivered: float
    loaded: float
    first_line: float

    @property
    def total(self) -> float:
        """From the edit to the line."""
        return self.build + self.delivered + self.loaded + self.first_line


class Stuck(WorkbookError):
    """The new module was deployed, but its text did not come."""


def bench(
    *, rounds: int = 7, say: Callable[[str], None] = lambda _: None, folder: Path | None = None
) -> Measured:
    """Edit, build, deliver, request, read the line; our way and the article's in turn.

    Args:
        rounds: turns of each way, after one build that compiles what never changes.
        say: told how far it is.
        folder: another place for state and workspace, for tests.
    """
    ours: list[Parts] = []
    naive: list[Parts] = []
    with scratch(folder):
        crate, source = make_crate()
        say("the first build compiles the dependencies")
        cargo.build(crate, sink=None)
        first = cargo.build(crate, incremental=True, sink=None)
        mesh = open_mesh()
        steps.start_from(mesh, "deployed", wasm=first.module)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            ours.append(turn(mesh, crate, source, f"ours {number}: ", annotate, incremental=True))
            naive.append(
                turn(mesh, crate, source, f"rollout {number}: ", rollout, incremental=False))
    return summary(ours, naive)


def make_crate() -> tuple[Crate, str]:
    """header-logger as a crate of the scratch workspace, and the source that is edited.

    Raises:
        Stuck: the source has no line to edit any more.
    """
    home = paths.workspace() / _NAME
    crate = Crate(_NAME, home)
    texts = crates.plugin_sources("header-logger", _NAME)
    for name, text in texts.items():
        crates.write_file(crate, name, text)
    lock = (paths.plugins() / "Cargo.lock").read_bytes()
    files.write_atomic(home / "Cargo.lock", lock)
    source = texts.get(_SOURCE, "")
    if f'"{_TEXT}"' not in source:
        raise Stuck(f"header-logger's {_SOURCE} has no text {_TEXT!r} to edit",
                    cause="the plugin was changed", fix="name its new text in this bench")
    return crate, source


def turn(
    mesh: Mesh,
    crate: Crate,
    source: str,
    text: str,
    deliver: Callable[[Mesh, Path], tuple[float, float]],
    *,
    incremental: bool,
    line: Callable[[Mesh, str], None] | None = None,
) -> Parts:
    """One turn: `text` replaces what the filter logs before the User-Agent.

    Args:
        deliver: brings the module to the mesh; gives the seconds until it was delivered and,
            from there, until it was loaded.
        incremental: whether cargo may keep what the edit did not touch.
        line: waits for the new text; `first_line` where None.
    """
    (crate.path / _SOURCE).write_text(source.replace(f'"{_TEXT}"', f'"{text}"'), encoding="utf-8")
    begun = time.perf_counter()
    module = cargo.build(crate, incremental=incremental, sink=None).module
    built = time.perf_counter()
    delivered, loaded = deliver(mesh, module)
    ready = time.perf_counter()
    (line or first_line)(mesh, text)
    return Parts(built - begun, delivered, loaded, time.perf_counter() - ready)


def annotate(mesh: Mesh, module: Path) -> tuple[float, float]:
    """Our way: replace the ConfigMap, change an annotation of the WasmPlugin; no rollout."""
    begun = time.perf_counter()
    done = steps.deploy(mesh, module)
    return done.delivered, time.perf_counter() - begun - done.delivered


def rollout(mesh: Mesh, module: Path) -> tuple[float, float]:
    """The article's way: replace the ConfigMap, restart the Deployment, set the level again."""
    begun = time.perf_counter()
    steps.create_configmap(mesh, module)
    delivered = time.perf_counter() - begun
    mesh.restart(steps.DEPLOYMENT)
    mesh.wait_ready(steps.DEPLOYMENT)
    mesh.set_log_level("wasm:info")  # a new pod has Istio's default level
    return delivered, time.perf_counter() - begun - delivered


def first_line(mesh: Mesh, text: str) -> None:
    """Send requests until a line with `text` is in the log.

    Raises:
        Stuck: there is none after 30 s.
    """
    deadline = time.monotonic() + _LINE_SECONDS
    while True:
        answer = steps.curl(mesh)
        try:
            steps.wait_for_log(mesh, text, timeout=1.0)
        except NotReady as error:
            # A worker may answer once more with the old module.
            if time.monotonic() > deadline:
                raise Stuck(
                    f"no line with {text!r} within {_LINE_SECONDS:.0f} s; the last answer was "
                    f"{answer.status}",
                    cause="Envoy still runs the old module, or refused the new one",
                    fix="the last log lines are below",
                    detail=error.detail,
                ) from error
            continue
        return


def summary(ours: list[Parts], naive: list[Parts]) -> Measured:
    """Figures from the turns."""
    total = Spread.of([parts.total for parts in ours])
    slow = Spread.of([parts.total for parts in naive])
    names = [one.name for one in fields(Parts)]
    medians = {
        way: {name: statistics.median(getattr(parts, name) for parts in turns) for name in names}
        for way, turns in (("ours", ours), ("rollout", naive))
    }

    def part(name: str, label: str, naive_way: str = "rollout restart") -> Figure:
        return Figure(
            name=label, unit="s", naive_way=naive_way,
            ours=Spread.of([getattr(parts, name) for parts in ours]),
            naive=Spread.of([getattr(parts, name) for parts in naive]),
        )

    return Measured(
        name="inner-loop",
        title="Edit, build, delivered, loaded, first log line (header-logger, release)",
        figures=(
            Figure(name="edit to first log line", unit="s", ours=total, naive=slow,
                   naive_way="the article's build, then rollout restart", goal=GOAL_SECONDS),
            part("build", "  build (CARGO_INCREMENTAL=1)", "cargo build --release as it is"),
            part("delivered", "  delivered (file in the sidecar)"),
            part("loaded", "  loaded by Envoy, or new pod ready"),
            part("first_line", "  request and first line"),
        ),
        bars=Bars.of(
            "From an edit to the first log line",
            {f"{way}: {name.replace('_', ' ')}": value
             for way, found in medians.items() for name, value in found.items()}
            | {"ours: all": total.median, "rollout: all": slow.median},
            unit="s", baseline="ours: all",
        ),
        notes=(
            "both ways build the same edit in the release profile; the rollout delivers the file "
            "with its new pod, so that time counts as loaded",
            "a cluster's kubelet takes up to a minute more to bring a changed ConfigMap into a "
            "running pod; the local mesh does it at once",
        ),
    )
