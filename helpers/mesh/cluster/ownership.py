"""What in a cluster is the workbook's: one label, and what was changed of others' things."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from helpers.mesh.cluster.errors import NotOurs

#: On everything that we make; its value is the learner's namespace.
LABEL = "istio-wasm-workbook"
#: Who we are to server-side apply.
MANAGER = "istio-wasm-workbook"
#: On a Deployment that was there before us: the pod template that it had.
ORIGINAL = "istio-wasm-workbook/original"
#: On a namespace that was there before us: the injection label is ours.
LABELLED = "istio-wasm-workbook/labelled"

#: Istio's namespace: a plugin there applies to every namespace.
ROOT_NAMESPACE = "istio-system"


def owner(obj: Mapping[str, Any]) -> str | None:
    """The learner's namespace whose workbook made an object; None when no workbook did."""
    found = (obj["metadata"].get("labels") or {}).get(LABEL)
    return None if found is None else str(found)


def belongs(obj: Mapping[str, Any]) -> str:
    """To whom an object belongs, in words."""
    whose = owner(obj)
    return f"the learner in namespace {whose}" if whose else "whoever made it before the workbook"


def marked(document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """A manifest with our label; nothing else of it changes, its pod template least of all."""
    meta = dict(document["metadata"])
    meta["labels"] = {**(meta.get("labels") or {}), LABEL: namespace}
    return {**document, "metadata": meta}


def refuse(what: str, obj: Mapping[str, Any], command: str) -> NotOurs:
    """The error for a change of something that is not ours."""
    return NotOurs(
        f"{what} is left alone: it belongs to {belongs(obj)}",
        cause="the workbook changes only what it made itself in this namespace",
        fix=f"use a namespace of your own (--namespace NAME), or remove it yourself: {command}",
    )


def original(deployment: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pod template that a Deployment had before we patched it; None when we did not."""
    text = (deployment["metadata"].get("annotations") or {}).get(ORIGINAL)
    if text is None:
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def keep_original(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that writes a Deployment's present pod template down on it."""
    text = json.dumps(deployment["spec"]["template"], separators=(",", ":"), sort_keys=True)
    return {"metadata": {"annotations": {ORIGINAL: text}}}
