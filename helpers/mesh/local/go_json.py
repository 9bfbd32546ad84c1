"""JSON as istiod writes a pluginConfig.

It reaches istiod as a protobuf Struct, whose numbers are all float64, and is written with Go's
encoding/json: keys sorted, the shortest digits that give the number back, no space, and the
characters that are dangerous in HTML escaped. A module that reads its configuration as text
(or a learner who compares it) sees exactly this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# encoding/json escapes these by default; json.dumps leaves them.
_ESCAPES = {
    ord(each): f"\\u{ord(each):04x}" for each in ("<", ">", "&", "\N{LINE SEPARATOR}",
                                                  "\N{PARAGRAPH SEPARATOR}")
}  # fmt: skip


def text(value: Any) -> str:
    """The JSON text of a value of JSON's types."""
    if isinstance(value, Mapping):
        pairs = (f"{_string(key)}:{text(value[key])}" for key in sorted(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(text(each) for each in value) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return _number(float(value))
    return _string(value)


def _string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)


def _number(value: float) -> str:
    """Plain digits from 1e-6 up to 1e21, an exponent outside of it, as in ECMAScript."""
    # repr has the shortest digits, too, but other limits for the exponent.
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "-0" if str(value).startswith("-") else "0"
    # The number is 0.DIGITS times ten to the power of `point`.
    stripped = len(whole + fraction) - len(digits)
    point = len(whole) - stripped + int(exponent or 0)
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if not -6 < point <= 21:
        tail = f".{digits[1:]}" if digits[1:] else ""
        return f"{sign}{digits[0]}{tail}e{point - 1:+03d}".replace("e-0", "e-")
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits.ljust(point, "0")
    return f"{sign}{digits[:point]}.{digits[point:]}"
