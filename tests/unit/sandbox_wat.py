"""Small plugins in WebAssembly's text format, for what no SDK would let a plugin do.

`plugin()` gives the smallest module that the sandbox takes as a plugin; the bodies of its
callbacks are WAT. In a body every host call is known by its name (`$proxy_log`, `$fd_write`), and
`$say` logs a number, which `said()` reads from an exchange.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import wasmtime

from helpers.sandbox import Exchange, LogLine
from helpers.sandbox.exports import CALLBACKS
from helpers.sandbox.imports import known

PAGE = 65536
#: Memory below it is the test's own; `malloc` gives what is above.
HEAP = 32768
#: Where `$say` writes its digits.
_DIGITS = 31744

SIGNATURES = known()
_LETTERS = {"i": "i32", "I": "i64"}
_TRUE = ("proxy_on_vm_start", "proxy_validate_configuration", "proxy_on_configure",
         "proxy_on_done")

#: An allocator that never takes anything back, and asks for memory when it has none.
MALLOC = f"""
  (global $heap (mut i32) (i32.const {HEAP}))
  (func $malloc (export "malloc") (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at)
      (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
    (block $enough (loop $more
      (br_if $enough (i32.le_u (global.get $heap)
        (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
      (br $more)))
    (local.get $at))
"""

_SAY = f"""
  (func $say (param $number i32) (local $digit i32) (local $at i32)
    (local.set $at (i32.const 8))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (local.set $digit (i32.and (local.get $number) (i32.const 15)))
      (i32.store8 (i32.add (i32.const {_DIGITS}) (local.get $at))
        (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48)
          (i32.gt_u (local.get $digit) (i32.const 9)))))
      (local.set $number (i32.shr_u (local.get $number) (i32.const 4)))
      (br_if $next (local.get $at)))
    (drop (call $proxy_log (i32.const 2) (i32.const {_DIGITS}) (i32.const 8))))
"""

LOOP = "(loop $forever (br $forever))"


def wat(text: str) -> bytes:
    """The module in binary."""
    return bytes(wasmtime.wat2wasm(text))


def quoted(data: bytes) -> str:
    """Bytes as WAT writes them."""
    return '"' + "".join(f"\\{byte:02x}" for byte in data) + '"'


def call(name: str, *arguments: int) -> str:
    """A host call with these arguments: an expression that gives its status."""
    found = SIGNATURES.get(("env", name)) or SIGNATURES["wasi_snapshot_preview1", name]
    assert len(found.params) == len(arguments), (name, found.params, arguments)
    words = [f"({_LETTERS[kind]}.const {value})"
             for kind, value in zip(found.params, arguments, strict=True)]
    return f"(call ${name} {' '.join(words)})"


def say(*expressions: str) -> str:
    """Log what these expressions give."""
    return "\n".join(f"(call $say {one})" for one in expressions)


def plugin(callbacks: Mapping[str, str] | None = None, *, data: Mapping[int, bytes] | None = None,
           memory: str = "1", malloc: str = MALLOC, extra: str = "",
           markers: Iterable[str] = ("proxy_abi_version_0_2_1",)) -> bytes:
    """A module.

    Args:
        callbacks: an export's name (without "proxy_on_" where it begins so) and its body.
            A callback with a result answers "go on" unless the body returns something else.
        data: what stands in memory, by address.
        memory: its limits in pages, as WAT writes them.
        malloc: its allocator.
        extra: further fields, such as (start …) or (func (export "_initialize") …).
        markers: exports that mark the ABI version.
    """
    functions = []
    for short, body in (callbacks or {}).items():
        name = short if short in CALLBACKS else f"proxy_on_{short}"
        params, results = CALLBACKS[name]
        shape = f"(param {' '.join('i32' for _ in params)})" + (
            " (result i32)" if results else "")
        tail = f"(i32.const {int(name in _TRUE)})" if results else ""
        functions.append(f'(func (export "{name}") {shape}\n{body}\n{tail})')
    code = "\n".join([malloc, extra, *functions])
    if "$say" in code:
        code += _SAY
    wanted = [_imported(name) for name in sorted(set(re.findall(r"\(call \$(\w+)", code)))
              if not re.search(rf"\(func \${name}\s", code)]
    segments = [f"(data (i32.const {at}) {quoted(found)})" for at, found in (data or {}).items()]
    marks = [f'(func (export "{mark}"))' for mark in markers]
    return wat("\n".join(["(module", *wanted, f'(memory (export "memory") {memory})', *segments,
                          *marks, code, ")"]))


def _imported(name: str) -> str:
    module = "env" if ("env", name) in SIGNATURES else "wasi_snapshot_preview1"
    found = SIGNATURES[module, name]
    params = "".join(f" (param {_LETTERS[kind]})" for kind in found.params)
    results = "".join(f" (result {_LETTERS[kind]})" for kind in found.results)
    return f'(import "{module}" "{name}" (func ${name}{params}{results}))'


def said(where: Exchange | Iterable[LogLine]) -> list[int]:
    """The numbers that `$say` logged."""
    found = where.logs if isinstance(where, Exchange) else where
    return [int(line.text, 16) for line in found if re.fullmatch("[0-9a-f]{8}", line.text)]


def u32(*numbers: int) -> bytes:
    """Numbers as they lie in memory."""
    return b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers)
