"""What a plugin must do, written once in YAML and run on the sandbox and on a real Envoy.

    for scenario in scenarios.load("plugins/header-logger"):
        print(scenarios.run(scenario, on="sandbox"))
"""

from helpers.scenarios.checks import Check
from helpers.scenarios.errors import BadScenario
from helpers.scenarios.format import Scenario
from helpers.scenarios.outcome import Outcome
from helpers.scenarios.reading import load
from helpers.scenarios.running import known, module_of, run

__all__ = ["BadScenario", "Check", "Outcome", "Scenario", "known", "load", "module_of", "run"]
