"""One report on this computer, to read and to paste."""

from __future__ import annotations

import html
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from helpers.doctor import computer, leftovers, tools
from helpers.doctor.finding import Check, Finding, scrub, scrubbed
from helpers.show import TableResult

COLUMNS = ("check", "outcome", "found", "fix")

#: In the order of the report; the name stands in for a check that breaks.
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "Python": computer.python,
        "disk": computer.disk,
        "memory": computer.memory,
        "ports on 127.0.0.1": computer.ports,
        "clone": computer.clone,
        "Wasm toolchain": tools.rust,
        "Envoy": tools.envoy_version,
        "Envoy's Wasm runtime": tools.envoy_runtime,
        "nix": tools.nix,
        "containers": tools.containers,
        "kubeconfig": tools.kubeconfig,
        "state": leftovers.states,
        "processes": leftovers.processes,
        "locks": leftovers.locks,
    }
)


@dataclass(frozen=True, kw_only=True)
class DoctorReport(TableResult):
    """What was found. Columns: check, outcome ("ok", "warn" or "fail"), found, fix (all str).

    `text` is the report to paste; it holds no secrets, and the home folder shows as ~.
    """

    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The checks without which the workbook does not work."""
        return tuple(found for found in self.findings if found.outcome == "fail")

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col' style='text-align:left'>{name}</th>" for name in COLUMNS)
        body = "".join(
            "<tr>"
            + "".join(
                f"<td style='text-align:left;overflow-wrap:anywhere'>{html.escape(str(cell))}</td>"
                for cell in row
            )
            + "</tr>"
            for row in self.rows
        )
        return (
            f"<div><b>{html.escape(_verdict(self.findings))}</b>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            "<details><summary>The same as text, to paste when you ask for help</summary>"
            f"<pre style='white-space:pre-wrap'>{html.escape(self.text)}</pre></details></div>"
        )


def report(checks: Mapping[str, Check] = CHECKS) -> DoctorReport:
    """Look at this computer: everything that the workbook needs, and what it only mentions.

    Nothing is changed, no network is used, no cluster is contacted. A check that breaks is
    itself a failed check with the exception's text.

    Args:
        checks: other checks by name, for tests.
    """
    begun = time.monotonic()
    findings = tuple(
        scrubbed(found) for name, check in checks.items() for found in _run(name, check)
    )
    return DoctorReport(
        command="./workbook doctor",
        text=_text(findings),
        seconds=time.monotonic() - begun,
        columns=COLUMNS,
        rows=tuple((f.check, f.outcome, f.found, f.fix) for f in findings),
        findings=findings,
    )


def _run(name: str, check: Check) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - whatever it is, the report must say so
        return [
            Finding(
                name,
                "fail",
                f"the check itself broke: {type(error).__name__}: {error}",
                "report this as a defect of the workbook, with this text",
            )
        ]


def _verdict(findings: tuple[Finding, ...]) -> str:
    failed = [found.check for found in findings if found.outcome == "fail"]
    warned = [found.check for found in findings if found.outcome == "warn"]
    if failed:
        return f"The workbook does not work here yet. Failed: {', '.join(failed)}"
    if warned:
        return f"The workbook works here. To know: {', '.join(warned)}"
    return "The workbook works here."


def _text(findings: tuple[Finding, ...]) -> str:
    width = max((len(found.check) for found in findings), default=0)
    system = scrub(f"{platform.system()} {platform.release()} {platform.machine()}")
    lines = [f"workbook doctor, {time.strftime('%Y-%m-%d')}, {system}", ""]
    for found in findings:
        lines.append(f"{found.outcome:<5} {found.check:<{width}}  {' '.join(found.found.split())}")
        if found.fix:
            lines.append(f"{'':<5} {'':<{width}}  fix: {found.fix}")
    return "\n".join([*lines, "", _verdict(findings)])
