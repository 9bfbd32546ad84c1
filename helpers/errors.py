"""The errors that a learner can meet, each with a cause and a fix.

Every expected failure in this package is a `WorkbookError`. It names the value at
fault, says why it is wrong and what to do next, so that a notebook cell, the command
line and a log file can all print the same helpful text.
"""

from __future__ import annotations

import html

# rustc points with carets: on an exported page a bare <pre> has no font of equal widths.
_PRE = "font-family:monospace;white-space:pre-wrap;overflow-wrap:anywhere"


class WorkbookError(Exception):
    """A failure that we understand.

    Args:
        what: one sentence that names the value at fault.
        cause: why it happened, in the field's own terms.
        fix: what to type or change next.
        detail: longer material as it was printed (rustc's message, log lines); kept whole.
    """

    def __init__(self, what: str, *, cause: str = "", fix: str = "", detail: str = "") -> None:
        self.what = what
        self.cause = cause
        self.fix = fix
        self.detail = detail
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.cause:
            lines.append(f"  Cause: {self.cause}")
        if self.fix:
            lines.append(f"  Fix:   {self.fix}")
        if self.detail:
            lines.append(self.detail.rstrip())
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.cause, self.fix, self.detail))

    # IPython calls this instead of printing a traceback: an expected failure is a lesson,
    # not a crash, and twenty frames of our own code would hide it.
    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {line}" if i == 0 else line
                for i, line in enumerate(str(self).splitlines())]

    def _repr_html_(self) -> str:
        rows = [f"<b>{html.escape(type(self).__name__)}</b>: {html.escape(self.what)}"]
        if self.cause:
            rows.append(f"<b>Cause</b>: {html.escape(self.cause)}")
        if self.fix:
            rows.append(f"<b>Fix</b>: {html.escape(self.fix)}")
        if self.detail:
            rows.append(f"<pre style='{_PRE}'>{html.escape(self.detail)}</pre>")
        return "<div role='alert'>" + "<br>".join(rows) + "</div>"


def _rebuild(
    cls: type[WorkbookError], what: str, cause: str, fix: str, detail: str
) -> WorkbookError:
    error = cls.__new__(cls)
    WorkbookError.__init__(error, what, cause=cause, fix=fix, detail=detail)
    return error


class CommandFailed(WorkbookError):
    """A program that we started ended with a status other than 0."""


class Cancelled(WorkbookError):
    """The learner stopped a long piece of work; what it had started was ended."""


class ToolchainMissing(WorkbookError):
    """No toolchain on this machine can build for wasm32-unknown-unknown."""


class BuildFailed(WorkbookError):
    """cargo or rustc refused the crate; `detail` holds their own words."""


class BadModule(WorkbookError):
    """A file is not a Wasm module that Envoy could load."""


class BadManifest(WorkbookError):
    """A manifest that the API server would refuse; `field` is the path of the value at fault."""

    field: str = ""


class NotFound(WorkbookError):
    """The object, pod, namespace or file that was asked for is not there."""


class AlreadyExists(WorkbookError):
    """An object of that kind and name is there already."""


class NotModelled(WorkbookError):
    """The local mesh does not do this; a real cluster does."""


class MeshDown(WorkbookError):
    """A process of the mesh has ended when it should run; `detail` has its last log lines."""


class NotReady(WorkbookError):
    """Something did not become ready in time; `detail` says how far it came."""


class BadState(WorkbookError):
    """A state file is damaged or was written by another version of the workbook."""


class Busy(WorkbookError):
    """Another process of the workbook holds what this one needs."""


class BadInput(WorkbookError):
    """An argument is outside what the function takes."""
