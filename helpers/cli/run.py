"""`workbook run`: all notebooks, headless, with a summary of what was verified."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from helpers import evidence, paths, processes
from helpers.cli import outcome, report
from helpers.cli.agree import agree
from helpers.cli.alone import Alone
from helpers.cli.clean import clear
from helpers.cli.execute import BadNotebook, Progress, execute
from helpers.cli.memory import Peak
from helpers.cli.outcome import Outcome
from helpers.cli.where import Where
from helpers.cli.witness import Witness
from helpers.errors import BadInput
from helpers.mesh.local import caretaker
from helpers.setup.pristine import all_notebooks

_PLAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Places:
    """Where a run writes.

    Attributes:
        state: the mesh's state; made afresh.
        workspace: the crates and manifests that notebooks make; made afresh.
        report: the HTML report.
    """

    state: Path
    workspace: Path
    report: Path


def own_places(mesh: str = "local") -> Places:
    """Those of `workbook run`: never a learner's lab or workspace."""
    of_cluster = "-cluster" if mesh == "cluster" else ""
    return Places(paths.HOME / f"run{of_cluster}", paths.ROOT / "workspace" / "run",
                  paths.ROOT / "workspace" / f"report{of_cluster}")


def chosen(numbers: Sequence[str] | None, folder: Path | None = None) -> list[Path]:
    """The notebooks with these numbers, in the workbook's order; all when None.

    Raises:
        BadInput: a number has no notebook, or there are no notebooks at all.
    """
    known = all_notebooks(folder)
    if not known:
        raise BadInput("there are no notebooks", cause="the clone is not complete",
                       fix="get the whole repository again")
    if numbers is None:
        return known
    wanted: set[Path] = set()
    for number in numbers:
        prefix = f"{int(number):02d}_" if number.isascii() and number.isdecimal() else "\0"
        found = [path for path in known if path.name.startswith(prefix)]
        if not found:
            raise BadInput(f"there is no notebook {number!r}",
                           fix="one of: " + ", ".join(path.name[:2] for path in known))
        wanted.update(found)
    return sorted(wanted)


def run(numbers: Sequence[str] | None, *, where: Where, cell_timeout: float) -> int:
    """Execute, show, summarise; 0 when everything promised was verified, else 1.

    On a cluster it asks first, once, and at the end, also when it is cancelled, it removes
    what the workbook made there and says what it left.

    Raises:
        Busy: another `run` is going on in this clone.
        BadInput: there is no such notebook.
        Cancelled: the cluster may not be changed.
        WorkbookError: the cluster cannot be reached.
    """
    notebooks = chosen(numbers)
    places = own_places(where.mesh)
    with Alone("run", holding="a run of the notebooks"):
        begun = time.monotonic()
        peak = Peak(places.state)
        shown = Shown()
        with witness_of(where, shown) as witness:
            outcomes = execute_all(
                notebooks, places=places, mesh=where.mesh, env=where.environment(), peak=peak,
                show=shown, cell_timeout=cell_timeout,
                after=witness.look if witness else lambda name, since: None,
            )
    failed = [one for one in outcomes if not one.passed]
    lines = [
        f"{len(outcomes) - len(failed)} of {len(outcomes)} notebooks passed, "
        f"{sum(check.passed for one in outcomes for check in one.checks)} checks verified, "
        f"in {time.monotonic() - begun:.0f} s; at most {peak.bytes / 1e6:.0f} MB of memory "
        "(resident, everything that ran)",
    ]
    index = report.write_index(places.report, outcomes, lines,
                               more=witness.section() if witness else "")
    if witness:
        print(f"\n{witness.text()}\n")
    _summary(outcomes, [*lines, f"report: {paths.shown(index)}"])
    return 1 if failed or (witness and not witness.clean) else 0


@contextlib.contextmanager
def witness_of(where: Where, shown: Shown) -> Iterator[Witness | None]:
    """Who looks at the cluster during a run, and cleans it afterwards; None on this computer."""
    if not where.is_cluster:
        try:
            yield None
        finally:
            shown.close()
        return
    mesh = agree(where)
    witness = Witness(mesh, about=mesh.describe().text,
                      again=f"./workbook clean {where.again()}")
    try:
        yield witness
    finally:
        shown.close()
        print("removing what this run made in the cluster", flush=True)
        witness.end()


def execute_all(
    notebooks: Sequence[Path],
    *,
    places: Places,
    mesh: str = "local",
    env: Mapping[str, str] | None = None,
    cell_timeout: float = 600.0,
    peak: Peak | None = None,
    show: Callable[[str, Progress | None], None] = lambda name, progress: None,
    after: Callable[[str, float], None] = lambda name, since: None,
) -> list[Outcome]:
    """Execute `notebooks` in order, each in a kernel of its own, on one mesh of their own.

    What runs on this computer is ended at the end, and also when this is cancelled; a cluster
    is cleaned by the caller.

    Args:
        env: added to the kernels' environment: which cluster.
        after: called behind each notebook with its name and when it began, in seconds since
            the epoch.
    """
    for line in clear(places.state):
        show(f"from an earlier run: {line}", None)
    if places.workspace.exists():
        shutil.rmtree(places.workspace)
    for folder in (places.state, places.workspace, places.report):
        folder.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    try:
        for path in notebooks:
            began = time.time()
            kernel = {
                **(env or {}),
                "WORKBOOK_STATE": str(places.state),
                "WORKBOOK_WORKSPACE": str(places.workspace),
                "WORKBOOK_NOTEBOOK": path.name[:2],
                "WORKBOOK_MESH": mesh,
                # Killed with SIGKILL, this process cannot clean up; the mesh's caretaker does.
                caretaker.OWNER_VARIABLE: caretaker.owner_token(),
                # A learner's own start-up files must not change what is verified.
                "IPYTHONDIR": str(places.state / "ipython"),
            }
            outcomes.append(_one(path, kernel, places, cell_timeout, peak, show))
            after(path.stem, began)
    finally:
        # The caretaker last: should a second Ctrl-C come now, it ends what is left.
        processes.Registry(places.state).stop_all(last=caretaker.NAME)
    return outcomes


def _one(
    path: Path,
    env: dict[str, str],
    places: Places,
    cell_timeout: float,
    peak: Peak | None,
    show: Callable[[str, Progress | None], None],
) -> Outcome:
    def tick(progress: Progress) -> None:
        if peak is not None:
            peak.look()
        show(path.stem, progress)

    try:
        done = execute(path, env=env, cell_timeout=cell_timeout, tick=tick)
    except BadNotebook as error:
        return Outcome(path.stem, 0, 0, 0.0, (), (str(error),), reported=False)
    record = places.state / "evidence.jsonl"
    checks = tuple(check for check in evidence.read(record) if check.notebook == path.name[:2])
    report.write_notebook(places.report, path.stem, done.notebook)
    found = outcome.problems(outcome.promised(done.notebook), checks, done.failure)
    show(f"{path.stem}: {'passed' if not found else 'FAILED'}, {done.cells} of {done.total} "
         f"cells, {done.seconds:.1f} s", None)
    return Outcome(path.stem, done.cells, done.total, done.seconds, checks, found, reported=True)


class Shown:
    """Progress: one moving line on a terminal; elsewhere a line for each cell that takes long."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._said = (0.0, "")

    def __call__(self, name: str, progress: Progress | None) -> None:
        if progress is None:
            self.close()
            self._console.print(name, soft_wrap=True)
            return
        text = f"{name}: cell {min(progress.done + 1, progress.total)} of {progress.total}  "
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, transient=True, refresh_per_second=5)
                self._live.start()
            self._live.update((text + progress.title)[: self._console.width - 1])
            return
        then, last = self._said
        now = time.monotonic()
        if last != name or now - then >= _PLAIN_SECONDS:
            self._said = (now, name)
            print(text + progress.title, flush=True)

    def close(self) -> None:
        """Take the moving line away; it hides the terminal's cursor as long as it is there."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _summary(outcomes: Sequence[Outcome], lines: Sequence[str]) -> None:
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120"))
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    table = Table("notebook", "cells", "seconds", "what was verified", "outcome")
    for one in outcomes:
        table.add_row(one.name, f"{one.cells}/{one.total}", f"{one.seconds:.1f}", one.verified,
                      "passed" if one.passed else "FAILED")
    console.print(table)
    for one in outcomes:
        for problem in one.problems:
            console.print(f"{one.name}: {problem}", soft_wrap=True)
    for line in lines:
        console.print(line, soft_wrap=True)
