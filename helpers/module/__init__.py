"""Look into a Wasm module, as Envoy would before it runs it."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import replace
from pathlib import Path

from helpers import paths
from helpers.errors import BadModule
from helpers.module import abi, binary
from helpers.module.binary import Export, Import
from helpers.module.info import ModuleInfo, Problem, text

__all__ = ["MOST_BYTES", "Export", "Import", "ModuleInfo", "Problem", "inspect", "inspect_bytes"]

#: A larger file is no plugin: sixty ConfigMaps would not hold it.
MOST_BYTES = 64 * 1024 * 1024

_REBUILD = "build it again (steps.cargo_build) and copy the whole file"
_VM = "Wasm VM failed "
_UNKNOWN_ABI = f"{_VM}Missing or unknown Proxy-Wasm ABI version"
_CORRUPTED = f"{_VM}Failed to parse corrupted Wasm module"


def inspect(path: str | Path) -> ModuleInfo:
    """What is inside a module, and what of it this Envoy would refuse.

    Raises:
        BadModule: there is no such file, or it is no Wasm module: empty, cut short, text, a
            component, or larger than 64 MiB.
    """
    file = Path(path)
    shown = paths.shown(file)
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            # A pipe would be waited for, and /dev/zero read for ever.
            raise BadModule(f"{shown} is no regular file", cause="a module is one file on disk",
                            fix="give the .wasm file that cargo built")
        size = about.st_size
        if size > MOST_BYTES:
            raise BadModule(f"{shown} has {size:,} bytes", cause="no plugin is that large",
                            fix="give the .wasm file that cargo built")
        data = file.read_bytes()
    except FileNotFoundError:
        raise BadModule(f"{shown} is not there", cause="it was not built yet, or lies elsewhere",
                        fix="run steps.cargo_build, which names the file") from None
    except IsADirectoryError:
        raise BadModule(f"{shown} is a directory", cause="a module is one file",
                        fix="name the .wasm file in it") from None
    except (OSError, ValueError) as error:
        if file.is_dir():  # Windows calls it a missing permission
            raise BadModule(f"{shown} is a directory", cause="a module is one file",
                            fix="name the .wasm file in it") from None
        raise BadModule(f"{shown} cannot be read", cause=str(error),
                        fix="mend the path or its permissions") from error
    return inspect_bytes(data, file)


def inspect_bytes(data: bytes, path: Path) -> ModuleInfo:
    """Like `inspect`, for bytes that are at hand; `path` only names them.

    Raises:
        BadModule: the bytes are no Wasm module. Whatever they are, no other error comes.
    """
    shown = paths.shown(path)
    _refuse_other_kinds(data, shown)
    try:
        parsed = binary.parse(data)
    except binary.Malformed as error:
        raise BadModule(f"{shown} is damaged: {error}",
                        cause=f"it was cut short or changed; Envoy says: {_CORRUPTED}",
                        fix=_REBUILD) from error
    functions = {export.name for export in parsed.exports if export.kind == "func"}
    version = next((abi.MARKERS[export.name] for export in parsed.exports
                    if export.kind == "func" and export.name in abi.MARKERS), "")
    lacking = [wanted for wanted in parsed.imports
               if wanted.kind != "func" or not abi.provided(wanted.module, wanted.name, version)]
    info = ModuleInfo(
        command=f"wasm-objdump -x {path.name}", path=path, size=len(data),
        sha256=hashlib.sha256(data).hexdigest(), abi=version, custom=tuple(parsed.custom),
        imports=tuple(parsed.imports), exports=tuple(parsed.exports),
        missing=tuple(dict.fromkeys(f"{one.module}.{one.name}" for one in lacking)),
        allocator=_first(functions, "malloc", "proxy_on_memory_allocate"),
        initialiser=_first(functions, "_initialize", "_start"), problems=())
    info = replace(info, problems=tuple(_problems(info)))
    return replace(info, text=text(info))


def _first(names: set[str], *wanted: str) -> str:
    return next((name for name in wanted if name in names), "")


def _refuse_other_kinds(data: bytes, shown: str) -> None:
    if not data:
        raise BadModule(
            f"{shown} is empty", cause="a build or a copy was interrupted; Envoy says: "
            "Plugin … failed to load, and failing closed answers 500", fix=_REBUILD)
    if data[:4] != binary.MAGIC:
        if binary.MAGIC.startswith(data):
            raise BadModule(f"{shown} is cut short: it has {len(data)} bytes",
                            cause=f"a module begins with eight; Envoy says: {_CORRUPTED}",
                            fix=_REBUILD)
        kind = _other_kind(data)
        raise BadModule(
            f"{shown} is no Wasm module: it begins with {data[:4]!r}",
            cause=f"it is {kind}, and a module begins with {binary.MAGIC!r}; Envoy says: "
            f"{_CORRUPTED} (or, as the bytes happen to be, {_UNKNOWN_ABI.removeprefix(_VM)})",
            fix="give the .wasm file that cargo built")
    if len(data) < 8:
        raise BadModule(f"{shown} is cut short: it has {len(data)} bytes",
                        cause=f"a module begins with eight; Envoy says: {_CORRUPTED}",
                        fix=_REBUILD)
    if data[6:8] == b"\1\0":
        raise BadModule(
            f"{shown} is a component, not a core module",
            cause="it was built for a component target (wasm32-wasip2); Envoy's proxy-wasm loads "
            "core modules only",
            fix="build with --target wasm32-unknown-unknown")
    if data[4:8] != binary.CORE:
        raise BadModule(f"{shown} is of an unknown version of Wasm: {data[4:8]!r}",
                        cause="Envoy loads version 1", fix=_REBUILD)


def _other_kind(data: bytes) -> str:
    known = {b"\x7fELF": "a program for Linux", b"MZ": "a program for Windows",
             b"\x1f\x8b": "a gzip archive", b"PK": "a zip archive",
             b"\xcf\xfa\xed\xfe": "a program for macOS", b"!<ar": "an archive of object files"}
    for start, kind in known.items():
        if data.startswith(start):
            return kind
    try:
        data[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut by our window; anything earlier is no text.
        return "text" if len(data) > 4096 and error.start > 4090 else "some other kind of file"
    return "a text file"


def _problems(info: ModuleInfo) -> list[Problem]:
    found = []
    if not info.abi:
        found.append(Problem(
            "it has no export that marks its proxy-wasm version (proxy_abi_version_0_2_1)",
            _UNKNOWN_ABI,
            'build it on proxy-wasm, with crate-type = ["cdylib"] and the SDK in use'))
    for name in info.missing[:20]:
        if name == "env.proxy_get_log_level" and info.abi:
            fix = "mark it 0.2.1, as proxy-wasm 0.2.5 does: older versions had no such call"
        else:
            fix = "remove the use of it: no Envoy of this version defines it"
        found.append(Problem(
            f"it imports {name}, which this Envoy does not provide to a module marked "
            f"{info.abi or 'with no version'}",
            f"Failed to load Wasm module due to a missing import: {name}", fix))
    if not any(export.name == "memory" and export.kind == "memory" for export in info.exports):
        found.append(Problem("it exports no memory", "",
                             "link it as a library (cdylib): the linker then exports it"))
    if not info.allocator:
        found.append(Problem(
            "it exports neither malloc nor proxy_on_memory_allocate, so the host cannot hand it "
            "anything", "", "build it on proxy-wasm, which exports one of them"))
    if not info.initialiser:
        found.append(Problem(
            "it exports neither _initialize nor _start, so nobody tells the SDK of your contexts",
            "", "export `_initialize`, as proxy_wasm::main! does"))
    return found
