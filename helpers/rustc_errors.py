"""What rustc's and cargo's classic refusals mean here, and what to do about each.

The texts that are matched were recorded from rustc and cargo 1.84 to 1.96 and lld 19.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.errors import BuildFailed
from helpers.toolchain_install import install_plan

_TARGET = "wasm32-unknown-unknown"


@dataclass(frozen=True)
class Diagnosis:
    """A refusal that we understand.

    Attributes:
        kind: a short name, the same for all wordings of one cause.
        what: one sentence with the value at fault.
        cause: why.
        fix: what to do.
    """

    kind: str
    what: str
    cause: str
    fix: str


def diagnose(output: str) -> Diagnosis | None:
    """The first classic refusal in `output` (stdout and stderr of cargo), or None."""
    for look in (_network, _target, _linker, _undefined, _edition, _unsafe_attribute, _dependency,
                 _manifest, _disk, _first_error):
        found = look(output)
        if found is not None:
            return found
    return None


def failure(command: str, output: str) -> BuildFailed:
    """The error for a build that was refused; rustc's own words are kept whole."""
    found = diagnose(output)
    if found is None:
        return BuildFailed(
            f"`{command}` failed",
            cause="cargo's own words are below",
            fix="read the first line that begins with `error`, mend it, and build again",
            detail=output,
        )
    return BuildFailed(found.what, cause=found.cause, fix=found.fix, detail=output)


def needs_network(output: str) -> bool:
    """Whether cargo gave up because a registry could not be reached."""
    return _network(output) is not None


def _network(output: str) -> Diagnosis | None:
    found = re.search(
        r"(failed to download|failed to get `(?P<crate>[^`]+)` as a dependency|"
        r"unable to update registry|download of config\.json failed|"
        r"[Cc]ouldn't (?:connect to server|resolve host)|spurious network error|"
        r"attempting to make an HTTP request, but --offline was specified|"
        r"no matching package named `(?P<missing>[^`]+)` found[\s\S]*offline)", output)
    if found is None or "error" not in output:
        return None
    # A registry that answers "no such crate" was reached: that is no network problem.
    if not re.search(r"[Cc]ouldn't|curl|network|offline|timed? ?out|Timeout|SSL", output):
        return None
    crate = found["crate"] or found["missing"]
    name = f" for {crate}" if crate else ""
    return Diagnosis(
        "network", f"cargo could not reach the crate registry{name}",
        "there is no network, or a proxy stands between, and the crate is not on this "
        "computer yet",
        "connect once and build again: after that, builds work with no network",
    )


def _target(output: str) -> Diagnosis | None:
    found = re.search(r"error\[E0463\]: can't find crate for `(core|std|alloc)`", output)
    if found is None:
        return None
    return Diagnosis(
        "target", f"rustc cannot find crate `{found[1]}` for {_TARGET} (E0463)",
        f"this rustc has no standard library for {_TARGET}: the target is not installed",
        f"run `{install_plan().text}`, or build with `steps.cargo_build`, which picks a "
        "toolchain that has one",
    )


def _linker(output: str) -> Diagnosis | None:
    found = re.search(r"error: linker `([^`]+)` not found", output)
    if found is None:
        return None
    return Diagnosis(
        "linker", f"the linker `{found[1]}` was not found",
        f"modules for {_TARGET} are linked by LLVM's lld (rust-lld, wasm-ld), which is not "
        "installed or not in PATH",
        f"run `{install_plan().text}`, then build again",
    )


def _undefined(output: str) -> Diagnosis | None:
    found = re.search(r"undefined symbol: ((?:proxy|envoy)_\w+)", output)
    if found is None:
        return None
    return Diagnosis(
        "undefined", f"the linker found no definition of {found[1]}",
        "the host defines it, not this module; up to Rust 1.95 the linker let such symbols "
        "pass, since 1.96 each must be declared as an import, as proxy-wasm does from 0.2.5 on",
        'set `proxy-wasm = "0.2.5"` in Cargo.toml, run `cargo update -p proxy-wasm`, build again; '
        'a declaration of your own needs `#[link(wasm_import_module = "env")]`',
    )


def _edition(output: str) -> Diagnosis | None:
    if re.search(r"feature `edition2024` is required|"
                 r"supported edition values are `2015`, `2018`, or `2021`,? but `2024` is unknown|"
                 r"this version of Cargo is older than the `2024` edition", output):
        return Diagnosis(
            "edition", "this cargo does not know edition 2024",
            "edition 2024 came with Rust 1.85, and this cargo is older",
            "use Rust 1.85 or newer (`./workbook doctor` lists those found here)",
        )
    if found := re.search(r"unknown edition|failed to parse the `edition` key", output):
        return Diagnosis(
            "edition", "Cargo.toml names an edition that does not exist",
            f"cargo says: {found[0]}",
            'write `edition = "2024"` under [package]',
        )
    return None


def _unsafe_attribute(output: str) -> Diagnosis | None:
    if re.search(r"unsafe attribute used without unsafe", output):
        return Diagnosis(
            "no_mangle", "`#[no_mangle]` stands without `unsafe`",
            "edition 2024 wants it marked, for two symbols of one name are undefined behaviour",
            "write `#[unsafe(no_mangle)]`",
        )
    if re.search(r"cannot find attribute `unsafe`|unsafe attributes are experimental|"
                 r"`no_mangle` is not an unsafe attribute|expected identifier, found keyword "
                 r"`unsafe`", output):
        return Diagnosis(
            "no_mangle", "this rustc does not take `#[unsafe(no_mangle)]`",
            "the attribute in that form came with Rust 1.82, and this rustc is older",
            "use Rust 1.85 or newer (`./workbook doctor` lists those found here)",
        )
    return None


def _dependency(output: str) -> Diagnosis | None:
    found = re.search(
        r"error\[E043[23]\]: (?:failed to resolve: |cannot find |unresolved import )[^\n]*"
        r"`(proxy_wasm|log|serde_json)`|use of (?:undeclared crate or module|unresolved module or "
        r"unlinked crate) `(proxy_wasm|log|serde_json)`|unresolved import `(proxy_wasm)", output)
    if found is None:
        return None
    crate = next(group for group in found.groups() if group)
    return Diagnosis(
        "dependency", f"the crate `{crate}` is used but not among the dependencies",
        "Cargo.toml has no line for it under [dependencies]",
        f'add `{crate.replace("_", "-") if crate == "proxy_wasm" else crate} = '
        f'"{"0.2" if crate == "proxy_wasm" else "1"}"` under [dependencies]',
    )


def _manifest(output: str) -> Diagnosis | None:
    found = re.search(r"error: failed to parse manifest at `([^`]+)`|"
                      r"error: invalid type[^\n]*|"
                      r"-->\s+(?:[^\n]*)?Cargo\.toml:(\d+):\d+", output)
    if found is None:
        return None
    line = f", line {found[2]}" if found[2] else ""
    return Diagnosis(
        "manifest", f"Cargo.toml cannot be read{line}",
        "it is no valid TOML, or cargo does not know what it says",
        "mend the line that cargo points at below; `steps.write_file` restores a known text",
    )


def _disk(output: str) -> Diagnosis | None:
    if "No space left on device" not in output:
        return None
    return Diagnosis(
        "disk", "the disk is full", "a build needs some hundred megabytes of space",
        "free space, then build again: finished parts of the work are kept",
    )


def _first_error(output: str) -> Diagnosis | None:
    found = re.search(r"^error(\[E\d+\])?: (?!could not compile|aborting)([^\n]+)"
                      r"(?:\n\s*--> ([^\n]+))?", output, re.MULTILINE)
    if found is None or found[1] is None:
        return None
    place = f" at {found[3]}" if found[3] else ""
    code = found[1].strip("[]")
    return Diagnosis(
        "rustc", f"rustc refused the code{place}: {found[2]} ({code})",
        f"rustc's explanation is below; `rustc --explain {code}` has the long one",
        "mend the place that it points at and build again",
    )
