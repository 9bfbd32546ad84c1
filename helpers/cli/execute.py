"""Execute one notebook headless, exactly as `run` and the tests do."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from helpers.errors import WorkbookError

#: Seconds a kernel has to answer an interrupt before it is killed.
_INTERRUPT_SECONDS = 5.0


class CellFailed(WorkbookError):
    """A cell of a notebook raised."""


class CellTimeout(WorkbookError):
    """A cell took longer than it may."""


class KernelDied(WorkbookError):
    """The kernel ended in the middle of a notebook."""


class _OwnKernels(KernelSpecManager):
    """Only the kernel of this very environment: a user's own "python3" must not shadow it."""

    def _kernel_dirs_default(self) -> list[str]:
        return []


class _OwnKernelManager(AsyncKernelManager):
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _OwnKernels(kernel_dirs=[])

    def _transport_encryption_default(self) -> str:
        # Others on this machine must not read a cell's output from the loopback interface.
        return "auto"


@dataclass
class Progress:
    """How far a notebook is; written by the worker, read by whoever shows it.

    Attributes:
        done: code cells that have ended.
        total: code cells with something in them.
        title: the first words of the cell that runs now.
    """

    total: int
    done: int = 0
    title: str = ""


@dataclass(frozen=True)
class Executed:
    """A notebook that was executed as far as it went.

    Attributes:
        path: the source, which is never written to.
        notebook: with its outputs.
        cells: code cells that ran to their end, of `total`.
        seconds: wall time.
        failure: why it stopped, or None.
    """

    path: Path
    notebook: Any
    cells: int
    total: int
    seconds: float
    failure: WorkbookError | None


def execute(
    path: Path,
    *,
    env: dict[str, str],
    cell_timeout: float = 600.0,
    tick: Callable[[Progress], None] = lambda _: None,
) -> Executed:
    """Execute the notebook at `path` from top to bottom in a kernel of its own.

    Args:
        env: added to our environment, such as WORKBOOK_STATE.
        cell_timeout: seconds that a single cell may take.
        tick: called about five times a second in the caller's thread.

    Raises:
        BadNotebook: it cannot be read. What goes wrong in a cell is in `failure`.
        KeyboardInterrupt, SystemExit: passed on after the kernel has ended.
    """
    notebook = _read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    progress = Progress(total=len(code))

    def started(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            progress.title = cell.source.strip().splitlines()[0] if cell.source.strip() else ""

    def ended(cell: Any, cell_index: int, execute_reply: Any) -> None:
        if execute_reply["content"]["status"] == "ok":
            progress.done += 1

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=_OwnKernelManager,
        timeout=cell_timeout,
        startup_timeout=120,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=started,
        on_cell_executed=ended,
        ipython_hist_file=":memory:",
    )
    caught: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(client.async_execute(env={**os.environ, **env}))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            caught.append(error)

    begun = time.monotonic()
    # In a thread, because nbclient takes over SIGINT and SIGTERM in the main one, and a
    # cancelled run then would look like a dead kernel.
    worker = threading.Thread(target=work, name="nbclient", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(0.2)
            tick(progress)
    except BaseException:
        _end_kernel(client)
        worker.join(15)
        raise
    failure = _explained(path, progress, caught[0], cell_timeout) if caught else None
    return Executed(path, notebook, progress.done, progress.total, time.monotonic() - begun,
                    failure)


class BadNotebook(WorkbookError):
    """A file is not a notebook that can be executed."""


def _read(path: Path) -> Any:
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise BadNotebook(
            f"{path.name} cannot be read as a notebook",
            cause=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix=f"./workbook reset {path.name[:2]}",
        ) from error


def _explained(
    path: Path, progress: Progress, error: BaseException, cell_timeout: float
) -> WorkbookError:
    where = f"{path.name}, code cell {progress.done + 1} of {progress.total} ({progress.title})"
    look = f"open {path.name} with ./workbook lab and run that cell"
    if isinstance(error, CellTimeoutError):
        return CellTimeout(
            f"{where} took longer than {cell_timeout:.0f} s",
            cause="it hangs, or this machine is slow or busy",
            fix="run again with a longer --cell-timeout",
        )
    if isinstance(error, CellExecutionError):
        return CellFailed(f"{where} raised {error.ename}", cause=_plain(str(error.evalue)),
                          fix=look, detail=_plain(error.traceback))
    if isinstance(error, DeadKernelError):
        return KernelDied(f"the kernel died in {where}",
                          cause="it was killed (too little memory?) or crashed", fix=look)
    if isinstance(error, Exception):
        return KernelDied(f"the kernel could not execute {where}",
                          cause=f"{type(error).__name__}: {error}", fix=look)
    raise error


def _plain(text: str) -> str:
    """Without the colours that IPython writes into a traceback."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _end_kernel(client: Any) -> None:
    """Interrupt the cell, so that it ends what it started, then end the kernel."""
    pid = getattr(getattr(client.km, "provisioner", None), "pid", None)
    if pid is None:
        return
    try:
        kernel = psutil.Process(pid)
        family = kernel.children(recursive=True)
        if sys.platform != "win32":
            kernel.send_signal(signal.SIGINT)
            deadline = time.monotonic() + _INTERRUPT_SECONDS
            # shell.run answers an interrupt by ending its program; wait for that.
            while time.monotonic() < deadline and any(child.is_running() for child in family):
                time.sleep(0.1)
        kernel.kill()
    except psutil.NoSuchProcess:
        return
