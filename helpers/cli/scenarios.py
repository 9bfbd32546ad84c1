"""`workbook scenarios`: run what the plugins must do, and show where one does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from helpers import paths, scenarios
from helpers.errors import BadInput, NotFound, WorkbookError
from helpers.scenarios import Outcome, Scenario
from helpers.scenarios.outcome import PLACES
from helpers.scenarios.running import On
from helpers.show import duration


def run(plugins: Sequence[str], *, on: On, module: Path | None = None) -> int:
    """Run the scenarios of `plugins` (none: of all) and print what came of each; 1 if one failed.

    Args:
        plugins: folder names below plugins/, or paths of a scenarios.yaml or of its folder.
        module: the module to run them with; only for a single plugin.

    Raises:
        NotFound: there is no such plugin.
        BadScenario: a file is not of the format.
        BadInput: a module was given for several plugins.
        BuildFailed, ToolchainMissing: a module is not there and cannot be built.
    """
    wanted = list(plugins) or scenarios.known()
    if module is not None and len(wanted) != 1:
        raise BadInput("--module is for one plugin", cause=f"{len(wanted)} are to be run",
                       fix="name the plugin, too")
    found = [each for name in wanted for each in scenarios.load(find(name))]
    built: dict[tuple[str, str], Path] = {}
    failed: list[str] = []
    seconds = 0.0
    for scenario in found:
        key = (scenario.file, scenario.module_name)
        if key not in built:
            built[key] = module or scenarios.module_of(scenario)
        came = _one(scenario, on, built[key])
        if isinstance(came, Outcome):
            print(came.line, flush=True)
            seconds += came.seconds or 0.0
            if not came.passed:
                failed.append(str(came))
        else:
            print(f"FAIL  {scenario.plugin}: {scenario.name}", flush=True)
            failed.append(f"{scenario.plugin}: {scenario.name}\n{came}")
    for text in failed:
        print(f"\n{text}")
    count = len(found)
    print(f"\n{count} scenario{'s' * (count != 1)} on {PLACES[on]} in {duration(seconds)}: "
          f"{count - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def find(name: str) -> Path:
    """The scenarios.yaml of a plugin, by the plugin's name or by a path.

    Raises:
        NotFound: there is none; names those that there are.
    """
    place = Path(name)
    inside = paths.plugins() / name / "scenarios.yaml"
    if place.name == name and not name.endswith(".yaml") and inside.is_file():
        return inside
    if place.is_file() or (place / "scenarios.yaml").is_file():
        return place
    raise NotFound(
        f"there are no scenarios of {name}",
        cause=f"neither plugins/{name}/scenarios.yaml nor {name} is there",
        fix=f"name a file, or one of {', '.join(scenarios.known())}",
    )


def _one(scenario: Scenario, on: On, module: Path) -> Outcome | WorkbookError:
    """What came of it; a host that fails is told at its scenario, and the others go on."""
    try:
        return scenarios.run(scenario, on=on, module=module)
    except WorkbookError as error:
        return error
