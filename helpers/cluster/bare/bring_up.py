"""`workbook cluster up --provider bare`: from nothing to a ready istiod, step by step.

Each step is safe to repeat, and a part that runs already is left alone, so that after a
failure or Ctrl-C the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from helpers import files, paths, shell
from helpers.cluster.bare import (
    addresses,
    binaries,
    certificates,
    configs,
    images,
    istio,
    layout,
    node,
    packages,
    parts,
)
from helpers.cluster.bare.api import Api
from helpers.cluster.bare.layout import Addresses, Layout
from helpers.cluster.bare.packages import Programs
from helpers.cluster.bare.take_down import end
from helpers.errors import BadInput, MeshDown, NotReady
from helpers.processes import Registry, tail
from helpers.show import Result, duration

Say = Callable[[str], None]

#: Seconds that a part may take to be ready; ten times what it took on two slow cores.
_PATIENCE = 120.0

#: How often a part is asked whether it is ready, in seconds.
_PAUSE = 0.2


class PartFailed(MeshDown):
    """A part of the cluster did not become ready; `detail` has its last log lines."""


@dataclass(frozen=True)
class _Making:
    """What the steps share."""

    where: Layout
    registry: Registry
    say: Say
    programs: Programs
    made: Mapping[str, Path]
    tars: Mapping[str, Path]
    ends: Addresses


def up(say: Say, *, where: Layout | None = None) -> Result:
    """Bring the cluster up, or what of it is missing.

    Args:
        say: is given a line for each step as it begins and ends.
        where: another layout, for tests.

    Raises:
        BadInput: this is not Linux, or not root.
        PartFailed: a part did not become ready.
        NotReady, CommandFailed, SetupFailed: a step before it failed.
    """
    require_host()
    where = where or layout.layout()
    begun = time.monotonic()
    for folder in (where.home, where.logs, where.config, where.data):
        with files.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    log = where.logs / "prepare.log"
    say("1 of 6  programs of Debian (the first time about a minute)")
    programs = packages.ensure(say, log)
    say("2 of 6  Kubernetes and Istio, built from their Go modules "
        "(the first time 15 to 25 minutes, then kept)")
    made = binaries.ensure(say, log)
    say("3 of 6  container images (the first time one to three minutes, then kept)")
    tars = images.ensure(made, say, log)
    prepared = time.monotonic()
    registry = Registry(where.home)
    ends = _node(where, registry, say, made["pause"])
    making = _Making(where, registry, say, programs, made, tars, ends)
    _control_plane(making)
    _istio(making)
    took = time.monotonic() - prepared
    kubeconfig = paths.shown(where.kubeconfig)
    return Result(
        command=f"kubectl --kubeconfig {kubeconfig} get nodes",
        text=f"the cluster is up: context {layout.CONTEXT}, server {ends.api}\n"
        f"programs and images in {duration(prepared - begun)}, the cluster in {duration(took)}",
        seconds=time.monotonic() - begun,
        notes=("next: ./workbook run --mesh cluster, or ./workbook lab --mesh cluster",
               "./workbook cluster down removes it again"),
    )


def require_host() -> None:
    """Refuse what this provider cannot run on.

    Raises:
        BadInput: not Linux, not root, or the state folder lies where it cannot.
    """
    instead = "use --provider kind with Docker or Podman, or a cluster that you have"
    if sys.platform != "linux":
        raise BadInput(f"provider 'bare' does not run on {sys.platform}",
                       cause="it starts Linux containers without a container engine",
                       fix=instead)
    if os.geteuid() != 0:
        raise BadInput(f"provider 'bare' needs root, not user {os.geteuid()}",
                       cause="it makes namespaces, mounts and a network link",
                       fix=f"sudo ./workbook cluster up, in a throw-away machine; or {instead}")
    if paths.HOME.resolve().is_relative_to("/run"):
        raise BadInput(f"the clone lies in {paths.ROOT}",
                       cause="the node has a /run of its own, and would not see it",
                       fix="move the clone, to your home folder for example")


def _node(where: Layout, registry: Registry, say: Say, init: Path) -> Addresses:
    ends = layout.kept_addresses(where)
    record = registry.get(node.NAME)
    if ends is not None and record is not None and record.alive() and node.has_link(where):
        say("4 of 6  the node runs already")
        return ends
    say("4 of 6  the node: its namespaces, link, certificates")
    end(where, registry)
    shutil.rmtree(where.data, ignore_errors=False)
    where.data.mkdir()
    ends = addresses.choose(addresses.in_use())
    certificates.make(where.certificates, ends)
    node.start(where, registry, ends, init=init)
    layout.keep_addresses(where, ends)
    return ends


def write_configs(where: Layout, programs: Programs, ends: Addresses) -> None:
    """Write the configuration of every part."""
    texts = {
        "containerd.toml": configs.containerd(pause=images.PAUSE, runc=programs.runc,
                                              cni=programs.cni),
        "cni/10-workbook.conflist": configs.network(),
        "kubelet.yaml": configs.kubelet(ends, cgroup=where.cgroup),
        "kube-proxy.yaml": configs.kube_proxy(ends),
        "Corefile": configs.coredns(ends),
        "resolv.conf": f"nameserver {ends.node}\n",
        "path.json": json.dumps(str(programs.shim_folder)),
    }
    for client in ("controller-manager", "scheduler", "kubelet", "kube-proxy", "coredns"):
        texts[f"{client}.kubeconfig"] = configs.kubeconfig(ends.api, where.certificates, client)
    for name, text in texts.items():
        files.write_atomic(where.config / name, text)
    files.write_atomic(where.kubeconfig, configs.learners_kubeconfig(ends, where.certificates))
    for path in [*where.config.glob("*.kubeconfig"), where.kubeconfig]:
        path.chmod(0o600)  # whoever reads it has the cluster


def _control_plane(making: _Making) -> None:
    where, say = making.where, making.say
    say("5 of 6  Kubernetes: etcd, API server, containerd, kubelet and the others (about 40 s)")
    write_configs(where, making.programs, making.ends)
    known = parts.parts(making.programs, making.made, making.ends)
    api = Api(where, making.ends)
    _start(making, known, "etcd", "containerd", "kube-apiserver")
    with ThreadPoolExecutor(1, thread_name_prefix="images") as beside:
        _wait(making, api, "containerd")
        importing = beside.submit(_import, making)
        _wait(making, api, "kube-apiserver")
        for document in configs.coredns_rights():
            plural = document["kind"].lower() + "s"
            status, text = api.apply(
                f"/apis/rbac.authorization.k8s.io/v1/{plural}/{document['metadata']['name']}",
                document)
            if status not in (200, 201):
                raise NotReady(f"the API server did not take {document['kind']}: {status}",
                               cause="its answer is below", fix="./workbook cluster up again",
                               detail=text)
        _start(making, known, "kube-controller-manager", "kube-scheduler", "kubelet",
               "kube-proxy", "coredns")
        for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
                     "coredns"):
            _wait(making, api, name)
        importing.result()


def _start(making: _Making, known: Mapping[str, parts.Part], *names: str) -> None:
    for name in names:
        record = making.registry.get(name)
        if record is None or not record.alive():
            parts.start(making.where, making.registry, making.programs, known[name])


def _wait(making: _Making, api: Api, name: str) -> None:
    took = wait_part(making.where, making.registry, api, making.ends, name)
    making.say(f"        {name} works, after {duration(took)}")


def wait_part(
    where: Layout, registry: Registry, api: Api, ends: Addresses, name: str
) -> float:
    """Wait until a part answers; the seconds that it took.

    Raises:
        PartFailed: it ended, or was not ready in time.
    """
    ask = parts.checks(where, registry, api, ends)[name]
    begun = time.monotonic()
    while problem := ask():
        if problem == "has ended" or time.monotonic() - begun > _PATIENCE:
            log = where.logs / f"{name}.log"
            raise PartFailed(
                f"{name} is not ready: {problem}",
                cause=f"it {'ended by itself' if problem == 'has ended' else 'is not ready'} "
                f"after {time.monotonic() - begun:.0f} s; its last words are below",
                fix=f"read {paths.shown(log)}; then ./workbook cluster up goes on, and "
                "./workbook cluster down removes everything",
                detail=tail(log),
            )
        time.sleep(_PAUSE)
    return time.monotonic() - begun


def _import(making: _Making) -> None:
    """Give containerd the images that it does not have yet."""
    record = making.registry.get(node.NAME)
    if record is None:
        raise AssertionError("the node is started first")
    pid = node.first_process(record)
    ctr = [str(making.programs.ctr), "--address", configs.CONTAINERD_SOCKET,
           "--namespace", "k8s.io", "images"]
    env = parts.environment(making.programs.shim_folder)
    has = set(shell.run(node.enter(pid, [*ctr, "list", "--quiet"]), env=env).output.split())
    begun = time.monotonic()
    missing = {tar for name, tar in making.tars.items() if name not in has}
    for tar in sorted(missing):
        # The layers are unpacked when a pod needs them; most share one base.
        shell.run(node.enter(pid, [*ctr, "import", str(tar)]), env=env)
    making.say(f"        images: {len(missing)} archives taken in, "
               f"{duration(time.monotonic() - begun)}")


def _istio(making: _Making) -> None:
    api = Api(making.where, making.ends)
    if not istio.problem(api):
        making.say("6 of 6  Istio runs already")
        return
    making.say("6 of 6  Istio, by its own istioctl (about 30 s)")
    begun = time.monotonic()
    istio.install(making.where, making.made["istioctl"], hub=images.PILOT_HUB,
                  tag=images.ISTIO_TAG)
    istio.require(api)
    making.say(f"        istiod is ready, after {duration(time.monotonic() - begun)}")
