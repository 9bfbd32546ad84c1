"""How two versions of an object become one: kubectl's patches and its three-way apply.

JSON merge patch is RFC 7386. The strategic merge patch is Kubernetes' own: in a
Deployment, lists of containers, volumes, mounts, ports and environment variables are
merged item by item by a key instead of being replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

# patchMergeKey of k8s.io/api/core/v1, for the lists that the local mesh models.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
}


def json_merge(target: Any, patch: Any) -> Any:
    """`target` with `patch` laid over it as RFC 7386 says; null removes a member."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = json_merge(result.get(key), value)
    return result


def strategic_merge(target: Any, patch: Any, field: str = "") -> Any:
    """`target` with `patch` laid over it as `kubectl patch` does for built-in kinds.

    A map or list item may carry `$patch: delete` or `$patch: replace`.
    """
    if isinstance(patch, Mapping):
        if patch.get("$patch") == "replace":
            return {key: value for key, value in patch.items() if key != "$patch"}
        result = dict(target) if isinstance(target, Mapping) else {}
        for key, value in patch.items():
            if key.startswith("$"):
                continue
            if value is None:
                result.pop(key, None)
            else:
                result[key] = strategic_merge(result.get(key), value, key)
        return result
    if isinstance(patch, list) and (key := _merge_key(field, patch)):
        return _merge_list(target if isinstance(target, list) else [], patch, key)
    return copy.deepcopy(patch)


def _merge_key(field: str, items: list[Any]) -> str:
    key = _MERGE_KEYS.get(field, "")
    plain = [item for item in items if not (isinstance(item, Mapping) and "$patch" in item)]
    usable = key and all(isinstance(item, Mapping) and key in item for item in plain)
    return key if usable else ""


def _merge_list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    if any(item.get("$patch") == "replace" and len(item) == 1 for item in patch):
        return [copy.deepcopy(item) for item in patch if item.get("$patch") != "replace"]
    # As the API server does: new items come first in the patch's order, known ones stay put.
    result = copy.deepcopy(target)
    added: list[Any] = []
    for item in patch:
        at = next((i for i, old in enumerate(result) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            added.append(strategic_merge({}, item))
        else:
            result[at] = strategic_merge(result[at], item)
    return added + result


def three_way(live: Any, last: Any, new: Any, *, keyed: bool, field: str = "") -> Any:
    """What `kubectl apply` makes of the `live` object.

    What the previous manifest (`last`) had and `new` has no longer is removed; what others
    put there (a patch) stays; what `new` says wins.

    Args:
        keyed: merge the lists of a built-in kind by their key; a custom resource's lists
            are replaced as a whole.
    """
    if isinstance(new, Mapping) and isinstance(live, Mapping):
        before = last if isinstance(last, Mapping) else {}
        result = {key: value for key, value in live.items() if key in new or key not in before}
        for key, value in new.items():
            result[key] = three_way(live.get(key), before.get(key), value, keyed=keyed, field=key)
        return result
    if (
        keyed
        and isinstance(new, list)
        and isinstance(live, list)
        and (key := _merge_key(field, new))
        and _merge_key(field, live)
    ):
        return _three_way_list(live, last if isinstance(last, list) else [], new, key)
    return copy.deepcopy(new)


def _three_way_list(live: list[Any], last: list[Any], new: list[Any], key: str) -> list[Any]:
    last_by = {item[key]: item for item in last if isinstance(item, Mapping) and key in item}
    new_by = {item[key]: item for item in new}
    # Live items keep their places, so that applying the same manifest again changes nothing.
    merged = [
        three_way(item, last_by.get(item[key]), new_by[item[key]], keyed=True)
        if item[key] in new_by
        else copy.deepcopy(item)
        for item in live
        if item[key] in new_by or item[key] not in last_by
    ]
    there = {item[key] for item in live}
    return merged + [copy.deepcopy(item) for item in new if item[key] not in there]
