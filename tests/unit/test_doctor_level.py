"""Which level the doctor takes a plugin's lines to have."""

from __future__ import annotations

from typing import cast

import pytest

from helpers import paths
from helpers.doctor import layers_log
from helpers.doctor.case import Case
from helpers.mesh.base import Mesh

#: Never asked: the level is told from the plugin object and the module.
NO_MESH = cast(Mesh, None)


def asked(level: str, module: bytes | None) -> str:
    plugin = {"kind": "WasmPlugin", "spec": {"pluginConfig": {"log_level": level}}}
    return layers_log._asked(Case(NO_MESH, "default", "x", "", plugin=plugin, module=module))


def prebuilt(name: str) -> bytes:
    return (paths.plugins() / "prebuilt" / name).read_bytes()


@pytest.mark.parametrize(("level", "taken"), [("debug", "debug"), ("warn", "warning"),
                                              ("chatty", "info"), ("", "info")])
def test_a_module_that_reads_the_setting_logs_at_that_level(level: str, taken: str) -> None:
    assert asked(level, prebuilt("header_logger.wasm")) == taken


def test_a_louder_level_means_nothing_to_the_articles_filter_which_never_reads_it() -> None:
    assert asked("debug", prebuilt("as_printed.wasm")) == "info"


def test_a_module_that_is_not_at_hand_may_read_the_setting() -> None:
    assert asked("debug", None) == "debug"
