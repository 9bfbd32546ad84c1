"""`workbook test`: one pytest run, so that its last line tells the whole story."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from helpers import paths
from helpers.errors import BadInput, Busy, NotReady
from helpers.setup.arguments import DEFAULT_SUITES, SUITES


def pytest_arguments(suites: Sequence[str] | None, more: Sequence[str]) -> list[str]:
    """What pytest is given: the folders of `suites` in their order, then `more`.

    None stands for all suites but the cluster's, which has to be asked for. Lint and types are
    tests, too (tests/unit/test_environment_lint.py).

    Raises:
        BadInput: a suite has no folder in this clone.
    """
    chosen = [name for name in SUITES if name in (suites or DEFAULT_SUITES)]
    folders = [paths.ROOT / "tests" / name for name in chosen]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise BadInput(
            f"{paths.shown(missing[0])} is not there",
            cause="the clone is not complete",
            fix="get the whole repository again",
        )
    return [*(str(folder) for folder in folders), *more]


def test(suites: Sequence[str] | None, more: Sequence[str], *, keep_cluster: bool) -> int:
    """Run the tests; pytest's exit status.

    With the suite "cluster", a cluster is brought up first, and ended afterwards whatever
    became of the tests.

    Args:
        keep_cluster: use a cluster that is up already, and leave it up.

    Raises:
        Busy: a cluster is up already, and nobody said that it may be used.
        WorkbookError: the cluster did not come up, or left something behind.
    """
    arguments = pytest_arguments(suites, more)
    if "cluster" not in (suites or ()):
        return _pytest(arguments)
    with own_cluster(keep=keep_cluster):
        return _pytest(arguments)


@contextlib.contextmanager
def own_cluster(*, keep: bool) -> Iterator[None]:
    """A bare cluster for the tests' time; see `test`."""
    from helpers import cluster
    from helpers.cluster.bare import host

    if (paths.HOME / "cluster" / "kubeconfig").exists() and not keep:
        raise Busy(
            "a cluster is up already",
            cause="the tests stage faults in it and end it afterwards: it may be somebody's",
            fix="./workbook cluster down; or --keep-cluster, which uses it and leaves it up",
        )
    before = host.snapshot()
    try:
        print(cluster.up(provider="bare", say=lambda text: print(text, flush=True)), flush=True)
        yield
    finally:
        if not keep:
            print(cluster.down(), flush=True)
    if not keep and (left := host.difference(before, host.snapshot())):
        raise NotReady(f"the cluster left {len(left)} things behind", detail="\n".join(left),
                       cause="`down` does not know of them", fix="remove them, and report this")


def _pytest(arguments: Sequence[str]) -> int:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *arguments], cwd=paths.ROOT, env=env
    )
    try:
        return child.wait()
    except BaseException:
        # On Ctrl-C pytest got the signal, too: let it end its fixtures before we leave.
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
