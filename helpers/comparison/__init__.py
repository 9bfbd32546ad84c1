"""Does the local mesh compute what a real istiod sends, and refuse what a real API server does?

    python -m helpers.comparison --mesh local,cluster --seed 1

`sets` makes up WasmPlugins and TrafficExtensions, `doubtful` objects that an API server may
refuse; `running` puts them on a mesh, `reading` reads the sidecar's configuration back,
`compare` says what differs and holds what is left out and what is kept, with the reason.
`docs/cluster-comparison.md` has the table.
"""

from helpers.comparison.compare import differences
from helpers.comparison.model import Item, PluginSet
from helpers.comparison.reading import Seen
from helpers.comparison.sets import generate

__all__ = ["Item", "PluginSet", "Seen", "differences", "generate"]
