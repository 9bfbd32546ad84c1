"""Values that plugin objects are made up of."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from helpers import steps
from helpers.comparison.model import LABEL, OWN, Item, Kind, Place

T = TypeVar("T")

#: A module that is there, in the sidecar.
URL = f"file://{steps.MOUNT_PATH}/{steps.KEY}"
KINDS: tuple[Kind, ...] = ("WasmPlugin", "TrafficExtension")
PHASES = ("", "UNSPECIFIED", "AUTHN", "AUTHZ", "STATS")
PRIORITIES = (None, 0, 1, 1, 10, 10, -1, -10, 2**31 - 1, -(2**31), -(2**31) + 1)
MODES = ("UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER")
PORTS = (9080, 9080, 80, 9999, 1, 65535)
POLICIES = ("FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD")
PULL = ("UNSPECIFIED_POLICY", "IfNotPresent", "Always")
#: Each selects productpage's pods, or does not.
SELECTORS: tuple[dict[str, Any], ...] = (
    {"matchLabels": {"app": "productpage"}},
    {"matchLabels": {"app": "productpage", "version": "v1"}},
    {"matchLabels": {"app": "productpage", "version": "v2"}},
    {"matchLabels": {"app": "details"}},
    {"matchLabels": {LABEL: OWN}},
    {"matchLabels": {"absent": ""}},
    {"matchLabels": {"app": ""}},
    # The sidecar injector's own label.
    {"matchLabels": {"service.istio.io/canonical-name": "productpage"}},
    {"matchLabels": {"security.istio.io/tlsMode": "istio"}},
    {"matchLabels": {}},
    {},
)
CORE_SERVICE = {"group": "", "kind": "Service", "name": "productpage"}
TARGETS: tuple[dict[str, Any], ...] = (
    CORE_SERVICE,
    {"kind": "Service", "name": "details"},
    {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "a-gateway"},
    {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "istio-waypoint"},
    {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "outside"},
)
CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    {"": ""},
    {"log_level": "info"},
    {"nested": {"z": {"y": [1, {"x": []}, {}]}, "a": [[], [[]], ["b"]]}},
    {"whole": 3, "negative": -7, "half": 0.5, "tenth": 0.1, "zero": 0, "one": 1.0},
    {"large": 9007199254740993, "larger": 123456789012345678, "huge": 1e21, "less": 1e20},
    {"small": 1e-6, "smaller": 1.5e-7, "many": 3.141592653589793, "negative": -2.5e-9},
    {"grüße": "☃ 😀", "escapes": '"\\/\n\t\r\b\f\u0001\u007f', "lines": "\u2028\u2029"},
    {"html": "<a href='x'>&amp;</a>", "<key>": "&"},
    {"yes": True, "no": False, "words": ["true", "null", "1"]},
    {"nothing": None, "list": [None, 1]},
    {"Z": 1, "a": 2, "_": 3, "10": 4, "9": 5, "é": 6, "~": 7},
    {"long": "x" * 3000},
)
ENVS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"name": "TEAM", "value": "blue"}],
    [{"name": "EMPTY"}, {"name": "ALSO_EMPTY", "value": ""}],
    [{"name": "POD_NAME", "valueFrom": "HOST"}],
    [
        {"name": "TEAM", "value": 'grüße "\\ 1', "valueFrom": "INLINE"},
        {"name": "POD_NAMESPACE", "valueFrom": "HOST"},
        {"name": "z", "value": "last"},
        {"name": "INSTANCE_IP", "valueFrom": "HOST"},
    ],
    [{"name": "ISTIO_META_OF_MINE", "value": "kept for a file"}],
    [{"name": "a.b-c d", "value": "any name"}],
)
SCRIPTS = (
    "-- nothing",
    "function envoy_on_request(handle)\nend\n",
    'function envoy_on_response(handle)\n  handle:headers():add("x-lua", "grüße")\nend\n',
)


def pick(choice: Random, values: Sequence[T]) -> T:
    """One of `values`."""
    return values[choice.randrange(len(values))]


def chance(choice: Random, percent: int) -> bool:
    """True that often."""
    return choice.randrange(100) < percent


def phase(choice: Random, kind: Kind) -> dict[str, Any]:
    """A phase, or none, in the kind's own words."""
    found = pick(choice, PHASES)
    if found == "UNSPECIFIED" and kind == "WasmPlugin":
        found = "UNSPECIFIED_PHASE"
    return {"phase": found} if found else {}


def priority(choice: Random) -> dict[str, Any]:
    """A priority, or none."""
    found = pick(choice, PRIORITIES)
    return {} if found is None else {"priority": found}


def match(choice: Random) -> dict[str, Any]:
    """Traffic selectors, or none."""
    found: list[dict[str, Any]] = []
    for _ in range(choice.randrange(4)):
        one: dict[str, Any] = {}
        if chance(choice, 75):
            one["mode"] = pick(choice, MODES)
        if chance(choice, 60):
            numbers = dict.fromkeys(pick(choice, PORTS) for _ in range(1 + choice.randrange(3)))
            one["ports"] = [{"number": number} for number in numbers]
        found.append(one)
    return {"match": found} if found or chance(choice, 20) else {}


def policies(choice: Random) -> dict[str, Any]:
    """What concerns the module beside its configuration, each now and then."""
    drawn: dict[str, Any] = {
        "failStrategy": pick(choice, POLICIES),
        "imagePullPolicy": pick(choice, PULL),
        "imagePullSecret": pick(choice, ("no-such-secret", "other/secret", "kubernetes://a/b")),
        "pluginName": pick(choice, ("my_root_id", "grüße", "a b", "x" * 256)),
        "sha256": pick(choice, ("", "0" * 64, "0123456789abcdef" * 4)),
        "verificationKey": pick(choice, ("", "a key")),
        "type": pick(choice, ("HTTP", "UNSPECIFIED_PLUGIN_TYPE")),
    }
    return {name: value for name, value in drawn.items() if chance(choice, 50)}


def config(choice: Random) -> dict[str, Any]:
    """A plugin's configuration, or none."""
    return {"pluginConfig": pick(choice, CONFIGS)} if chance(choice, 80) else {}


def env(choice: Random) -> dict[str, Any]:
    """Environment of the VM, or none."""
    found = pick(choice, ENVS)
    if not found and chance(choice, 50):
        return pick(choice, ({}, {"vmConfig": {}}))
    return {"vmConfig": {"env": found}}


def wasm(
    kind: Kind,
    name: str,
    *,
    place: Place = "own",
    url: str = URL,
    module: dict[str, Any] | None = None,
    where: dict[str, Any] | None = None,
) -> Item:
    """A plugin with a module, in either kind.

    Args:
        module: what concerns the module.
        where: phase, priority, match, selector, targetRefs.
    """
    inner, outer = {"url": url, **(module or {})}, dict(where or {})
    if place == "root":
        outer["selector"] = {"matchLabels": {"app": "productpage", LABEL: OWN}}
        outer.pop("targetRefs", None)
    if kind == "TrafficExtension":
        return Item(kind, name, place, {**outer, "wasm": inner})
    return Item(kind, name, place, {**inner, **outer})


def lua(
    choice: Random, name: str, *, place: Place = "own", where: dict[str, Any] | None = None
) -> Item:
    """A TrafficExtension with a script."""
    outer = dict(where or {})
    if place == "root":
        outer["selector"] = {"matchLabels": {LABEL: OWN}}
    return Item(
        "TrafficExtension", name, place, {**outer, "lua": {"inlineCode": pick(choice, SCRIPTS)}}
    )


def for_everyone(name: str) -> Item:
    """What is for every sidecar of the mesh, and so must do nothing."""
    return Item("TrafficExtension", name, "root", {"lua": {"inlineCode": SCRIPTS[0]}})
