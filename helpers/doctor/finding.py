"""What one check of this computer found."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was looked at.
        outcome: "ok"; "warn" where the workbook works with less; "fail" where it does not work.
        found: what is there.
        fix: what to type or change; empty when all is well.
    """

    check: str
    outcome: Outcome
    found: str
    fix: str = ""


Check = Callable[[], Sequence[Finding]]

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_SECRETS = re.compile(
    r"\b((?:\w*(?:token|password|passwd|secret|api[_-]?key))\s*[=:]\s*)\S+", re.IGNORECASE
)


def scrub(text: str) -> str:
    """`text` without what nobody should paste: home folder, user name, credentials."""
    text = _CREDENTIALS.sub("", text)
    text = _SECRETS.sub(r"\1…", text)
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(re.escape(home) + r"(?![\w.-])", "~", text)
    user = _user()
    # Short names would hit ordinary words; root's name tells nothing about anybody.
    if len(user) > 2 and user != "root":
        text = re.sub(rf"(?<![\w-]){re.escape(user)}(?![\w-])", "USER", text)
    return text


def scrubbed(finding: Finding) -> Finding:
    """The finding without home folder, user name and credentials."""
    return replace(finding, found=scrub(finding.found), fix=scrub(finding.fix))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, as in some containers
        return ""
