"""Every plugin of the workbook builds, and what is plain Rust in them keeps its word."""

from __future__ import annotations

import pytest

from helpers import cargo, paths, shell, steps_build, toolchain
from helpers import crate as crates
from helpers.module import inspect


@pytest.mark.parametrize("plugin", crates.plugin_names())
def test_the_plugin_builds_without_a_warning_and_nothing_speaks_against_it(plugin: str) -> None:
    built = cargo.build(paths.plugins() / plugin, sink=None)
    assert built.warnings == 0
    assert inspect(built.module).problems == ()
    assert inspect(built.module).abi == "0.2.1"


def test_header_logger_asks_for_the_log_level_and_the_naive_one_does_not() -> None:
    asks = {}
    for plugin in ("header-logger", "naive"):
        module = cargo.build(paths.plugins() / plugin, sink=None).module
        asks[plugin] = "proxy_get_log_level" in {wanted.name for wanted in inspect(module).imports}
    assert asks == {"header-logger": True, "naive": False}


def test_header_logger_stands_alone_as_a_learners_crate() -> None:
    made = cargo.new("repaired-demo")
    steps_build.write_plugin(made, "header-logger")
    built = cargo.build(made.crate, sink=None)
    assert (built.module.name, built.warnings) == ("repaired_demo.wasm", 0)


@pytest.mark.parametrize("plugin", ["body-rewrite", "header-logger", "lifecycle"])
def test_the_host_side_tests_of_the_plugin_pass(plugin: str) -> None:
    found = toolchain.require()
    assert found.cargo is not None
    assert found.rustc is not None
    done = shell.run(
        [found.cargo, "test", "-p", plugin, "--lib", "--target-dir",
         paths.cargo_target()],
        cwd=paths.plugins(), env={"RUSTC": str(found.rustc)})
    assert "test result: ok." in done.output
    assert "running 0 tests" not in done.output
