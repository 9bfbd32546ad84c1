"""The module reader takes any bytes, and says what Envoy would say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import paths
from helpers.errors import BadModule
from helpers.module import ModuleInfo, inspect, inspect_bytes

HEADER = b"\0asm\1\0\0\0"
GOOD = (paths.plugins() / "prebuilt" / "header_logger.wasm").read_bytes()


def leb(number: int) -> bytes:
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def name(text: str) -> bytes:
    raw = text.encode()
    return leb(len(raw)) + raw


def section(number: int, body: bytes) -> bytes:
    return bytes([number]) + leb(len(body)) + body


def module(
    imports: list[tuple[str, str]] | None = None, functions: tuple[str, ...] = ()
) -> bytes:
    """A module of one function type, which imports and exports functions of these names."""
    wanted = imports or []
    kinds = section(1, leb(1) + b"\x60\0\0")
    needs = section(2, leb(len(wanted)) + b"".join(
        name(m) + name(n) + b"\0" + leb(0) for m, n in wanted))
    bodies = section(3, leb(1) + leb(0))
    memory = section(5, leb(1) + b"\0\1")
    offers = section(7, leb(len(functions) + 1) + name("memory") + b"\2\0" + b"".join(
        name(f) + b"\0" + leb(len(wanted)) for f in functions))
    return HEADER + kinds + needs + bodies + memory + offers + section(10, leb(1) + b"\2\0\x0b")


def look(data: bytes) -> ModuleInfo:
    return inspect_bytes(data, Path("demo.wasm"))


COMPLETE = ("proxy_abi_version_0_2_1", "malloc", "_initialize")


def test_a_good_module_has_no_problems() -> None:
    info = look(GOOD)
    assert info.problems == ()
    assert (info.abi, info.allocator, info.initialiser) == ("0.2.1", "malloc", "_initialize")
    assert info.size == len(GOOD)
    assert "proxy_log" in str(info)


def test_imports_and_exports_come_as_a_frame_by_concern() -> None:
    frame = look(GOOD).frame()
    logging = frame[(frame.direction == "import") & (frame.concern == "logging")]
    assert set(logging.name) == {"proxy_log", "proxy_get_log_level"}
    assert frame.provided.all()
    assert frame.provided.dtype == bool


def test_custom_sections_are_listed_with_their_size() -> None:
    info = look(module(functions=COMPLETE) + section(0, name("producers") + b"12345"))
    assert info.custom == (("producers", 5),)


def test_the_first_marker_of_the_export_section_gives_the_version() -> None:
    both = ("proxy_abi_version_0_1_0", "proxy_abi_version_0_2_1", "malloc")
    assert look(module(functions=both)).abi == "0.1.0"


def test_an_unknown_import_is_named_in_envoys_words() -> None:
    info = look(module([("env", "proxy_frobnicate")], COMPLETE))
    assert info.missing == ("env.proxy_frobnicate",)
    [problem] = info.problems
    assert problem.envoy == (
        "Failed to load Wasm module due to a missing import: env.proxy_frobnicate")


def test_get_log_level_is_only_there_for_modules_marked_0_2_1() -> None:
    wanted = [("env", "proxy_get_log_level")]
    assert look(module(wanted, COMPLETE)).missing == ()
    older = look(module(wanted, ("proxy_abi_version_0_2_0", "malloc", "_initialize")))
    assert older.missing == ("env.proxy_get_log_level",)
    assert "0.2.1" in older.problems[0].fix


@pytest.mark.parametrize(("function", "marker"), [
    ("proxy_continue_request", "proxy_abi_version_0_2_1"),
    ("proxy_get_configuration", "proxy_abi_version_0_2_0"),
    ("proxy_continue_stream", "proxy_abi_version_0_1_0"),
])
def test_functions_of_another_version_of_the_abi_are_missing(function: str, marker: str) -> None:
    info = look(module([("env", function)], (marker, "malloc", "_initialize")))
    assert info.missing == (f"env.{function}",)


def test_wasi_functions_are_there_under_both_names_and_unknown_ones_are_not() -> None:
    wanted = [("wasi_snapshot_preview1", "fd_write"), ("wasi_unstable", "random_get"),
              ("wasi_snapshot_preview1", "fd_dance"), ("elsewhere", "proxy_log")]
    assert look(module(wanted, COMPLETE)).missing == (
        "wasi_snapshot_preview1.fd_dance", "elsewhere.proxy_log")


def test_a_module_that_is_no_plugin_is_told_what_it_lacks() -> None:
    said = " ".join(str(problem) for problem in look(module()).problems)
    assert "Missing or unknown Proxy-Wasm ABI version" in said
    assert "malloc" in said
    assert "_initialize" in said


def test_html_escapes_what_the_module_says() -> None:
    info = look(module([("env", "<script>alert(1)</script>")], COMPLETE))
    assert "<script>" not in info._repr_html_()
    assert "&lt;script&gt;" in info._repr_html_()


@pytest.mark.parametrize(("data", "what"), [
    (b"", "is empty"),
    (b"\0as", "is cut short"),
    (b"\0asm\1", "is cut short"),
    (GOOD[: len(GOOD) // 2], "is damaged"),
    (GOOD[:-1], "is damaged"),
    (b"fn main() {}\n", "is no Wasm module"),
    (b"(module)", "is no Wasm module"),
    (b"\x7fELF\2\1\1\0", "is no Wasm module"),
    (b"\0asm\x0d\0\1\0", "is a component"),
    (b"\0asm\2\0\0\0", "unknown version"),
    (HEADER + b"\x63\0", "is damaged"),
    (HEADER + section(3, leb(1) + leb(0)), "is damaged"),
    (HEADER + section(1, leb(0)) + section(1, leb(0)), "is damaged"),
])
def test_what_is_no_module_is_refused_with_cause_and_fix(data: bytes, what: str) -> None:
    with pytest.raises(BadModule) as refused:
        look(data)
    assert what in refused.value.what
    assert "demo.wasm" in refused.value.what
    assert refused.value.cause
    assert refused.value.fix


def test_a_missing_file_a_directory_and_an_impossible_path_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadModule, match="is not there"):
        inspect(tmp_path / "none.wasm")
    with pytest.raises(BadModule, match="is a directory"):
        inspect(tmp_path)
    with pytest.raises(BadModule, match="cannot be read"):
        inspect("a\0b.wasm")


@pytest.mark.parametrize("number", [2, 7])
def test_a_count_that_the_file_cannot_hold_is_refused_at_once(number: int) -> None:
    with pytest.raises(BadModule, match="announces 4,294,967,295"):
        look(HEADER + section(number, leb(2**32 - 1)))


def test_more_exports_than_v8_takes_are_refused() -> None:
    body = leb(200_000) + (name("") + b"\0\0") * 200_000
    with pytest.raises(BadModule, match="at most 100,000"):
        look(HEADER + section(7, body))


def test_a_million_sections_are_refused() -> None:
    with pytest.raises(BadModule, match="more than 100,000 sections"):
        look(HEADER + section(0, name("")) * 1_000_000)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_module_or_bad_module(data: bytes) -> None:
    _only_bad_module(data)
    _only_bad_module(HEADER + data)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=60)), max_size=8))
def test_any_sections_give_a_module_or_bad_module(parts: list[tuple[int, bytes]]) -> None:
    _only_bad_module(HEADER + b"".join(section(number, body) for number, body in parts))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_change_to_a_module_gives_a_module_or_bad_module(data: st.DataObject) -> None:
    base = bytearray(module([("env", "proxy_log")], COMPLETE) + section(0, name("x") + b"y"))
    for _ in range(data.draw(st.integers(1, 4))):
        base[data.draw(st.integers(0, len(base) - 1))] = data.draw(st.integers(0, 255))
    _only_bad_module(bytes(base[: data.draw(st.integers(0, len(base)))]))


def _only_bad_module(data: bytes) -> None:
    try:
        info = look(data)
    except BadModule as error:
        complete = bool(error.cause and error.fix)
    else:
        complete = bool(str(info) and info._repr_html_())
    assert complete


def test_no_module_is_told_with_each_of_envoys_words_for_it() -> None:
    with pytest.raises(BadModule) as caught:
        look(b"fn main() {}\n")
    assert "Failed to parse corrupted Wasm module" in caught.value.cause
    assert "Missing or unknown Proxy-Wasm ABI version" in caught.value.cause
