"""From a scenarios.yaml to scenarios, and the words for what is wrong in one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from helpers import paths, yaml_documents
from helpers.errors import BadManifest, NotFound
from helpers.scenarios.errors import BadScenario
from helpers.scenarios.format import File, Scenario

NAME = "scenarios.yaml"
_MOST = 8
_FIX = "docs/scenarios.md has the format"


def load(path: Path | str) -> list[Scenario]:
    """The scenarios of a file, in order.

    Args:
        path: a scenarios.yaml, or the folder that holds one.

    Raises:
        NotFound: there is no such file.
        BadScenario: it is no YAML or not of the format; names file, scenario and field.
    """
    path = Path(path)
    if path.is_dir():
        path = path / NAME
    shown = paths.shown(path)
    try:
        documents = yaml_documents.parse(path.read_text(encoding="utf-8"), shown)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no file {shown}", cause="nothing lies there",
                       fix=f"write one; {_FIX}") from None
    except UnicodeDecodeError as error:
        raise BadScenario(f"{shown} is no UTF-8", cause=str(error),
                          fix='save it as UTF-8; write other bytes as {hex: "59a1"}') from error
    except BadManifest as error:
        raise BadScenario(error.what, cause=error.cause.replace("manifest", "file"),
                          fix=error.fix or _FIX) from error
    if len(documents) != 1:
        raise BadScenario(f"{shown} has {len(documents)} documents", fix=_FIX,
                          cause="a file of scenarios is one: a mapping with the key scenarios")
    return parse(documents[0][1], shown, path.resolve().parent.name)


def parse(document: Any, file: str, plugin: str) -> list[Scenario]:
    """Check a document and make scenarios of it.

    Args:
        file: what to call it in messages.
        plugin: the name of the plugin that they are about.

    Raises:
        BadScenario: it is not of the format.
    """
    try:
        found = File.model_validate(document).scenarios
    except ValidationError as error:
        complaints = list(dict.fromkeys(_words(document, each) for each in error.errors()))
        more = len(complaints) - _MOST
        raise BadScenario(
            f"{file}, {complaints[0]}",
            cause="the file says something that the format does not have",
            fix=_FIX,
            detail="\n".join([*(f"{file}, {text}" for text in complaints[1:_MOST]),
                              *([f"and {more} more"] if more > 0 else [])]),
        ) from error
    names = Counter(scenario.name for scenario in found)
    if twice := [name for name, count in names.items() if count > 1]:
        raise BadScenario(f'{file}: two scenarios are called "{twice[0]}"',
                          cause="a result has to tell which one it is of",
                          fix="give one of them another name")
    return [scenario.located(file, plugin) for scenario in found]


def _words(document: Any, error: ErrorDetails) -> str:
    """One complaint: the scenario by name, the field by path, and why."""
    place: list[str] = []
    name = ""
    at: Any = document
    for part in error["loc"]:
        known = (isinstance(part, int) and isinstance(at, list) and part < len(at)) or (
            isinstance(at, dict) and part in at)
        if not known and part != error["loc"][-1]:
            continue  # a member of a union, which the file does not have
        at = at[part] if known else None
        if isinstance(part, int):
            if place == ["scenarios"]:
                name = str(at.get("name", "")) if isinstance(at, dict) else ""
                place = [] if name else [f"scenarios[{part}]"]
            elif place:
                place[-1] += f"[{part}]"
        elif known or error["type"] in ("missing", "extra_forbidden"):
            place.append(str(part))
    where = ".".join(place)
    parts = [f'scenario "{name}"'] if name else []
    if where:
        parts.append(where)
    return f"{', '.join(parts) or 'at its top'}: {_why(error)}"


def _why(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind == "missing":
        return "this field is needed"
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    given = error["input"]
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"{given!r:.60} is no mapping"
    if kind == "list_type":
        return f"{given!r:.60} is no list"
    if kind == "literal_error":
        return f"{given!r:.60} is none of {error.get('ctx', {}).get('expected', '')}"
    return f"{given!r:.60}: {error['msg'][:1].lower()}{error['msg'][1:]}"
