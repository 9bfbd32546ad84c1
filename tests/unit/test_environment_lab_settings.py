"""JupyterLab's settings mean something to the JupyterLab that is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers.setup.environment import LAB_SETTINGS

SCHEMAS = Path(sys.prefix) / "share" / "jupyter" / "lab" / "schemas"


@pytest.mark.parametrize("plugin", sorted(LAB_SETTINGS))
def test_each_setting_is_one_that_the_plugin_knows(plugin: str) -> None:
    package, name = plugin.split(":")
    schema = json.loads((SCHEMAS / package / f"{name}.json").read_text(encoding="utf-8"))
    for key, value in LAB_SETTINGS[plugin].items():
        assert key in schema["properties"]
        kinds = {"boolean": bool, "string": str}
        assert isinstance(value, kinds[schema["properties"][key]["type"]])


def test_no_prompt_for_news_and_the_time_of_each_cell() -> None:
    assert LAB_SETTINGS["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert LAB_SETTINGS["@jupyterlab/notebook-extension:tracker"]["recordTiming"] is True
