"""What every mesh does, on the local mesh."""

from contract.objects import *  # noqa: F403
from contract.traffic import *  # noqa: F403
