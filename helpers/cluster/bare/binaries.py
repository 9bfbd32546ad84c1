"""Kubernetes, CoreDNS and Istio, built from their Go modules.

Each folder of `helpers/cluster/go` pins what is built; its go.sum holds the checksum of every
module, and `-mod=readonly` makes go refuse whatever differs. A binary is kept in the cache
under a key of all that it was made from, so that only what changed is built again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers import files, paths, shell
from helpers.cluster.bare import cache, golang
from helpers.errors import CommandFailed

KUBERNETES = "v1.34.2"
#: The commit of 2026-08-27; as a release it would be 1.31.
ISTIO = "v0.0.0-20260827124520-eed52ebb66ad"
ISTIO_RELEASE = "1.31"
COREDNS = "v1.15.0"

#: Envoy's bootstrap template, which pilot-agent fills in; kept beside the programs.
BOOTSTRAP = "envoy_bootstrap.json"

_SOURCE = paths.ROOT / "helpers" / "cluster" / "go"
_VERSION = "k8s.io/component-base/version"
_STRIP = "-s -w"
_KUBERNETES_FLAGS = ("-trimpath", "-ldflags",
                     f"{_STRIP} -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 "
                     f"-X {_VERSION}.gitMinor=34")
_PLAIN = ("-trimpath", "-ldflags", _STRIP)


@dataclass(frozen=True)
class Binary:
    """One program.

    Attributes:
        module: the folder in helpers/cluster/go.
        package: what is built.
        flags: given to `go build`.
        weight: seconds that it took on two cores after those before it, for the estimate.
    """

    name: str
    module: str
    package: str
    flags: tuple[str, ...]
    weight: float


BINARIES = (
    Binary("pause", "pause", ".", _PLAIN, 5),
    *(Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_FLAGS, weight)
      for name, weight in (("kube-apiserver", 308), ("kube-controller-manager", 86),
                           ("kube-scheduler", 7), ("kubelet", 25), ("kube-proxy", 11))),
    Binary("coredns", "coredns", ".", _PLAIN, 60),
    Binary("pilot-discovery", "istio", "istio.io/istio/pilot/cmd/pilot-discovery", _PLAIN, 341),
    Binary("pilot-agent", "istio", "istio.io/istio/pilot/cmd/pilot-agent",
           ("-tags", "agent,disable_pgv", *_PLAIN), 12),
    Binary("istioctl", "istio", "istio.io/istio/istioctl/cmd/istioctl", _PLAIN, 41),
)


#: Gigabytes of disk that building a module's programs takes, modules and objects together: all
#: four were seen to take 8; how they share it is an estimate.
_MODULE_SPACE = {"pause": 0.5, "coredns": 2.0, "kubernetes": 3.5, "istio": 3.0}


def ensure(say: Callable[[str], None], log: Path) -> dict[str, Path]:
    """Every program by name, and BOOTSTRAP; built where the cache lacks it.

    Args:
        say: is given a line as each build begins, with an estimate of the time left.
        log: go's own words go there.

    Raises:
        NotReady: too little disk.
        ToolchainMissing: no Go.
        CommandFailed: a build failed; `detail` has its last lines. What was built is kept.
        DiskProblem: go's folder cannot be removed.
        Cancelled: interrupted; go has ended.
    """
    places = {each.name: _place(each) for each in BINARIES}
    bootstrap = places["pilot-agent"].with_name(BOOTSTRAP)
    missing = [each for each in BINARIES if not places[each.name].exists()]
    if missing or not bootstrap.exists():
        cache.require_space(_space(missing),
                            why="Go keeps what it compiles until everything is built")
        _build(missing, places, bootstrap, say, log)
    return {**places, BOOTSTRAP: bootstrap}


def key(binary: Binary, source: Path = _SOURCE) -> str:
    """Sixteen letters that change when anything changes that a binary is made from."""
    digest = hashlib.sha256(repr((binary.package, binary.flags)).encode())
    for path in sorted((source / binary.module).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _place(binary: Binary) -> Path:
    return cache.folder() / "bin" / f"{binary.name}-{key(binary)}" / binary.name


def _space(missing: list[Binary]) -> float:
    """Gigabytes that building takes: 9 for all of it, less what an interrupted build left."""
    modules = {each.module for each in missing}
    kept = sum(path.stat().st_size for path in (cache.folder() / "go").rglob("*")
               if path.is_file()) / 1e9
    return max(0.5, sum(_MODULE_SPACE[module] for module in modules) - kept)


def _build(
    missing: list[Binary], places: dict[str, Path], bootstrap: Path,
    say: Callable[[str], None], log: Path,
) -> None:
    go = golang.find(say, log)
    own = cache.folder() / "go"
    env = environment(own)
    log.parent.mkdir(parents=True, exist_ok=True)
    # How fast this computer is, told by what is done so far.
    spent = weighed = 0.0
    with log.open("a", encoding="utf-8") as sink:

        def words(text: str) -> None:
            print(text, file=sink, flush=True)

        for number, each in enumerate(missing, start=1):
            rest = sum(other.weight for other in missing[number - 1:])
            pace = spent / weighed if weighed > 30 else 1.0
            say(f"        building {each.name}, {number} of {len(missing)}: about "
                f"{max(1, round(rest * pace / 60))} min left")
            begun = time.monotonic()
            _one(go, each, places[each.name], env, words)
            spent += time.monotonic() - begun
            weighed += each.weight
        # The module may be gone from go's folder since pilot-agent was built.
        shell.run([go, "mod", "download", "istio.io/istio"], cwd=_SOURCE / "istio", env=env,
                  sink=words)
        found = shell.run([go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "istio.io/istio"],
                          cwd=_SOURCE / "istio", env=env, sink=words)
    template = Path(found.output.splitlines()[-1]) / "tools" / "packaging" / "common" / BOOTSTRAP
    partial = bootstrap.with_suffix(".partial")
    shutil.copyfile(template, partial)
    partial.replace(bootstrap)
    if own.exists():
        with files.writing(own):
            shutil.rmtree(own)  # 6 GB that nothing needs any more


def environment(own: Path) -> dict[str, str]:
    """What go is told; a place of the user's own for modules or objects is kept.

    Args:
        own: where they go otherwise.
    """
    return {
        "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off",
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "GOMODCACHE": os.environ.get("GOMODCACHE") or str(own / "mod"),
        "GOCACHE": os.environ.get("GOCACHE") or str(own / "build"),
    }


def _one(
    go: Path, binary: Binary, target: Path, env: dict[str, str], words: Callable[[str], None]
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{binary.name}.partial")
    done = shell.run(
        [go, "build", "-mod=readonly", *binary.flags, "-o", partial, binary.package],
        cwd=_SOURCE / binary.module, env=env, sink=words, check=False,
    )
    if done.status != 0:
        raise CommandFailed(
            f"{binary.name} could not be built: go ended with status {done.status}",
            cause="no network, a full disk, or a module whose checksum is not the one in "
            f"helpers/cluster/go/{binary.module}/go.sum; go's last words are below",
            fix="mend that, then ./workbook cluster up again: what was built is kept",
            detail="\n".join(done.output.splitlines()[-15:]),
        )
    if binary.name != "pause":  # which only waits
        shell.run([partial, *_ASK.get(binary.name, ("--version",))], sink=words, timeout=60)
    partial.replace(target)


#: How each program is asked for its version, to see that it runs at all.
_ASK = {"coredns": ("-version",), "pilot-agent": ("version",), "pilot-discovery": ("version",),
        "istioctl": ("version", "--remote=false")}
