"""What can be wrong with a file of scenarios."""

from __future__ import annotations

from helpers.errors import WorkbookError


class BadScenario(WorkbookError):
    """A file of scenarios says something that the format does not have."""
