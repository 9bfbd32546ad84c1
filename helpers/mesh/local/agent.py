"""pilot-agent's part: istiod's ECDS made into what the Envoy on this computer can load.

A module by `file://` is looked up under the folder that stands for the sidecar's root file
system. A module by http(s) is fetched, checked and cached, as `pkg/wasm` of Istio does; after
five tries the filter is replaced by one that denies all, or allows all with FAIL_OPEN.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from helpers import files
from helpers.errors import WorkbookError
from helpers.mesh.local.istiod import NETWORK_RBAC_TYPE, RBAC_TYPE, WASM_TYPE

_TRIES = 5
_FIRST_BACKOFF = 0.1
_MAXIMUM_BYTES = 256 * 1024 * 1024
_MAGIC = b"\0asm"


class _FetchFailed(WorkbookError):
    """The module could not be had; the text is pilot-agent's."""


def to_local(resource: Mapping[str, Any], *, root: Path, cache: Path, log: Path) -> dict[str, Any]:
    """The ECDS resource that this computer's Envoy gets.

    Args:
        resource: what istiod sends (`istiod.ecds`).
        root: stands for the sidecar's root file system.
        cache: fetched modules, one folder a pod: a new pod starts with none.
        log: where pilot-agent's lines go.
    """
    local = copy.deepcopy(dict(resource))
    config = local["typed_config"]["config"]
    code = config["vm_config"]["code"]
    if "local" in code:
        code["local"]["filename"] = inside(root, code["local"]["filename"])
        return local
    variables = config["vm_config"]["environment_variables"]["key_values"]
    always = variables.get("ISTIO_META_WASM_IMAGE_PULL_POLICY") == "Always"
    version = variables.get("ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION", "")
    remote = code["remote"]
    try:
        if variables.get("ISTIO_META_WASM_IMAGE_PULL_SECRET") == "":
            raise _FetchFailed(
                f"cannot fetch Wasm module {config['name']}: missing image pulling secret"
            )
        module = _fetch(
            remote["http_uri"]["uri"], remote.get("sha256", ""), cache, version if always else ""
        )
    except _FetchFailed as error:
        allow = config.get("failure_policy") == "FAIL_OPEN"
        word = "allow" if allow else "deny"
        say(
            log,
            "error",
            "wasm",
            f"error in converting the wasm config to local: {error.what}. "
            f"applying {word} RBAC filter",
        )
        http = local["typed_config"]["@type"] == WASM_TYPE
        rbac: dict[str, Any] = {
            "@type": RBAC_TYPE if http else NETWORK_RBAC_TYPE,
            "rules_stat_prefix" if http else "stat_prefix": f"wasm-default-{word}",
        }
        if not allow:
            rbac["rules"] = {}
        local["typed_config"] = rbac
        return local
    config["vm_config"]["code"] = {"local": {"filename": str(module)}}
    _strip(config["vm_config"])
    return local


def _strip(vm: dict[str, Any]) -> None:
    """Take away what is meant for the agent alone; a plugin never sees it."""
    environment = vm["environment_variables"]
    kept = {
        name: value
        for name, value in environment.pop("key_values").items()
        if not name.startswith("ISTIO_META_")
    }
    if kept:
        environment["key_values"] = kept
    elif not environment.get("host_env_keys"):
        del vm["environment_variables"]


def inside(root: Path, path: str) -> str:
    """An absolute path of the container as a path of this computer.

    A path that climbs out with `..` stays inside, as it does in a container.
    """
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return str(root.joinpath(*parts))


def say(log: Path, level: str, scope: str, text: str) -> None:
    """Append a line as pilot-agent writes it: time, level, scope, text."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with files.writing(log), log.open("a", encoding="utf-8") as handle:
        handle.write(f"{now}\t{level}\t{scope}\t{text}\n")


def _fetch(url: str, sha256: str, cache: Path, version: str) -> Path:
    """The cached file of a module, fetched when it is not there."""
    index_path = cache / "index.json"
    index = _index(index_path)
    key = f"{url}#{version}" if version else url
    known = sha256 or index.get(key, "")
    if known and (cache / f"{known}.wasm").exists():
        return cache / f"{known}.wasm"
    data = _download(url)
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise _FetchFailed(
            f"module downloaded from {url} has checksum {found}, which does not match: {sha256}"
        )
    if not data.startswith(_MAGIC):
        raise _FetchFailed(f"fetched Wasm binary from {url} is invalid")
    module = cache / f"{found}.wasm"
    files.write_atomic(module, data)
    index[key] = found
    files.write_json_plain(index_path, index)
    return module


def _index(path: Path) -> dict[str, str]:
    """Which module each URL gave; a damaged index is an empty one: all is fetched anew."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(digest) for key, digest in found.items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def _download(url: str) -> bytes:
    reason = ""
    wait = _FIRST_BACKOFF
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(wait)
            wait *= 2
        try:
            with httpx.stream("GET", url, timeout=5, follow_redirects=True) as answer:
                if answer.status_code == 200:
                    data = bytearray()
                    for part in answer.iter_bytes():
                        data += part
                        if len(data) > _MAXIMUM_BYTES:
                            raise _FetchFailed(
                                f"could not fetch Wasm binary from {url}: larger than "
                                f"{_MAXIMUM_BYTES} bytes"
                            )
                    return bytes(data)
                reason = f"wasm module download request failed: status code {answer.status_code}"
                if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
                    break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = (
                f"wasm module download failed after {attempt + 1} attempts, last error: {error}"
            )
    raise _FetchFailed(reason)
