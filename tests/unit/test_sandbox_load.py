"""Whatever is given as a module, loading it ends in a plugin that runs or in an error that helps.

Section "Load" of the list in docs/sandbox-safety.md.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_wat import HEAP, MALLOC, PAGE, call, plugin, said, say, wat

from helpers import module as modules
from helpers import paths
from helpers.errors import BadModule, WorkbookError
from helpers.sandbox import LinkFailed, Sandbox, StartFailed

LOGGER = (paths.plugins() / "prebuilt" / "header_logger.wasm").read_bytes()
COMPONENT = b"\0asm\x0d\0\1\0"


def refused(module: bytes | str | Path, kind: type[BadModule] = BadModule) -> BadModule:
    """The error that loading ends in: of this very kind, with a cause and a fix."""
    with pytest.raises(BadModule) as caught:
        Sandbox(module)
    assert type(caught.value) is kind
    assert caught.value.what
    assert caught.value.cause
    assert caught.value.fix
    return caught.value


def borders(data: bytes) -> list[int]:
    """Where each section begins, where its content does, and where the last one ends."""
    at, found = 8, []
    while at < len(data):
        found.append(at)
        at, size, shift = at + 1, 0, 0
        while True:
            byte = data[at]
            at, size, shift = at + 1, size | (byte & 0x7F) << shift, shift + 7
            if not byte & 0x80:
                break
        found.append(at)
        at += size
    return [*found, at]


def test_an_empty_module_is_refused() -> None:
    assert "is empty" in refused(b"").what


def test_bytes_without_the_magic_number_are_refused() -> None:
    assert "is no Wasm module" in refused(b"\x7fELF\2\1\1\0" + bytes(64)).what


def test_a_module_that_is_cut_at_the_border_of_a_section_or_inside_is_refused(way: str) -> None:
    places = borders(LOGGER)
    assert places[-1] == len(LOGGER)
    cuts = {*range(1, 9), *places[:-1]}
    cuts |= {(a + b) // 2 for a, b in itertools.pairwise(places)}
    cuts |= {place - 1 for place in places[1:]} | {place + 1 for place in places[:-1]}
    whole: list[int] = []
    errors: list[WorkbookError] = []
    for cut in sorted(cuts):
        try:
            Sandbox(LOGGER[:cut], cache=False).close()
            whole.append(cut)
        except BadModule as error:
            errors.append(error)
        except StartFailed as error:
            # Without its data it is a module still, and panics as soon as it runs.
            errors.append(error)
            whole.append(cut)
    assert all(error.cause and error.fix for error in errors)
    # Data and what lies behind them for tools may be missing: nothing else.
    assert set(whole) <= set(places[-9::2]), whole
    assert len(whole) < 6 < len(cuts)


def test_a_component_is_refused() -> None:
    assert "component" in refused(COMPONENT + LOGGER[8:]).what


def test_wat_text_is_refused_although_wasmtime_would_take_it() -> None:
    assert "text" in refused(b'(module (memory (export "memory") 1))').cause


def test_an_oversized_module_is_refused_as_bytes_and_as_a_file(tmp_path: Path) -> None:
    huge = LOGGER + b"\0" * (modules.MOST_BYTES + 1 - len(LOGGER))
    file = tmp_path / "huge.wasm"
    file.write_bytes(huge)
    assert f"{modules.MOST_BYTES + 1:,} bytes" in refused(huge).what
    assert f"{modules.MOST_BYTES + 1:,} bytes" in refused(file).what


def test_what_is_no_regular_file_is_refused_and_not_read_for_ever() -> None:
    assert "no regular file" in refused(os.devnull).what


@pytest.mark.parametrize("markers", [(), ("proxy_abi_version_0_3_0",), ("proxy_abi_version",)])
def test_a_module_without_a_known_abi_marker_is_refused(markers: tuple[str, ...]) -> None:
    assert "Missing or unknown Proxy-Wasm ABI version" in refused(plugin(markers=markers)).cause


def test_of_several_abi_markers_the_first_counts(way: str) -> None:
    # With 0.1.0 the callback has two parameters, so that this one is refused: as by Envoy 1.40.
    module = plugin({"request_headers": ""},
                    markers=("proxy_abi_version_0_1_0", "proxy_abi_version_0_2_1"))
    assert "Bad function signature for: proxy_on_request_headers, want: i32 i32 -> i32, but the " \
        "module exports: i32 i32 i32 -> i32" in refused(module, LinkFailed).what
    turned = plugin({"request_headers": ""},
                    markers=("proxy_abi_version_0_2_1", "proxy_abi_version_0_1_0"))
    assert Sandbox(turned).request().status == 200


def test_a_module_without_a_memory_is_refused(way: str) -> None:
    module = wat('(module (func (export "proxy_abi_version_0_2_1")) (func (export "malloc") '
                 "(param i32) (result i32) (i32.const 0)))")
    assert "memory" in refused(module, LinkFailed).what


def test_a_module_whose_memory_is_something_else_is_refused(way: str) -> None:
    module = wat('(module (func (export "proxy_abi_version_0_2_1")) (func (export "memory")) '
                 '(func (export "malloc") (param i32) (result i32) (i32.const 0)))')
    assert "memory" in refused(module, LinkFailed).what


def test_a_module_without_an_allocator_is_refused(way: str) -> None:
    assert "no allocator" in refused(plugin(malloc=""), LinkFailed).what


def test_the_second_allocator_is_taken_where_the_first_is_missing(way: str) -> None:
    module = plugin({"request_headers": say(call("proxy_get_header_map_pairs", 0, 0, 4))},
                    malloc=MALLOC.replace('"malloc"', '"proxy_on_memory_allocate"'))
    assert said(Sandbox(module).request()) == [0]


@pytest.mark.parametrize("name", ["proxy_on_request_headers", "proxy_on_log", "malloc",
                                  "_initialize", "_start", "main", "proxy_on_tick"])
@pytest.mark.parametrize("shape", ["(param i64)", "(param f32) (result f64)", "(result i32 i32)",
                                   "(param externref)", "(param i32 i32 i32 i32)"])
def test_an_export_with_a_wrong_signature_is_refused_as_by_envoy(
    way: str, name: str, shape: str
) -> None:
    malloc = "" if name == "malloc" else MALLOC
    start = '(func (export "_initialize"))' if name == "main" else ""
    module = plugin(extra=f'{start}(func (export "{name}") {shape} unreachable)', malloc=malloc)
    assert f"Bad function signature for: {name}" in refused(module, LinkFailed).what


def test_an_export_of_another_kind_is_no_callback(way: str) -> None:
    module = plugin(extra='(global (export "proxy_on_log") i32 (i32.const 1))')
    assert Sandbox(module).request().status == 200


@pytest.mark.parametrize("wanted", [
    '"env" "proxy_no_such_call" (func)', '"elsewhere" "proxy_log" (func)',
    '"env" "proxy_log" (func (param i32))', '"env" "proxy_log" (func (param i64 i64 i64))',
    '"env" "proxy_log" (func (param externref))',
    '"env" "proxy_log" (global i32)', '"env" "proxy_log" (global v128)',
    '"env" "table" (table 1 externref)', '"env" "" (func)',
    '"wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32))',
    '"wasi_snapshot_preview2" "fd_write" (func)',
])
def test_an_unknown_or_mistyped_import_is_refused(way: str, wanted: str) -> None:
    module = wat(f'(module (import {wanted}) (memory (export "memory") 1) '
                 f'(func (export "proxy_abi_version_0_2_1")) {MALLOC})')
    refused(module, LinkFailed)


@pytest.mark.parametrize(("pages", "limit"), [(2, PAGE), (65536, 256 * 1024 * 1024)])
def test_initial_memory_above_the_limit_is_refused(way: str, pages: int, limit: int) -> None:
    with pytest.raises(LinkFailed) as caught:
        Sandbox(plugin(memory=str(pages)), memory_limit=limit)
    assert f"{limit:,}" in caught.value.cause


def test_a_table_above_the_limit_is_refused(way: str) -> None:
    refused(plugin(extra="(table 100000000 funcref)"), LinkFailed)


def test_a_module_of_no_pages_at_first_runs(way: str) -> None:
    module = plugin({"request_headers": say(call("proxy_get_header_map_pairs", 0, 0, 4))},
                    memory="0", malloc="(func (export \"malloc\") (param i32) (result i32) "
                    f"(drop (memory.grow (i32.const 1))) (i32.const {HEAP}))")
    # There is nothing to put the pointer into, but the allocator makes room for it.
    assert said(Sandbox(module).request()) == [0]


@pytest.mark.parametrize("field", [
    '(memory $m i64 1) (export "memory" (memory $m))',
    '(memory (export "memory") 1 2 shared)',
    '(memory (export "memory") 1) (memory (export "second") 1)',
    '(memory (export "memory") 1) (tag (export "tag"))',
    '(import "env" "proxy_log" (memory 1)) (memory (export "memory") 1)',
    '(type $t (struct)) (memory (export "memory") 1) '
    '(func (export "proxy_on_log") (param (ref null $t)))',
    '(memory (export "memory") 1) (func (export "proxy_on_log") (param anyref))',
])
def test_what_no_proxy_wasm_host_has_is_refused(way: str, field: str) -> None:
    with pytest.raises(BadModule):
        Sandbox(wat(f'(module {field} (func (export "proxy_abi_version_0_2_1")) {MALLOC})'))


@pytest.mark.parametrize("field", [
    '(func (export "proxy_on_log") (param v128))',
    '(func (export "malloc_too") (result v128) (v128.const i64x2 0 0))',
    '(import "env" "proxy_log" (func (param v128)))',
])
def test_a_vector_on_the_border_is_refused_and_does_not_end_python(field: str) -> None:
    # In a process of its own: wasmtime's C API aborts when it is asked for such a signature.
    module = wat(f'(module {field} (memory (export "memory") 1) '
                 f'(func (export "proxy_abi_version_0_2_1")) {MALLOC})')
    script = ("import sys\nfrom helpers.errors import BadModule\n"
              "from helpers.sandbox import Sandbox\n"
              "try:\n    Sandbox(bytes.fromhex(sys.argv[1]))\n"
              "except BadModule as error:\n    print(error)\n")
    ran = subprocess.run([sys.executable, "-c", script, module.hex()], capture_output=True,
                         text=True, timeout=60, check=False, cwd=paths.ROOT)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "v128" in ran.stdout


def test_vectors_inside_a_module_are_its_own_affair(way: str) -> None:
    module = plugin({"request_headers": "(drop (call $inside (v128.const i64x2 1 2)))"},
                    extra="(func $inside (param v128) (result v128) (local.get 0))")
    assert Sandbox(module).request().status == 200


@pytest.mark.parametrize(("name", "export"), [
    ("proxy_get_log_level", "malloc"), ("proxy_log", "proxy_on_request_headers"),
    ("proxy_done", "__main_void"),
])
def test_a_host_function_that_is_exported_again_does_no_harm(
    way: str, name: str, export: str
) -> None:
    malloc = "" if export == "malloc" else MALLOC
    use = "(func " + "(drop " + call(name, *[0] * {"proxy_get_log_level": 1, "proxy_log": 3,
                                                  "proxy_done": 0}[name]) + "))"
    module = plugin({"request_body": ""}, malloc=malloc,
                    extra=f'(export "{export}" (func ${name})) {use}')
    assert Sandbox(module).request().status in (200, 503)
