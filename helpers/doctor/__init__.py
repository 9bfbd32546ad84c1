"""Two questions with an answer that says what to do: is this computer fit, and why no log line?

`report()` looks at the computer before anything else is tried. `why_no_log(mesh)` follows a
request through the layers between the pod and the log line, and stops at the first that fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from helpers.doctor.checkup import DoctorReport, report
from helpers.doctor.diagnosis import Diagnosis, why_no_log

__all__ = ["Diagnosis", "DoctorReport", "main", "report", "why_no_log"]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report, as `./workbook doctor` does; 1 when a check failed, 0 otherwise.

    Args:
        argv: there are no options; here so that it can be called like any other command.
    """
    found = report()
    print(found.text)
    return 1 if found.failed else 0
