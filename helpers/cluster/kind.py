"""`workbook cluster up --provider kind`: a cluster in Docker or Podman, through kind and istioctl.

The learner installs the three programs; this finds them, gives them pinned versions and a
kubeconfig inside the project's state, and says what to do about each way in which it can fail.
The commands are checked by unit tests against a runner that only records them: where this was
written there was no container engine, so none of it has run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers import files, paths, shell
from helpers.cluster.kind_commands import (
    CONTEXT,
    ISTIO,
    KIND,
    NAME,
    NODE,
    SERVICES,
    build,
    config,
    create,
    image,
    install,
    last,
    use,
    version,
    with_engine,
)
from helpers.errors import BadInput, CommandFailed, ToolchainMissing, WorkbookError
from helpers.shell import Finished
from helpers.show import Result, TableResult, table

#: Seconds: a first `create` pulls an image of about a gigabyte, `install` those of Istio.
_CREATE, _INSTALL, _QUICK = 900.0, 600.0, 30.0

Say = Callable[[str], None]
#: Runs a command for at most so many seconds; raises only when there is no such program or the
#: time is up. The status is in what it gives back.
Runner = Callable[[Sequence[str], float, dict[str, str]], Finished]


def _run(argv: Sequence[str], timeout: float, env: dict[str, str]) -> Finished:
    return shell.run(argv, timeout=timeout, env=env, check=False)


@dataclass
class Kind:
    """One cluster of kind's, named "workbook".

    Args:
        home: where the kubeconfig and the rendered configuration go.
        run: runs a command; a test passes one that records.
        which: finds a program; None when it is not installed.
        say: is given a line for each step.
    """

    home: Path = field(default_factory=lambda: paths.HOME / "cluster")
    run: Runner = _run
    which: Callable[[str], str | None] = shutil.which
    say: Say = print

    @property
    def kubeconfig(self) -> Path:
        """The cluster's own; the learner's ~/.kube/config is never written."""
        return self.home / "kubeconfig"

    def up(self, *, images: str = "public") -> Result:
        """Create the cluster and install Istio; a cluster that is there already is used.

        Args:
            images: "public" (Bookinfo of Istio's registry) or "ours" (built from the
                Containerfile and loaded into the node: for a room without a registry).

        Raises:
            ToolchainMissing: no engine, no kind, or no istioctl.
            BadInput: a version does not fit, or another provider's cluster is in the place.
            CommandFailed: a step failed; the text says what is left and how to remove it.
        """
        begun = time.monotonic()
        engine = self.engine()
        self._programs()
        self._refuse_a_strangers()
        files.write_atomic(self.home / "kind.yaml", config())
        if NAME in self._clusters(engine):
            self.say(f"kind has a cluster {NAME!r} already: it is used")
            self._do("kind export kubeconfig", ["kind", "export", "kubeconfig", "--name", NAME,
                     "--kubeconfig", str(self.kubeconfig)], _QUICK, engine)
        else:
            self.say(f"creating the cluster: {NODE.split('@')[0]} (some minutes the first time)")
            self._do("kind create cluster", create(self.home / "kind.yaml", self.kubeconfig),
                     _CREATE, engine)
        self.say(f"installing Istio {ISTIO}, profile minimal")
        self._do("istioctl install", install(self.kubeconfig), _INSTALL, engine)
        if images == "ours":
            self._load(engine)
        return Result(
            command="kind create cluster …; istioctl install …",
            text=f"the cluster is up: context {CONTEXT}, {paths.shown(self.kubeconfig)}",
            notes=(use(images),),
            seconds=time.monotonic() - begun,
        )

    def status(self) -> TableResult:
        """Engine, cluster, API server and istiod, each with what it says.

        Returns:
            Columns PART, STATE ("works", "ill"), WHAT IT SAYS; `extra["healthy"]`.
        """
        rows: list[tuple[str, str, str]] = []
        try:
            engine = self.engine()
            rows.append(("engine", "works", engine))
            there = NAME in self._clusters(engine)
            rows.append(("cluster", "works" if there else "ill",
                         CONTEXT if there else "there is none: ./workbook cluster up"))
            asks = {
                "API server": ["get", "--raw", "/readyz"],
                "node": ["wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"],
                "istiod": ["-n", "istio-system", "rollout", "status", "deployment/istiod",
                           "--timeout=5s"],
            }
            for part, words in asks.items() if there else ():
                # kubectl is in the node's image, so the learner needs none.
                done = self.run(
                    [engine, "exec", f"{NAME}-control-plane", "kubectl",
                     "--kubeconfig=/etc/kubernetes/admin.conf", *words], _QUICK, {})
                rows.append((part, "ill" if done.status else "works", last(done.output)))
        except WorkbookError as error:
            rows.append(("programs", "ill", f"{error.what}; {error.fix}"))
        return table(("PART", "STATE", "WHAT IT SAYS"), rows,
                     extra={"healthy": all(row[1] == "works" for row in rows)})

    def down(self) -> Result:
        """Delete the cluster and what was written for it; no error when there is none.

        Raises:
            ToolchainMissing: kind or the engine is gone, and so the cluster cannot be deleted.
            CommandFailed: kind could not delete it.
        """
        engine = self.engine()
        self._need("kind", f"the release {KIND} from https://kind.sigs.k8s.io")
        there = NAME in self._clusters(engine)
        if there:
            self._do("kind delete cluster", ["kind", "delete", "cluster", "--name", NAME,
                     "--kubeconfig", str(self.kubeconfig)], _INSTALL, engine)
        for name in ("kubeconfig", "kind.yaml"):
            (self.home / name).unlink(missing_ok=True)
        if self.home.is_dir() and not any(self.home.iterdir()):
            self.home.rmdir()
        return Result(
            command=f"kind delete cluster --name {NAME}",
            text="the cluster is gone" if there else "there was no cluster",
            notes=(f"images stay in {engine} until you remove them: {engine} image rm "
                   f"{NODE.split('@')[0]}",),
        )

    def engine(self) -> str:
        """The container engine that answers, Docker before Podman as kind itself chooses.

        Raises:
            ToolchainMissing: neither is installed.
            CommandFailed: one is installed and does not answer.
        """
        silent: dict[str, str] = {}
        for name in ("docker", "podman"):
            if self.which(name) is None:
                continue
            done = self.run([name, "info"], _QUICK, {})
            if done.status == 0:
                return name
            silent[name] = last(done.output)
        if silent:
            name, said = next(iter(silent.items()))
            raise CommandFailed(
                f"{name} is installed, but its engine does not answer",
                cause=said or "it is not running, or this user may not use it",
                fix="start Docker Desktop, or: sudo systemctl start docker; for the right to use "
                "it: sudo usermod -aG docker $USER, then log in anew",
            )
        raise ToolchainMissing(
            "there is no container engine",
            cause="neither docker nor podman is in PATH",
            fix="install Docker or Podman; as root on Linux ./workbook cluster up --provider bare "
            "needs none",
        )

    def _programs(self) -> None:
        """kind and istioctl, and whether their versions are those that were pinned."""
        self._need("kind", f"the release {KIND} from https://kind.sigs.k8s.io (one file)")
        self._need("istioctl", f"curl -L https://istio.io/downloadIstio | ISTIO_VERSION={ISTIO} sh "
                   f"-, then put istio-{ISTIO}/bin into PATH")
        found = version(self.run(["kind", "version"], _QUICK, {}).output)
        if found != KIND.lstrip("v"):
            self.say(f"kind is {found or 'of an unknown version'}; the node's image was built for "
                     f"{KIND}: if the node does not start, install that one")
        found = version(self.run(["istioctl", "version", "--remote=false"], _QUICK, {}).output)
        if found.rpartition(".")[0] != ISTIO.rpartition(".")[0]:
            raise BadInput(
                f"istioctl is {found or 'of an unknown version'}",
                cause=f"this workbook is for Istio {ISTIO.rpartition('.')[0]}; an istioctl "
                "installs the charts of its own version",
                fix=f"curl -L https://istio.io/downloadIstio | ISTIO_VERSION={ISTIO} sh -",
            )

    def _need(self, program: str, how: str) -> None:
        if self.which(program) is None:
            raise ToolchainMissing(f"{program} was not found", cause="it is not in PATH",
                                   fix=f"install it: {how}")

    def _refuse_a_strangers(self) -> None:
        """Two clusters cannot share one kubeconfig."""
        if self.kubeconfig.exists() and CONTEXT not in self.kubeconfig.read_text(encoding="utf-8"):
            raise BadInput(
                f"{paths.shown(self.kubeconfig)} is another cluster's",
                cause="the bare provider has a cluster here",
                fix="./workbook cluster down, then this again",
            )

    def _clusters(self, engine: str) -> list[str]:
        done = self.run(["kind", "get", "clusters"], _QUICK, with_engine(engine))
        if done.status:
            raise CommandFailed("kind cannot list its clusters", cause=last(done.output),
                                fix=f"look whether this works: {engine} ps", detail=done.output)
        return done.output.split("\n") if "No kind clusters" not in done.output else []

    def _load(self, engine: str) -> None:
        """Build Bookinfo from our own sources and put the images into the node."""
        for service in SERVICES:
            name = image(service)
            self.say(f"building and loading {name}")
            self._do("building Bookinfo", build(engine, service), _CREATE, engine)
            if engine == "docker":
                self._do("kind load", ["kind", "load", "docker-image", name, "--name", NAME],
                         _INSTALL, engine)
            else:  # kind cannot read podman's store, only an archive
                archive = self.home / f"{service}.tar"
                try:
                    self._do("podman save", ["podman", "save", "-o", str(archive), name],
                             _INSTALL, engine)
                    self._do("kind load", ["kind", "load", "image-archive", str(archive),
                             "--name", NAME], _INSTALL, engine)
                finally:
                    archive.unlink(missing_ok=True)

    def _do(self, what: str, argv: Sequence[str], seconds: float, engine: str) -> None:
        done = self.run(argv, seconds, with_engine(engine))
        if done.status:
            raise CommandFailed(
                f"{what} failed with status {done.status}: {' '.join(argv)}",
                cause=last(done.output) or "it said nothing",
                fix="mend that and run ./workbook cluster up --provider kind again: it goes on "
                "where it stopped. What is there meanwhile (the container "
                f"{NAME}-control-plane, the kubeconfig) ./workbook cluster down removes",
                detail="\n".join(done.output.splitlines()[-15:]),
            )
