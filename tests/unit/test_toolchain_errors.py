"""The classic refusals of cargo, rustc and lld are recognised; the texts were recorded."""

from __future__ import annotations

import pytest

from helpers import rustc_errors

RECORDED = {
    "target": """   Compiling foldhash v0.2.0
error[E0463]: can't find crate for `core`
  |
  = note: the `wasm32-unknown-unknown` target may not be installed
  = help: consider downloading the target with `rustup target add wasm32-unknown-unknown`

error: could not compile `foldhash` (lib) due to 1 previous error""",
    "linker": """error: linker `rust-lld` not found
  |
  = note: No such file or directory (os error 2)

error: could not compile `istio-wasm-demo` (lib) due to 1 previous error""",
    "undefined": """error: linking with `wasm-ld-19` failed: exit status: 1
  |
  = note: some arguments are omitted. use `--verbose` to show all linker arguments
  = note: wasm-ld-19: error: demo.cgu.0.rcgu.o: undefined symbol: proxy_get_header_map_value

error: could not compile `istio-wasm-demo` (lib) due to 1 previous error""",
    "no_mangle": """error: unsafe attribute used without unsafe
  --> src/lib.rs:21:3
   |
21 | #[no_mangle]
   |   ^^^^^^^^^ usage of unsafe attribute""",
    "edition": """error: failed to parse manifest at `/x/Cargo.toml`

Caused by:
  feature `edition2024` is required

  The package requires the Cargo feature called `edition2024`, but that feature is not stabilized \
in this version of Cargo (1.84.0).""",
    "network": """error: failed to get `proxy-wasm` as a dependency of package `demo v0.1.0 (/x)`

Caused by:
  failed to load source for dependency `proxy-wasm`

Caused by:
  unable to update registry `crates-io`

Caused by:
  download of config.json failed

Caused by:
  curl failed

Caused by:
  [6] Couldn't resolve host name (Could not resolve host: registry.example)""",
    "dependency": """error[E0433]: cannot find module or crate `proxy_wasm` in this scope
 --> src/lib.rs:1:5
  |
1 | use proxy_wasm::traits::*;
  |     ^^^^^^^^^^ use of unresolved module or unlinked crate `proxy_wasm`""",
    "manifest": """error: string values must be quoted, expected literal string
 --> Cargo.toml:4:11
  |
4 | edition =
  |           ^""",
    "disk": "error: failed to write `/x/foo.rmeta`: No space left on device (os error 28)",
    "rustc": """error[E0308]: mismatched types
  --> src/lib.rs:14:9
   |
14 |         1
   |         ^ expected `Action`, found integer""",
}


@pytest.mark.parametrize("kind", RECORDED)
def test_each_classic_refusal_is_told_apart_with_cause_and_fix(kind: str) -> None:
    found = rustc_errors.diagnose(RECORDED[kind])
    assert found is not None
    assert found.kind == kind
    assert found.what
    assert found.cause
    assert found.fix


@pytest.mark.parametrize(("kind", "value"), [
    ("target", "`core`"), ("linker", "`rust-lld`"), ("undefined", "proxy_get_header_map_value"),
    ("network", "proxy-wasm"), ("dependency", "proxy_wasm"), ("manifest", "line 4"),
    ("rustc", "src/lib.rs:14:9"),
])
def test_the_refusal_names_the_value_at_fault(kind: str, value: str) -> None:
    found = rustc_errors.diagnose(RECORDED[kind])
    assert found is not None
    assert value in found.what


def test_the_error_keeps_rustcs_own_words_whole() -> None:
    error = rustc_errors.failure("cargo build", RECORDED["rustc"])
    assert error.detail == RECORDED["rustc"]
    assert "E0308" in error.what


@pytest.mark.parametrize("text", [
    "error: unsafe attributes are experimental",
    "error: cannot find attribute `unsafe` in this scope",
])
def test_the_new_attribute_on_an_old_rustc_asks_for_a_newer_rustc(text: str) -> None:
    found = rustc_errors.diagnose(text)
    assert found is not None
    assert found.kind == "no_mangle"
    assert "1.85" in found.fix


def test_a_crate_that_the_registry_does_not_have_is_no_network_problem() -> None:
    text = ("error: no matching package named `proxy-wsam` found\n"
            "location searched: the registry index\n")
    assert not rustc_errors.needs_network(text)


def test_a_failure_that_nobody_knows_is_handed_on_with_its_words() -> None:
    assert rustc_errors.diagnose("thread 'main' panicked at cargo") is None
    assert rustc_errors.failure("cargo build", "something new").detail == "something new"
