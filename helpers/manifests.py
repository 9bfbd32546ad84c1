"""Manifests: from YAML to objects, and from one model of a plugin to either Istio kind."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from helpers import paths, yaml_documents
from helpers.errors import BadManifest, NotFound
from helpers.mesh.base import Manifest
from helpers.plugin_objects import Plugin as Plugin
from helpers.plugin_objects import sidecar_volume as sidecar_volume
from helpers.plugin_objects import trafficextension as trafficextension
from helpers.plugin_objects import wasmplugin as wasmplugin

#: Bytes that the values of one ConfigMap may have together.
CONFIGMAP_BYTES = 1024 * 1024

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


# -- reading --------------------------------------------------------------------------------


def load(manifest: Manifest) -> list[dict[str, Any]]:
    """The objects of a manifest.

    Args:
        manifest: a file, YAML text (a one-line text that ends in .yaml, .yml or .json is a
            file name), one object, or several. Several documents in one text are allowed,
            empty ones are passed over, and a `kind: List` becomes its items.

    Returns:
        One dict for each object, all of JSON's types, each with apiVersion, kind and
        metadata.name.

    Raises:
        BadManifest: names file, line and column where it can; `field` where a field is wrong.
        NotFound: there is no such file.
    """
    if isinstance(manifest, str) and _is_file_name(manifest):
        manifest = Path(manifest)
    if isinstance(manifest, (Path, str)):
        source, text = _read(manifest)
        found = [
            (f"{source}, document from line {line}", value)
            for line, value in yaml_documents.parse(text, source)
        ]
    elif isinstance(manifest, Mapping):
        found = [("manifest", _as_json(manifest, ""))]
    elif isinstance(manifest, Sequence) and not isinstance(manifest, (bytes, bytearray)):
        found = [(f"manifest[{i}]", _as_json(each, "")) for i, each in enumerate(manifest)]
    else:
        raise BadManifest(
            f"a manifest cannot be made of {type(manifest).__name__}",
            fix="pass a path, YAML text, a dict, or a list of dicts",
        )
    objects = [obj for where, value in found for obj in _objects(value, where)]
    if not objects:
        raise BadManifest(
            "error: no objects passed to apply",
            cause="the manifest is empty or holds comments only",
            fix="write at least apiVersion, kind and metadata.name",
        )
    return objects


def load_patch(patch: Path | str | Mapping[str, Any]) -> dict[str, Any]:
    """The patch in a file or text: one map, which is no object of its own.

    Raises:
        BadManifest: not YAML, or not exactly one map.
        NotFound: there is no such file.
    """
    if isinstance(patch, Mapping):
        plain: dict[str, Any] = _as_json(patch, "")
        return plain
    source, text = _read(Path(patch) if isinstance(patch, str) and _is_file_name(patch) else patch)
    found = [value for _, value in yaml_documents.parse(text, source)]
    if len(found) != 1 or not isinstance(found[0], dict):
        raise BadManifest(
            f"{source}: a patch is one map, here are {len(found)} documents"
            if len(found) != 1
            else f"{source}: a patch is a map, here it is a {_json_type(found[0])}",
            fix="write the fields to change, from the top: spec: …",
        )
    return found[0]


def _is_file_name(text: str) -> bool:
    return "\n" not in text and text.strip().lower().endswith((".yaml", ".yml", ".json"))


def _read(manifest: Path | str) -> tuple[str, str]:
    if isinstance(manifest, str):
        return "text", manifest
    source = paths.shown(manifest)
    try:
        size = manifest.stat().st_size
        if size > yaml_documents.MAX_BYTES:
            raise yaml_documents.too_large(source, size)
        return source, manifest.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(
            f'error: the path "{source}" does not exist', fix="check the name and the folder"
        ) from error
    except UnicodeDecodeError as error:
        raise BadManifest(
            f"{source} is not UTF-8 text (byte {error.start})",
            cause="it is a binary file, or was saved in another encoding",
            fix="save it as UTF-8; give a .wasm to create configmap --from-file",
        ) from error
    except OSError as error:
        raise BadManifest(f"{source} cannot be read: {error.strerror}") from error


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        raise BadManifest(
            f"{where}: an object must be a map, here it is a {_json_type(value)}",
            cause="a manifest starts with apiVersion, kind and metadata",
            fix="mind the indentation of the first lines",
        )
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        items = enumerate(value["items"])
        return [obj for i, item in items for obj in _objects(item, f"{where}, items[{i}]")]
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise _bad(f"{where}: error validating data: {name} not set", name)
    meta = value.get("metadata")
    if not isinstance(meta, dict):
        raise _bad(f"{where}: metadata is missing or no map", "metadata")
    if not isinstance(meta.get("name"), str) or not meta["name"]:
        raise _bad(f"{where}: error: resource name may not be empty", "metadata.name")
    if why := invalid_name(meta["name"]):
        raise _bad(
            f'The {value["kind"]} "{meta["name"]}" is invalid: metadata.name: '
            f'Invalid value: "{meta["name"]}": {why}',
            "metadata.name",
        )
    return [value]


def _bad(what: str, name: str) -> BadManifest:
    error = BadManifest(what, fix=f"mend {name}")
    error.field = name
    return error


def _as_json(value: Any, at: str) -> Any:
    """A copy of `value` in JSON's types."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _bad(f"{at or 'manifest'}: key {key!r} is not a string", at)
        return {key: _as_json(each, f"{at}.{key}".lstrip(".")) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(each, f"{at}[{i}]") for i, each in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise _bad(f"{at or 'manifest'}: {value!r} cannot be written as JSON", at)


def _json_type(value: Any) -> str:
    names = {list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def invalid_name(name: str) -> str:
    """Why `name` is no name of an object, in Kubernetes' words; empty if it is one."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    if _SUBDOMAIN.fullmatch(name):
        return ""
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
        "'-' or '.', and must start and end with an alphanumeric character "
        "(e.g. 'example.com', regex used for validation is "
        f"'{_SUBDOMAIN.pattern}')"
    )


def to_yaml(*objects: Mapping[str, Any]) -> str:
    """The objects as YAML documents, keys in the order given, long lines left whole."""
    return "---\n".join(
        yaml.safe_dump(dict(obj), sort_keys=False, allow_unicode=True, width=10_000)
        for obj in objects
    )


# -- ConfigMaps -----------------------------------------------------------------------------


def configmap_from_files(
    name: str, namespace: str, from_file: Mapping[str, Path]
) -> dict[str, Any]:
    """kubectl create configmap NAME --from-file=KEY=PATH …

    Args:
        from_file: the file behind each key.

    Returns:
        The object: UTF-8 text under `data`, anything else as base64 under `binaryData`.

    Raises:
        BadManifest: a key that is none, or more than 1,048,576 bytes of values.
        NotFound: a file is not there.
    """
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    total = 0
    for key, path in from_file.items():
        if why := invalid_key(key):
            raise _bad(f'error: "{key}" is not a valid key name for a ConfigMap: {why}', "data")
        try:
            raw = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(
                f"error: error reading {path}: no such file",
                cause="the module was not built yet, or the path is wrong",
                fix="build it first: cargo build --release --target wasm32-unknown-unknown",
            ) from error
        total += len(raw)
        try:
            data[key] = raw.decode("utf-8")
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(raw).decode("ascii")
    if total > CONFIGMAP_BYTES:
        raise too_long(name, total, prefix="error: failed to create configmap: ")
    obj: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
    }
    if data:
        obj["data"] = data
    if binary:
        obj["binaryData"] = binary
    return obj


def too_long(name: str, size: int, *, prefix: str = "The ") -> BadManifest:
    """The error for a ConfigMap with `size` bytes of values."""
    return BadManifest(
        f'{prefix}ConfigMap "{name}" is invalid: []: Too long: '
        f"may not be more than {CONFIGMAP_BYTES} bytes",
        cause=f"its values have {size:,} bytes together",
        fix="build with the tuned profile (opt-level s, lto, strip), or serve the module over "
        "http and write that url into the WasmPlugin",
    )


def invalid_key(key: str) -> str:
    """Why `key` is no key of a ConfigMap, in Kubernetes' words; empty if it is one."""
    if len(key) > 253:
        return "must be no more than 253 characters"
    if not _KEY.fullmatch(key):
        return (
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
            "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', "
            f"regex used for validation is '{_KEY.pattern}')"
        )
    if key in (".", ".."):
        return f"must not be '{key}'"
    return "must not start with '..'" if key.startswith("..") else ""
