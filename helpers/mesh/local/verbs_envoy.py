"""istioctl proxy-config, on the local mesh."""

from __future__ import annotations

import json

from helpers.mesh.base import ConfigKind
from helpers.mesh.local import istioctl
from helpers.mesh.local.core import Core
from helpers.show import Result, TableResult


class EnvoyVerbs(Core):
    """The verbs that ask the sidecar's Envoy itself."""

    def set_log_level(self, level: str, pod: str | None = None) -> Result:
        """istioctl proxy-config log POD --level wasm:info"""
        with self._at_work():
            found = self._sidecar_pod(pod)
            levels = self._kubelet.sidecar(found).admin.set_log_level(level)
        lines = [f"{found.name}.{found.namespace}:", "active loggers:"]
        lines += [f"  {name}: {value}" for name, value in levels.items()]
        return self._result(
            f"istioctl proxy-config log {found.name} -n {found.namespace} --level {level}",
            "\n".join(lines),
            "this pod only, and only until it is replaced",
        )

    def proxy_config(self, what: ConfigKind, pod: str | None = None) -> TableResult:
        """istioctl proxy-config WHAT POD"""
        istioctl.require_known(what)
        with self._at_work():
            found = self._sidecar_pod(pod)
            side = self._kubelet.sidecar(found)
            command = f"istioctl proxy-config {what} {found.name} -n {found.namespace}"
            if what == "log":
                return istioctl.shown_levels(side.admin.log_levels(), command=command,
                                             mesh=self.kind)
            text = side.admin.get("/config_dump?include_eds")
            ports = side.ports()
        # The prefix is an accident of this computer: a learner reads the container's paths.
        # Envoy writes letters beyond ASCII as they are, and quotes and backslashes escaped.
        prefix = json.dumps(str(side.files.root), ensure_ascii=False)[1:-1]
        dump = json.loads(text.replace(prefix, ""))
        note = ("in a cluster virtualInbound listens on 15006, where iptables brings "
                "port 9080; here each listener has a port that the kernel chose")
        return istioctl.shown(what, dump, ports=ports, command=command, mesh=self.kind,
                              notes=(note,))

    def stats(self, pattern: str, pod: str | None = None) -> dict[str, int]:
        """kubectl exec POD -c istio-proxy -- pilot-agent request GET stats?filter=PATTERN"""
        with self._at_work():
            return self._kubelet.sidecar(self._sidecar_pod(pod)).admin.stats(pattern)
