"""Does the sandbox agree with the real Envoy? The same cases through both, and what differs.

    python -m helpers.agreement --cases 5000

`cases` makes up requests and plugin settings, `hosts` sends them, `compare` says what differs
and holds the list of what is left out of the comparison. `docs/sandbox-agreement.md` has the
findings.
"""

from helpers.agreement.cases import Case, Filter
from helpers.agreement.compare import differences
from helpers.agreement.hosts import Hosts, Outcome

__all__ = ["Case", "Filter", "Hosts", "Outcome", "differences"]
