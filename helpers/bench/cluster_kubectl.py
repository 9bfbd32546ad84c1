"""The article's way typed with the real kubectl: what a person's shell does, without the person."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from helpers import shell, steps
from helpers.bench.inner_loop import Stuck
from helpers.mesh.base import Mesh

_LINE_SECONDS = 60.0
_ROLLOUT = "180s"

#: curl's exit status when its time is up, which kubectl exec hands on.
_TIMED_OUT = 28


@dataclass(frozen=True)
class Kubectl:
    """kubectl on this computer, bound to one namespace of one cluster.

    Attributes:
        kubeconfig: as kubectl's --kubeconfig; empty leaves its own choice.
        context: as --context; empty leaves its own choice.
        namespace: as --namespace.
    """

    kubeconfig: str
    context: str
    namespace: str

    @staticmethod
    def installed() -> bool:
        """Whether this computer has a kubectl."""
        return shutil.which("kubectl") is not None

    def deliver(self, mesh: Mesh, wasm: Path) -> tuple[float, float]:
        """Replace the ConfigMap, restart, wait, set the log level again.

        Args:
            mesh: asked, before the time begins, for the ConfigMap's labels: they stay.

        Raises:
            CommandFailed: kubectl said no.
        """
        held = mesh.get("configmap", steps.CONFIGMAP).extra["objects"][0]["metadata"]
        labels = [f"{name}={value}" for name, value in (held.get("labels") or {}).items()]
        begun = time.perf_counter()
        self._sh(self.replacing(wasm, labels))
        self._sh(self.line("rollout", "restart", f"deployment/{steps.DEPLOYMENT}"))
        self._sh(self.line("rollout", "status", f"deployment/{steps.DEPLOYMENT}",
                           f"--timeout={_ROLLOUT}"))
        self._exec("pilot-agent", "request", "POST", "logging?wasm=info")
        return 0.0, time.perf_counter() - begun

    def first_line(self, mesh: Mesh, text: str) -> None:
        """curl and `kubectl logs | grep`, in turn, until a line with `text` is there.

        Raises:
            CommandFailed: kubectl said no.
            Stuck: there is none after a minute.
        """
        deadline = time.monotonic() + _LINE_SECONDS
        while True:
            self._sh(f"{self._request()} || [ $? -eq {_TIMED_OUT} ]")
            log = self._sh(self.line("logs", self._pod(), "-c", "istio-proxy"))
            if text in log:
                return
            if time.monotonic() > deadline:
                raise Stuck(f"no line with {text!r} within {_LINE_SECONDS:.0f} s",
                            cause="Envoy still runs the old module, or refused the new one",
                            fix="the last log lines are below",
                            detail="\n".join(log.splitlines()[-10:]))

    def replacing(self, wasm: Path, labels: list[str]) -> str:
        """The line of shell that gives the ConfigMap new content, as a person would paste it."""
        made = self.line("create", "configmap", steps.CONFIGMAP,
                         f"--from-file={steps.KEY}={wasm}", "--dry-run=client", "-o", "yaml")
        kept = [self.line("label", "--local", "-f", "-", *labels, "-o", "yaml")] if labels else []
        return " | ".join([made, *kept, self.line("replace", "-f", "-")])

    def line(self, *words: str) -> str:
        """One command, quoted for a shell."""
        which = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        which += [f"--context={self.context}"] if self.context else []
        return shlex.join(["kubectl", *which, f"--namespace={self.namespace}", *words])

    def _pod(self) -> str:
        # After a restart the old pod may still be listed; the newest is the one that is meant.
        found = self._sh(self.line("get", "pods", "-l", "app=productpage",
                                   "--sort-by=.metadata.creationTimestamp", "-o", "name"))
        return found.split()[-1]

    def _request(self) -> str:
        # Just after a rollout kube-proxy may still lead to the pod that is gone: nothing answers
        # there, and without a limit of its own curl would knock for two minutes.
        return self._in_sidecar("curl", "-s", "-m", "5", "-o", "/dev/null",
                                "-H", f"User-Agent: {steps.USER_AGENT}", steps.URL)

    def _in_sidecar(self, *words: str) -> str:
        return self.line("exec", self._pod(), "-c", "istio-proxy", "--", *words)

    def _exec(self, *words: str) -> str:
        return self._sh(self._in_sidecar(*words))

    @staticmethod
    def _sh(line: str) -> str:
        return shell.run(["sh", "-ec", line], timeout=240).output
