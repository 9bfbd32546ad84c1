"""What every mesh does, on a real cluster: the very tests that the local mesh passes."""

from contract.objects import *  # noqa: F403
from contract.traffic import *  # noqa: F403
