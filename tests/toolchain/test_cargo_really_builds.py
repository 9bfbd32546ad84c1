"""The article's commands with the real cargo of this machine."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from helpers import cargo, paths, steps_build, toolchain
from helpers import crate as crates
from helpers.crate import Crate
from helpers.errors import BuildFailed, Cancelled
from helpers.module import inspect
from helpers.rustc_probe import version_of

DEAD = "http://127.0.0.1:9"


def change(crate: Crate, old: str, new: str, name: str = "src/lib.rs") -> None:
    text = (crate.path / name).read_text()
    assert old in text
    crates.write_file(crate, name, text.replace(old, new))


def refusal(crate: Crate) -> BuildFailed:
    with pytest.raises(BuildFailed) as failed:
        cargo.build(crate, sink=None)
    assert failed.value.fix
    return failed.value


def test_the_printed_filter_builds_where_the_article_says_with_live_output(demo: Crate) -> None:
    lines: list[str] = []
    built = cargo.build(demo, sink=lines.append)
    assert built.module == demo.path / (
        "target/wasm32-unknown-unknown/release/istio_wasm_demo.wasm")
    assert built.command == "cargo build --release --target wasm32-unknown-unknown"
    assert any("Finished `release`" in line for line in lines)
    assert not any(line.startswith("{") for line in lines)
    info = inspect(built.module)
    assert info.problems == ()
    assert (info.abi, info.initialiser) == ("0.2.1", "_start")
    assert built.size == info.size


def test_a_second_build_has_nothing_to_do(demo: Crate) -> None:
    cargo.build(demo, sink=None)
    assert cargo.build(demo, sink=None).fresh


def test_an_incremental_build_says_so_and_takes_up_the_edit(demo: Crate) -> None:
    cargo.build(demo, incremental=True, sink=None)
    change(demo, "HeaderLogger configured", "Incrementally configured")
    built = cargo.build(demo, incremental=True, sink=None)
    assert built.command.startswith("CARGO_INCREMENTAL=1 cargo build --release")
    assert b"Incrementally configured" in built.module.read_bytes()
    assert any((demo.path / "target").rglob("incremental/*"))


def test_the_article_s_command_typed_by_hand_works_in_the_crate(demo: Crate) -> None:
    cargo.build(demo, sink=None)
    demo.module().unlink()
    found = toolchain.require()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CARGO_", "RUSTC"))}
    subprocess.run([str(found.cargo), "build", "--release", "--target", "wasm32-unknown-unknown"],
                   cwd=demo.path, check=True, capture_output=True, env=clean)
    assert inspect(demo.module()).problems == ()


def test_an_existing_crate_is_kept_unless_reset_moves_it_aside(demo: Crate) -> None:
    (demo.path / "mine.txt").write_text("precious")
    assert "kept as it is" in str(cargo.new(demo.name))
    assert (demo.path / "mine.txt").read_text() == "precious"
    fresh = cargo.new(demo.name, reset=True)
    assert fresh.kept is not None
    assert (fresh.kept / "mine.txt").read_text() == "precious"
    assert "pub fn add" in (fresh.crate.path / "src" / "lib.rs").read_text()


def test_new_crates_get_the_versions_that_the_workbook_pins(demo: Crate) -> None:
    cargo.build(demo, sink=None)
    pinned = (paths.plugins() / "Cargo.lock").read_text()
    own = (demo.path / "Cargo.lock").read_text()
    version = pinned.split('name = "proxy-wasm"\nversion = ', 1)[1].split("\n", 1)[0]
    assert f'name = "proxy-wasm"\nversion = {version}' in own


def test_builds_work_with_no_network_once_the_crates_are_here(
    demo: Crate, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo.build(demo, sink=None)
    for name in ("https_proxy", "http_proxy", "CARGO_HTTP_PROXY"):
        monkeypatch.setenv(name, DEAD)
    other = cargo.new("offline-demo").crate
    for name in ("Cargo.toml", "src/lib.rs"):
        steps_build.write_file(other, name)
    assert cargo.build(other, sink=None).module.is_file()


def test_a_crate_that_is_not_here_and_no_network_is_told_as_such(
    demo: Crate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo.build(demo, sink=None)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("CARGO_NET_RETRY", "0")
    for name in ("https_proxy", "http_proxy", "CARGO_HTTP_PROXY"):
        monkeypatch.setenv(name, DEAD)
    (demo.path / "Cargo.lock").unlink()
    error = refusal(demo)
    assert "could not reach the crate registry" in error.what
    assert error.detail


def test_warnings_are_counted_and_shown(demo: Crate) -> None:
    change(demo, "struct HeaderLogger;", "struct HeaderLogger;\nstruct Unused;")
    lines: list[str] = []
    assert cargo.build(demo, sink=lines.append).warnings == 1
    assert any("struct `Unused` is never constructed" in line for line in lines)


def test_rustcs_refusal_is_kept_whole_with_place_and_code(demo: Crate) -> None:
    change(demo, "Action::Continue", "1")
    error = refusal(demo)
    assert "E0308" in error.what
    assert "src/lib.rs:" in error.what
    assert "expected `Action`, found integer" in error.detail


def test_no_mangle_without_unsafe_is_explained(demo: Crate) -> None:
    change(demo, "#[unsafe(no_mangle)]", "#[no_mangle]")
    assert refusal(demo).fix == "write `#[unsafe(no_mangle)]`"


def test_a_forgotten_dependency_is_explained(demo: Crate) -> None:
    change(demo, 'proxy-wasm = "0.2"\n', "", "Cargo.toml")
    assert 'proxy-wasm = "0.2"' in refusal(demo).fix


def test_an_edition_that_does_not_exist_is_explained(demo: Crate) -> None:
    change(demo, '"2024"', '"2042"', "Cargo.toml")
    assert "edition" in refusal(demo).what


def test_a_crate_of_the_wrong_type_builds_but_gives_no_module(demo: Crate) -> None:
    change(demo, '[lib]\ncrate-type = ["cdylib"]\n', "", "Cargo.toml")
    assert "cdylib" in refusal(demo).cause


def test_an_undeclared_host_function_is_an_undefined_symbol(demo: Crate) -> None:
    change(demo, "struct HeaderLogger;", 'struct HeaderLogger;\nunsafe extern "C" {\n'
           "    fn proxy_frobnicate() -> u32;\n}\n#[unsafe(no_mangle)]\n"
           'pub extern "C" fn more() -> u32 {\n    unsafe { proxy_frobnicate() }\n}')
    if version_of(toolchain.require().version) < (1, 96):  # its linker lets them pass
        assert "env.proxy_frobnicate" in inspect(cargo.build(demo, sink=None).module).missing
        return
    error = refusal(demo)
    assert "proxy_frobnicate" in error.what
    assert "0.2.5" in error.fix


def test_a_missing_linker_is_explained(demo: Crate, monkeypatch: pytest.MonkeyPatch) -> None:
    found = toolchain.require()
    env = {**found.env(), "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER": "no-such-lld"}
    monkeypatch.setattr(toolchain.Toolchain, "env", lambda self: env)
    # cargo does not link again when only the linker changes
    change(demo, '"HeaderLogger configured"', '"HeaderLogger configured!"')
    assert "`no-such-lld` was not found" in refusal(demo).what


def test_a_target_without_std_is_explained(
    demo: Crate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = toolchain.require()
    env = {**found.env(), "CARGO_ENCODED_RUSTFLAGS": f"--sysroot\x1f{tmp_path}"}
    monkeypatch.setattr(toolchain.Toolchain, "env", lambda self: env)
    assert "E0463" in refusal(demo).what


def test_a_target_folder_elsewhere_still_leaves_the_module_where_the_article_looks(
    demo: Crate, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARGO_TARGET_DIR", str(home / "elsewhere"))
    built = cargo.build(demo, sink=None)
    assert built.module == demo.module()
    assert inspect(built.module).problems == ()
    assert "elsewhere" in str(built)


def test_a_cancelled_build_leaves_no_process_and_the_next_one_works(demo: Crate) -> None:
    crates.write_file(demo, "src/lib.rs", (demo.path / "src/lib.rs").read_text() + "// again\n")
    before = {p.pid for p in psutil.Process().children(recursive=True)}

    def interrupt(line: str) -> None:
        if "Compiling" in line:
            raise KeyboardInterrupt

    with pytest.raises(Cancelled):
        cargo.build(demo, sink=interrupt)
    left = {p.pid for p in psutil.Process().children(recursive=True)
            if p.status() != psutil.STATUS_ZOMBIE} - before
    assert left == set()
    assert cargo.build(demo, sink=None).module.is_file()


def test_two_builds_of_one_crate_at_once_both_give_the_module(demo: Crate) -> None:
    results: list[bool] = []
    threads = [threading.Thread(
        target=lambda: results.append(cargo.build(demo, sink=None).module.is_file()))
        for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True]


def test_debug_is_too_large_for_a_configmap_and_tuned_is_the_smallest(demo: Crate) -> None:
    frame = steps_build.size_story(demo)
    assert list(frame.profile) == ["debug", "release", "tuned"]
    assert list(frame.fits_configmap) == [False, True, True]
    assert frame.bytes.is_monotonic_decreasing
    assert (frame.bytes + frame.headroom_bytes == 1_048_576).all()
    assert {str(frame[c].dtype) for c in ("bytes", "headroom_bytes")} == {"int64"}
