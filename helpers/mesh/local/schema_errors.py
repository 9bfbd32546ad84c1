"""From pydantic's errors to the sentences of Kubernetes' API server."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

Loc = Sequence[int | str]


class Model(BaseModel):
    """A map in a manifest: nothing but the fields that are named here.

    Attributes:
        unmodelled: real fields of a cluster's schema that the local mesh does not carry out.
    """

    # Built on first use: building takes a quarter of a second that many commands never need.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    unmodelled: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class FieldError:
    """One complaint.

    Attributes:
        path: the field, such as "spec.match[0].ports[0].number".
        detail: what comes after the path and a colon.
        blocking: whether the API server skips its validation rules because of it.
    """

    path: str
    detail: str
    blocking: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


@dataclass
class Findings:
    """What is wrong with an object, by the way the API server would report it.

    Attributes:
        unknown: paths of fields that no cluster knows.
        unmodelled: paths of fields that a cluster knows and this mesh does not.
        undecodable: sentences about values of a wrong type in a built-in kind.
        errors: everything else.
    """

    unknown: list[str]
    unmodelled: list[str]
    undecodable: list[str]
    errors: list[FieldError]


def show(value: Any) -> str:
    """A value as the API server prints it in a message."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def invalid(path: str, value: Any, why: str) -> FieldError:
    """PATH: Invalid value: VALUE: WHY"""
    return FieldError(path, f"Invalid value: {show(value)}: {why}")


def duplicate(path: str, value: Any) -> FieldError:
    """PATH: Duplicate value: VALUE"""
    return FieldError(path, f"Duplicate value: {show(value)}")


def required(path: str, why: str = "") -> FieldError:
    """PATH: Required value"""
    return FieldError(path, "Required value" + (f": {why}" if why else ""), blocking=True)


def dotted(loc: Loc) -> str:
    """("spec", "match", 0, "mode") as "spec.match[0].mode"."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def check(model: type[Model], obj: Mapping[str, Any], *, custom: bool) -> Findings:
    """What `model` finds wrong with `obj`.

    Args:
        custom: the kind is a custom resource, whose types are validated rather than decoded.
    """
    try:
        model.model_validate(obj)
    except ValidationError as error:
        return _sort(model, obj, error.errors(include_url=False), custom)
    return Findings([], [], [], [])


def _sort(
    model: type[Model], obj: Mapping[str, Any], errors: Iterable[ErrorDetails], custom: bool
) -> Findings:
    found = Findings([], [], [], [])
    for error in errors:
        loc = _real(obj, error["loc"])
        path = dotted(loc)
        if custom and loc[0] == "spec" and (inner := _misplaced(path, error)):
            found.unknown += inner
        elif error["type"] == "extra_forbidden":
            parent = _model_at(model, loc[:-1])
            real = str(loc[-1]) in parent.unmodelled
            (found.unmodelled if real else found.unknown).append(path)
        elif error["type"] in _TYPES and not (custom and loc[0] == "spec"):
            # Metadata is decoded into a Go struct even for a custom resource.
            parent = _model_at(model, loc[:-1])
            where = loc if loc[-1] in parent.model_fields else loc[:-1]
            plain = ".".join(str(part) for part in where if isinstance(part, str))
            if custom:  # … and by itself
                plain = plain.removeprefix("metadata.")
            kind = _GO_TYPES[_TYPES[error["type"]]]
            if where is loc and str(loc[-1]) in ("labels", "annotations"):
                kind = "map[string]string"
            found.undecodable.append(
                f"json: cannot unmarshal {_go_value(error['input'])} into Go struct field "
                f"{parent.__name__}.{plain} of type {kind}"
            )
        else:
            found.errors += _complaints(path, error)
    found.unknown.sort()
    return found


def _misplaced(path: str, error: ErrorDetails) -> list[str]:
    """Fields of maps where no map should be.

    The API server calls them unknown before it looks at types.
    """
    if error["type"] != "literal_error" and error["type"] not in _TYPES:
        return []
    wanted, value = _TYPES.get(error["type"], "string"), error["input"]
    if wanted != "object" and isinstance(value, Mapping):
        return [f"{path}.{key}" for key in value]
    if wanted != "array" and isinstance(value, list):
        maps = [(i, each) for i, each in enumerate(value) if isinstance(each, Mapping)]
        return [f"{path}[{i}].{key}" for i, each in maps for key in each]
    return []


def _real(obj: Any, loc: Loc) -> list[int | str]:
    """`loc` without the parts that pydantic adds for unions and map keys."""
    path: list[int | str] = []
    for i, part in enumerate(loc):
        inside = isinstance(obj, Mapping) and (part in obj or i == len(loc) - 1)
        inside = inside or (isinstance(obj, list) and isinstance(part, int))
        if not inside:
            continue
        path.append(part)
        if isinstance(obj, Mapping):
            obj = obj.get(str(part))
        elif isinstance(part, int) and part < len(obj):
            obj = obj[part]
    return path


def _model_at(model: type[Model], loc: Loc) -> type[Model]:
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = _inner(field.annotation) or model
    return model


def _inner(annotation: Any) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for each in typing.get_args(annotation):
        if found := _inner(each):
            return found
    return None


# pydantic's error type, and the JSON type that was wanted.
_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "int_from_float": "integer",
    "bool_type": "boolean",
    "dict_type": "object",
    "list_type": "array",
    "model_type": "object",
    "model_attributes_type": "object",
}
_GO_TYPES = {
    "string": "string",
    "integer": "int32",
    "boolean": "bool",
    "object": "map[string]interface {}",
    "array": "[]interface {}",
}


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (Mapping, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "array"


def _go_value(value: Any) -> str:
    return {"boolean": "bool", "integer": "number"}.get(_json_type(value), _json_type(value))


def _complaints(path: str, error: ErrorDetails) -> list[FieldError]:
    found = [_complaint(path, error)]
    if error["type"] == "literal_error" and not isinstance(error["input"], str):
        found.insert(0, _mistyped(path, error["input"], "string"))
    return found


def _mistyped(path: str, value: Any, wanted: str) -> FieldError:
    got = show(_json_type(value))
    why = f"{path} in body must be of type {wanted}: {got}"
    return FieldError(path, f"Invalid value: {got}: {why}", blocking=True)


def _complaint(path: str, error: ErrorDetails) -> FieldError:
    kind, value, ctx = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return required(path)
    if kind == "literal_error":
        allowed = str(ctx["expected"]).replace(" or ", ", ").replace("'", '"')
        return FieldError(
            path, f"Unsupported value: {show(value)}: supported values: {allowed}", blocking=True
        )
    if kind in _TYPES:
        return _mistyped(path, value, _TYPES[kind])
    if kind == "beyond_int64":  # Go reads it as a float then
        return _mistyped(path, float(value), "integer")
    if kind == "greater_than_equal":
        why = f"{path} in body should be greater than or equal to {ctx['ge']}"
        return invalid(path, value, why)
    if kind == "less_than_equal":
        return invalid(path, value, f"{path} in body should be less than or equal to {ctx['le']}")
    if kind == "string_too_short":
        why = f"{path} in body should be at least {ctx['min_length']} chars long"
        return invalid(path, value, why)
    if kind == "string_too_long":
        detail = f"Too long: may not be more than {ctx['max_length']} bytes"
        return FieldError(path, detail, blocking=True)
    if kind == "too_long":
        detail = f"Too many: {ctx['actual_length']}: must have at most {ctx['max_length']} items"
        return FieldError(path, detail, blocking=True)
    if kind == "string_pattern_mismatch":
        return invalid(path, value, f"{path} in body should match '{ctx['pattern']}'")
    return invalid(path, value, error["msg"])
