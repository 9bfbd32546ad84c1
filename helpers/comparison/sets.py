"""Sets of plugin objects, made up from a seed: a theme each, the themes in turn.

A pure function: the same seed gives the same sets. Within a set the objects are made in the
order of the names that istiod sorts by, unless the set is about age: objects are as old as the
second in which they were made, and where a second ends in the middle must not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from helpers.comparison import values
from helpers.comparison.model import Item, Kind, Place, PluginSet
from helpers.comparison.values import KINDS, chance, pick
from helpers.mesh.local.istiod import TRANSLATED

#: So many sets by default.
COUNT = 68


def _phases(choice: Random, name: str) -> list[Item]:
    return [
        values.wasm(kind := pick(choice, KINDS), f"{name}-{at}", where=values.phase(choice, kind))
        for at in range(3 + choice.randrange(4))
    ]


def _priorities(choice: Random, name: str) -> list[Item]:
    one = values.phase(choice, "TrafficExtension").get("phase", "UNSPECIFIED")
    found = []
    for at in range(4 + choice.randrange(4)):
        kind = pick(choice, KINDS)
        phase = {} if one == "UNSPECIFIED" else {"phase": one}
        where = {**phase, **values.priority(choice)}
        found.append(values.wasm(kind, f"{name}-{at}", where=where))
    return found


def _ages(choice: Random, name: str) -> list[Item]:
    where = values.priority(choice)
    kinds: list[Kind] = [pick(choice, KINDS) for _ in range(3)]
    # The later made, the earlier by name: age must win.
    return [
        values.wasm(kind, f"{name}-{letter}", where=where)
        for kind, letter in zip(kinds, "cba", strict=True)
    ]


def _names(choice: Random, name: str) -> list[Item]:
    # What istiod sorts by ends in "~…" for a WasmPlugin, which is behind all that a name has.
    endings = ("", "-b", "b", ".b", "0", "-b.c")
    where = values.priority(choice)
    return [
        values.wasm(kind, f"{name}{ending}", where=where)
        for ending in endings
        for kind in KINDS
        if chance(choice, 65)
    ]


def _traffic(choice: Random, name: str) -> list[Item]:
    return [
        values.wasm(pick(choice, KINDS), f"{name}-{at}", where=values.match(choice))
        for at in range(3 + choice.randrange(4))
    ]


def _namespaces(choice: Random, name: str) -> list[Item]:
    places: tuple[Place, ...] = ("own", "root", "elsewhere")
    found = []
    for place in places:
        for kind in KINDS:
            where = {**values.phase(choice, kind), **values.priority(choice)}
            if chance(choice, 75):
                found.append(values.wasm(kind, name, place=place, where=where))
    found.append(values.for_everyone(f"{name}-lua"))
    return found


def _selectors(choice: Random, name: str) -> list[Item]:
    return [
        values.wasm(
            pick(choice, KINDS), f"{name}-{at}", where={"selector": pick(choice, values.SELECTORS)}
        )
        for at in range(4 + choice.randrange(3))
    ]


def _targets(choice: Random, name: str) -> list[Item]:
    found = []
    for at in range(3 + choice.randrange(3)):
        kind = pick(choice, KINDS)
        several = [pick(choice, values.TARGETS) for _ in range(choice.randrange(3))]
        where: dict[str, object] = {"targetRefs": several}
        if kind == "WasmPlugin" and chance(choice, 40):
            where = {"targetRef": pick(choice, values.TARGETS)}
        found.append(values.wasm(kind, f"{name}-{at}", where=where))
    return [*found, values.wasm(pick(choice, KINDS), f"{name}-without")]


def _configs(choice: Random, name: str) -> list[Item]:
    return [
        values.wasm(pick(choice, KINDS), f"{name}-{at}", module=values.config(choice))
        for at in range(4)
    ]


def _environments(choice: Random, name: str) -> list[Item]:
    return [
        values.wasm(pick(choice, KINDS), f"{name}-{at}", module=values.env(choice))
        for at in range(4)
    ]


def _modules(choice: Random, name: str) -> list[Item]:
    return [
        values.wasm(pick(choice, KINDS), f"{name}-{at}", module=values.policies(choice))
        for at in range(4)
    ]


def _network(choice: Random, name: str) -> list[Item]:
    found = []
    for at in range(4 + choice.randrange(3)):
        kind = pick(choice, KINDS)
        module = {
            "type": pick(choice, ("NETWORK", "NETWORK", "HTTP")),
            **values.config(choice),
        }
        where = {**values.phase(choice, kind), **values.priority(choice), **values.match(choice)}
        found.append(values.wasm(kind, f"{name}-{at}", module=module, where=where))
    return found


def _lua(choice: Random, name: str) -> list[Item]:
    found = []
    for at in range(3 + choice.randrange(3)):
        kind: Kind = "TrafficExtension"
        where = {**values.phase(choice, kind), **values.priority(choice), **values.match(choice)}
        if chance(choice, 65):
            found.append(values.lua(choice, f"{name}-{at}", where=where))
        else:
            found.append(values.wasm(pick(choice, KINDS), f"{name}-{at}"))
    return found


def _remote(choice: Random, name: str) -> list[Item]:
    # Port 9 of the sidecar itself: nobody listens, so that pilot-agent gives up soon. The last
    # url is taken by the API server and cannot be read by istiod.
    urls = ("http://127.0.0.1:9/a.wasm", "http://localhost:9/b.wasm?c=d", "http://a b/c.wasm")
    found = []
    for at in range(2):
        module = values.policies(choice)
        if chance(choice, 50):
            module["type"] = "NETWORK"
        item = values.wasm(
            pick(choice, KINDS), f"{name}-{at}", url=pick(choice, urls), module=module
        )
        found.append(item)
    return [*found, values.wasm(pick(choice, KINDS), f"{name}-file")]


def _images(choice: Random, name: str) -> list[Item]:
    # An image of a registry that is not there; the local mesh has no registry at all.
    url = pick(choice, ("oci://127.0.0.1:9/a:v1", "127.0.0.1/a:v1"))
    found = [values.wasm(pick(choice, KINDS), f"{name}-image", url=url)]
    return [*found, values.wasm(pick(choice, KINDS), f"{name}-file")]


def _absent(choice: Random, name: str) -> list[Item]:
    where = values.match(choice) if chance(choice, 50) else {}
    return [values.wasm(pick(choice, KINDS), name, url="file:///etc/wasm/none.wasm", where=where)]


def _many(choice: Random, name: str) -> list[Item]:
    found = []
    for at in range(8 + choice.randrange(4)):
        script = chance(choice, 20)
        kind: Kind = "TrafficExtension" if script else pick(choice, KINDS)
        where = {**values.phase(choice, kind), **values.priority(choice), **values.match(choice)}
        if chance(choice, 30):
            where["selector"] = pick(choice, values.SELECTORS)
        place: Place = pick(choice, ("own", "own", "own", "own", "root", "elsewhere"))
        if script:
            found.append(values.lua(choice, f"{name}-{at:02}", place=place, where=where))
            continue
        module = {**values.config(choice), **values.env(choice)}
        if chance(choice, 20):
            module["type"] = "NETWORK"
        one = values.wasm(kind, f"{name}-{at:02}", place=place, module=module, where=where)
        found.append(one)
    return found


#: What sets are about.
THEMES: dict[str, Callable[[Random, str], list[Item]]] = {
    "phases": _phases,
    "priorities": _priorities,
    "ages": _ages,
    "equal and similar names": _names,
    "match: modes and ports": _traffic,
    "namespaces": _namespaces,
    "selectors": _selectors,
    "targetRefs": _targets,
    "pluginConfig": _configs,
    "environment": _environments,
    "policies, secrets, names": _modules,
    "network filters": _network,
    "Lua": _lua,
    "modules over http": _remote,
    "many at once": _many,
    "an image of a registry": _images,
    "a file that is not there": _absent,
}


def generate(seed: int, count: int = COUNT) -> tuple[PluginSet, ...]:
    """So many sets.

    Args:
        seed: other numbers, other sets.
    """
    choice = Random(seed)
    found = []
    for number in range(1, count + 1):
        theme = list(THEMES)[(number - 1) % len(THEMES)]
        items = THEMES[theme](choice, f"s{number:02}")
        aged = theme == "ages"
        if not aged:
            items.sort(key=_as_istiod_sorts)
        absent = any("none.wasm" in str(item.spec) for item in items)
        found.append(PluginSet(number, theme, tuple(items), aged=aged, refused=absent))
    return tuple(found)


def _as_istiod_sorts(item: Item) -> str:
    return item.name + (TRANSLATED if item.kind == "WasmPlugin" else "")
