"""Objects that an API server may refuse: one thing is doubtful about each.

A pure function of the seed, which chooses the kind of object and some of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from helpers.comparison.model import Doubtful
from helpers.comparison.values import KINDS, URL, pick
from helpers.plugin_objects import API_VERSION

Spec = dict[str, Any]

_LONG_LABEL = "x" * 64


def _module(choice: Random) -> list[tuple[str, Spec]]:
    """What concerns the module: each in either kind."""
    word = pick(choice, ("yes", "NOPE", "fail_open", "Http", "0"))
    return [
        ("no url", {"url": None}),
        ("url empty", {"url": ""}),
        ("url of another scheme", {"url": pick(choice, ("ftp://a/b.wasm", "s3://a/b", "data:,a"))}),
        ("url with a blank", {"url": "http://a b/c.wasm"}),
        ("url of an image at a port", {"url": "localhost:5000/a:v1"}),
        ("url of an image", {"url": "registry.example/a/b:v1"}),
        ("url of an image without host", {"url": "a"}),
        ("url with a path only", {"url": "/etc/wasm/a.wasm"}),
        ("url in capitals", {"url": "FILE:///a.wasm"}),
        ("url with a bad escape", {"url": "http://a/%zz"}),
        ("url with a bad port", {"url": "http://a:b/c.wasm"}),
        ("url with half an address", {"url": "http://[::1/a"}),
        ("url without host", {"url": pick(choice, ("http://", "file:", "oci:a", "//host/a"))}),
        ("url with a fragment", {"url": pick(choice, ("HTTPS://A/b#c", "a#b", "a/b?c#%zz"))}),
        ("url with a bad escape and no scheme", {"url": "a b/%"}),
        ("url with a control character", {"url": "file:///a\n"}),
        ("url with a user", {"url": pick(choice, ("http://a:b@c/d", "http://a b@c/d", "a@b/c"))}),
        ("url with a colon first", {"url": ":a"}),
        ("url: a number", {"url": 3}),
        ("url: null", {"url": "(null)"}),
        ("unknown field", {"fooBar": 1}),
        ("unknown field in vmConfig", {"vmConfig": {"environment": []}}),
        ("unknown field in env", {"vmConfig": {"env": [{"name": "A", "valueForm": "HOST"}]}}),
        ("two unknown fields", {"foo": 1, "vmConfig": {"bar": 2}}),
        ("failStrategy of no meaning", {"failStrategy": word}),
        ("failStrategy: a number", {"failStrategy": 1}),
        ("imagePullPolicy of no meaning", {"imagePullPolicy": "Never"}),
        ("type of no meaning", {"type": word}),
        ("sha256 too short", {"sha256": "zz"}),
        ("sha256 in capitals", {"sha256": "A" * 64}),
        ("sha256 with a newline", {"sha256": "a" * 64 + "\n"}),
        ("sha256 empty", {"sha256": ""}),
        ("sha256: a number", {"sha256": 12}),
        ("imagePullSecret empty", {"imagePullSecret": ""}),
        ("imagePullSecret of 253", {"imagePullSecret": "x" * 253}),
        ("imagePullSecret of 254", {"imagePullSecret": "x" * 254}),
        ("pluginName empty", {"pluginName": ""}),
        ("pluginName of 256", {"pluginName": "x" * 256}),
        ("pluginName of 257", {"pluginName": "x" * 257}),
        ("pluginName of 256 letters of two bytes", {"pluginName": "é" * 256}),
        ("pluginConfig: a text", {"pluginConfig": '{"a": 1}'}),
        ("pluginConfig: a list", {"pluginConfig": [1]}),
        ("pluginConfig: null", {"pluginConfig": "(null)"}),
        ("vmConfig: a list", {"vmConfig": []}),
        ("env: a map", {"vmConfig": {"env": {"A": "b"}}}),
        ("env without name", {"vmConfig": {"env": [{"value": "a"}]}}),
        ("env with an empty name", {"vmConfig": {"env": [{"name": ""}]}}),
        ("env with a name of 257", {"vmConfig": {"env": [{"name": "x" * 257}]}}),
        ("env with a value of 2048", {"vmConfig": {"env": [{"name": "A", "value": "x" * 2048}]}}),
        ("env with a value of 2049", {"vmConfig": {"env": [{"name": "A", "value": "x" * 2049}]}}),
        ("env with a number", {"vmConfig": {"env": [{"name": "A", "value": 1}]}}),
        ("env from nowhere", {"vmConfig": {"env": [{"name": "A", "valueFrom": "SECRET"}]}}),
        (
            "env HOST with a value",
            {
                "vmConfig": {
                    "env": [{"name": "A"}, {"name": "B", "valueFrom": "HOST", "value": "b"}]
                }
            },
        ),
        (
            "env HOST with an empty value",
            {"vmConfig": {"env": [{"name": "A", "valueFrom": "HOST", "value": ""}]}},
        ),
        ("env twice", {"vmConfig": {"env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}}),
        ("env: 257 of them", {"vmConfig": {"env": [{"name": f"A{i}"} for i in range(257)]}}),
        ("verificationKey: a number", {"verificationKey": 1}),
        ("failStrategy: null", {"failStrategy": None}),
        ("env: null", {"vmConfig": {"env": None}}),
        ("env with null in it", {"vmConfig": {"env": [None]}}),
        ("env with a value of null", {"vmConfig": {"env": [{"name": "A", "value": None}]}}),
        ("env with a name of null", {"vmConfig": {"env": [{"name": None}]}}),
        (
            "env with a name of 256 letters of two bytes",
            {"vmConfig": {"env": [{"name": "é" * 256}]}},
        ),
        ("env with a name of numbers", {"vmConfig": {"env": [{"name": 1}, {"name": 1}]}}),
        (
            "imagePullSecret and pluginName of two bytes a letter",
            {"imagePullSecret": "é" * 200, "pluginName": "é" * 200},
        ),
        (
            "url and much else",
            {
                "url": "ftp://a",
                "sha256": "zz",
                "failStrategy": "NOPE",
                "type": 1,
                "vmConfig": {"env": [{}]},
            },
        ),
        (
            "url missing and much else",
            {"url": None, "sha256": "zz", "vmConfig": {"env": [{"name": ""}, {"valueFrom": "A"}]}},
        ),
        (
            "env twice, and HOST with a value",
            {
                "vmConfig": {
                    "env": [{"name": "A"}, {"name": "A", "valueFrom": "HOST", "value": "b"}]
                }
            },
        ),
        ("pluginConfig with null in it", {"pluginConfig": {"a": None, "b": [None]}}),
    ]


def _target(choice: Random) -> list[tuple[str, Spec]]:
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
    return [
        ("targetRefs without kind", {"targetRefs": [{"name": "a"}]}),
        ("targetRefs without name", {"targetRefs": [{"kind": "Service"}]}),
        ("targetRefs with a bad group", {"targetRefs": [{**gateway, "group": "A.b"}]}),
        ("targetRefs with a bad kind", {"targetRefs": [{**gateway, "kind": "1a"}]}),
        ("targetRefs to what Istio does not know",
         {"targetRefs": [{"group": "apps", "kind": "Deployment", "name": "a"}]}),
        ("targetRefs into another namespace", {"targetRefs": [{**gateway, "namespace": "b"}]}),
        ("targetRefs with an empty namespace", {"targetRefs": [{**gateway, "namespace": ""}]}),
        ("targetRefs: 17 of them", {"targetRefs": [gateway] * 17}),
        ("targetRefs and selector",
         {"targetRefs": [gateway], "selector": {"matchLabels": {"a": "b"}}}),
        ("targetRefs empty and selector", {"targetRefs": [], "selector": {}}),
        ("targetRefs: a map", {"targetRefs": gateway}),
    ]  # fmt: skip


def _place(choice: Random) -> list[tuple[str, Spec]]:
    """Where the plugin goes: each in either kind."""
    port = pick(choice, (65536, 70000, 2**31))
    return [
        *_target(choice),
        ("phase of no meaning", {"phase": pick(choice, ("NOPE", "authn", ""))}),
        ("phase in the words of the other kind", {"phase": "(other)"}),
        ("priority: a text", {"priority": "a"}),
        ("priority: a text of digits", {"priority": "1"}),
        ("priority: a fraction", {"priority": 1.5}),
        ("priority beyond int32", {"priority": 2**31}),
        ("priority beyond int64", {"priority": 2**64}),
        ("priority lowest", {"priority": -(2**31)}),
        ("priority below", {"priority": -(2**31) - 1}),
        ("priority: null", {"priority": "(null)"}),
        ("priority: 3.0", {"priority": 3.0}),
        ("priority: 1e3", {"priority": 1e3}),
        ("priority: a list", {"priority": [1]}),
        ("priority: true", {"priority": True}),
        ("selector with an unknown field", {"selector": {"labels": {"a": "b"}}}),
        ("selector: a list", {"selector": [{"a": "b"}]}),
        ("selector with an asterisk", {"selector": {"matchLabels": {"app": "product*"}}}),
        ("selector with an asterisk in a key", {"selector": {"matchLabels": {"a*": "b"}}}),
        ("selector with an empty key", {"selector": {"matchLabels": {"": "b"}}}),
        ("selector with a number", {"selector": {"matchLabels": {"a": 1}}}),
        ("selector with a value of 64", {"selector": {"matchLabels": {"a": _LONG_LABEL}}}),
        ("selector with what no label can have", {"selector": {"matchLabels": {"a/b/c": "-"}}}),
        ("selector empty", {"selector": {}}),
        ("port 0", {"match": [{"ports": [{"number": 0}]}]}),
        ("port too large", {"match": [{}, {"ports": [{"number": 80}, {"number": port}]}]}),
        ("port: a text", {"match": [{"ports": [{"number": "9080"}]}]}),
        ("port without number", {"match": [{"ports": [{}]}]}),
        ("port: 80.0", {"match": [{"ports": [{"number": 80.0}]}]}),
        ("port: 80.5", {"match": [{"ports": [{"number": 80.5}]}]}),
        ("phase: maps in a list", {"phase": [{"a": 1}, {"b": 2}]}),
        ("port by name", {"match": [{"ports": [{"number": 1, "name": "http"}]}]}),
        ("port as a number alone", {"match": [{"ports": [9080]}]}),
        ("port twice", {"match": [{"ports": [{"number": 1}, {"number": 2}, {"number": 1}]}]}),
        ("port in two selectors", {"match": [{"ports": [{"number": 1}]}] * 2}),
        ("mode of no meaning", {"match": [{"mode": pick(choice, ("BOTH", "INBOUND", "server"))}]}),
        ("match with an unknown field", {"match": [{"mode": "SERVER", "modes": 1}]}),
        ("match: a map", {"match": {"mode": "SERVER"}}),
        ("match: null in it", {"match": [None]}),
        ("match: null", {"match": None}),
        ("port: null", {"match": [{"ports": [{"number": None}]}]}),
        ("ports: null", {"match": [{"ports": None, "mode": None}]}),
        ("selector: null", {"selector": None}),
        ("selector: null beside targetRefs", {"selector": None, "targetRefs": []}),
        ("selector with a value of null", {"selector": {"matchLabels": {"a": None}}}),
        ("phase: null", {"phase": None}),
        ("phase: a number", {"phase": 1}),
        ("mode: a map", {"match": [{"mode": {"a": 1}}]}),
        ("two things wrong", {"phase": "NOPE", "match": [{"ports": [{"number": 0}]}]}),
        ("two things wrong, and an unknown field", {"phase": "NOPE", "nope": 1}),
    ]


def _only_plugin(choice: Random) -> list[tuple[str, Spec]]:
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
    return [
        ("targetRef and targetRefs", {"targetRef": gateway, "targetRefs": [gateway]}),
        ("targetRef and selector", {"targetRef": gateway, "selector": {}}),
        ("targetRef without name", {"targetRef": {"kind": "Gateway"}}),
        ("targetRef into another namespace", {"targetRef": {**gateway, "namespace": "b"}}),
        ("lua in a WasmPlugin", {"lua": {"inlineCode": "-- a"}}),
    ]


def _only_extension(choice: Random) -> list[tuple[str, Spec]]:
    wasm = {"url": URL}
    script = {"inlineCode": "-- a"}
    return [
        ("wasm and lua", {"wasm": wasm, "lua": script}),
        ("neither wasm nor lua", {"phase": "AUTHN"}),
        ("an empty spec", {}),
        ("url beside wasm", {"wasm": wasm, "url": URL}),
        ("lua without code", {"lua": {}}),
        ("lua with empty code", {"lua": {"inlineCode": ""}}),
        ("lua with 65536 letters", {"lua": {"inlineCode": "-" * 65536}}),
        ("lua with 65537 letters", {"lua": {"inlineCode": "-" * 65537}}),
        ("lua that is no Lua", {"lua": {"inlineCode": "function ("}}),
        ("lua with an unknown field", {"lua": {**script, "file": "a.lua"}}),
        ("lua: a text", {"lua": "-- a"}),
        ("wasm: null", {"wasm": None}),
        ("targetRef, of a WasmPlugin", {"wasm": wasm, "targetRef": {"kind": "a", "name": "b"}}),
    ]


def _metadata(choice: Random) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("name with capitals", {"name": "Bad_Name"}),
        ("name that starts with a hyphen", {"name": "-a"}),
        ("name of 253", {"name": "x" * 253}),
        ("name of 254", {"name": "x" * 254}),
        ("label with a blank", {"labels": {"app": "a b"}}),
        ("label of 64", {"labels": {"app": _LONG_LABEL}}),
        ("label with a bad key", {"labels": {"a b": "c"}}),
        ("label: a number", {"labels": {"app": 1}}),
        ("annotation: a number", {"annotations": {"a": 1}}),
        ("annotation: true", {"annotations": {"a": True}}),
        ("annotation with a bad key", {"annotations": {"a b": "c"}}),
        ("annotations of 262,145 bytes", {"annotations": {"a": "x" * 262144}}),
        ("unknown field in metadata", {"label": {"a": "b"}}),
        ("labels: a list", {"labels": ["a"]}),
    ]


def generate(seed: int) -> tuple[Doubtful, ...]:
    """All of them, in one order.

    Args:
        seed: other numbers, other kinds and values; the list is the same.
    """
    choice = Random(seed)
    found: list[tuple[str, dict[str, Any]]] = []
    for what, module in _module(choice):
        kind = pick(choice, KINDS)
        inner = _nulls({"url": URL, **module})
        if module.get("url", "") is None:
            del inner["url"]
        spec = {"wasm": inner} if kind == "TrafficExtension" else inner
        found.append((what, _object(kind, spec)))
    for what, place in _place(choice):
        kind = pick(choice, KINDS)
        spec = {"wasm": {"url": URL}} if kind == "TrafficExtension" else {"url": URL}
        words = {"TrafficExtension": "UNSPECIFIED_PHASE", "WasmPlugin": "UNSPECIFIED"}
        outer = {k: words[kind] if v == "(other)" else v for k, v in place.items()}
        found.append((what, _object(kind, {**spec, **_nulls(outer)})))
    for what, place in _only_plugin(choice):
        found.append((what, _object("WasmPlugin", {"url": URL, **place})))
    for what, spec in _only_extension(choice):
        found.append((what, _object("TrafficExtension", spec)))
    for what, metadata in _metadata(choice):
        found.append((what, _object("WasmPlugin", {"url": URL}, metadata)))
    found += [
        ("no spec", {key: value for key, value in _object("WasmPlugin", {}).items()
                     if key != "spec"}),
        ("spec: a list", {**_object("WasmPlugin", {}), "spec": []}),
        ("unknown field beside spec", {**_object("WasmPlugin", {"url": URL}), "specs": {}}),
        ("another version", {**_object("WasmPlugin", {"url": URL}),
                             "apiVersion": "extensions.istio.io/v1"}),
    ]  # fmt: skip
    return tuple(Doubtful(at, what, each) for at, (what, each) in enumerate(found, start=1))


def _object(
    kind: str, spec: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": "doubtful", **(metadata or {})},
        "spec": dict(spec),
    }


def _nulls(spec: Spec) -> Spec:
    return {key: None if value == "(null)" else value for key, value in spec.items()}
