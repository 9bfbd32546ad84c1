"""Small parts of the sidecar on this computer, without an Envoy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.mesh.local import agent, go_url, istiod, sidecar

PREFIX = "extension_config_discovery.http_filter."


def resource(**wasm: Any) -> dict[str, Any]:
    """What istiod sends for a module that has to be fetched."""
    spec = {"url": "http://127.0.0.1:9/a.wasm", **wasm}
    meta = {"name": "x", "namespace": "default", "resourceVersion": "7"}
    return istiod.ecds(istiod.extension({"kind": "WasmPlugin", "metadata": meta, "spec": spec}))


def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **wasm: Any) -> dict[str, Any]:
    """What Envoy gets when the module can be had."""
    monkeypatch.setattr(agent, "_download", lambda url: b"\0asm")
    found = agent.to_local(
        resource(**wasm), root=tmp_path, cache=tmp_path / "cache", log=tmp_path / "log"
    )
    config: dict[str, Any] = found["typed_config"]["config"]["vm_config"]
    return config


def test_answers_are_counted_counter_by_counter() -> None:
    before = {f"{PREFIX}gone.config_reload": 5, f"{PREFIX}a.config_reload": 1}
    now = {f"{PREFIX}a.config_reload": 2, f"{PREFIX}b.config_fail": 1}
    assert sidecar._answers("ecds", before, now) == 2
    assert sidecar._answers("rds", before, now) == 0


def test_the_agents_own_variables_do_not_reach_envoy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "environment_variables" not in fetched(tmp_path, monkeypatch, imagePullPolicy="Always")
    env = [{"name": "ISTIO_META_MINE", "value": "1"}, {"name": "A", "value": "b"}]
    found = fetched(tmp_path, monkeypatch, vmConfig={"env": env})
    assert found["environment_variables"] == {"key_values": {"A": "b"}}
    env = [{"name": "POD_NAME", "valueFrom": "HOST"}]
    found = fetched(tmp_path, monkeypatch, vmConfig={"env": env})
    assert found["environment_variables"] == {"host_env_keys": ["POD_NAME"]}


@pytest.mark.parametrize(
    ("settings", "rbac"),
    [
        (
            {"type": "NETWORK"},
            {"@type": istiod.NETWORK_RBAC_TYPE, "stat_prefix": "wasm-default-deny", "rules": {}},
        ),
        (
            {"failStrategy": "FAIL_OPEN"},
            {"@type": istiod.RBAC_TYPE, "rules_stat_prefix": "wasm-default-allow"},
        ),
    ],
)
def test_without_its_pull_secret_a_module_is_not_fetched(
    tmp_path: Path, settings: dict[str, Any], rbac: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    found = agent.to_local(
        resource(imagePullSecret="none", **settings), root=tmp_path, cache=tmp_path, log=log
    )
    assert found["typed_config"] == rbac
    assert (
        "cannot fetch Wasm module default.x~istio-translated-wasmplugin: missing image pulling "
        "secret" in log.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("FILE:///a", "file"),
        ("example.com/a:v1", ""),
        ("localhost:5000/a", "localhost"),
        ("http://[::1]:80/a", "http"),
        ("http://a:b@c/d?e#f", "http"),
        ("/a", ""),
        ("//a/b", ""),
        ("1a/b", ""),
    ],
)
def test_schemes_are_read_as_go_reads_them(text: str, scheme: str) -> None:
    assert go_url.scheme(text) == scheme


@pytest.mark.parametrize(
    "text",
    [":a", "a b:c/d:e", "http://a b/", "http://[::1", "http://a:b/", "a\n", "/%zz", "http://%41/",
     "http://a@b c/", "http://a b@c/", "a#%z", "1:2"],
)  # fmt: skip
def test_what_go_cannot_read_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        go_url.scheme(text)


@pytest.mark.parametrize("text", ["", "a", "a/b"])
def test_a_request_needs_a_scheme_or_a_path_from_the_root(text: str) -> None:
    assert go_url.scheme(text) == ""
    with pytest.raises(ValueError, match=r"\w"):
        go_url.scheme(text, request=True)
