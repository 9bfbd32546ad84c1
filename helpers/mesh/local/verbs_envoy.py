"""istioctl proxy-config, on the local mesh."""

from __future__ import annotations

import json

from helpers.errors import BadInput
from helpers.mesh.base import ConfigKind
from helpers.mesh.local import istioctl
from helpers.mesh.local.core import Core
from helpers.show import Result, TableResult, table


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
        with self._at_work():
            found = self._sidecar_pod(pod)
            side = self._kubelet.sidecar(found)
            command = f"istioctl proxy-config {what} {found.name} -n {found.namespace}"
            if what == "log":
                levels = side.admin.log_levels()
                return table(
                    ("LOGGER", "LEVEL"),
                    levels.items(),
                    command=command,
                    mesh=self.kind,
                    extra={"json": levels},
                )
            text = side.admin.get("/config_dump?include_eds")
            ports = side.ports()
        # The prefix is an accident of this computer: a learner reads the container's paths.
        # Envoy writes letters beyond ASCII as they are, and quotes and backslashes escaped.
        prefix = json.dumps(str(side.files.root), ensure_ascii=False)[1:-1]
        dump = json.loads(text.replace(prefix, ""))
        if what == "listener":
            return table(
                ("NAME", "ADDRESSES", "PORT", "MATCH", "DESTINATION"),
                istioctl.listener_rows(dump, ports),
                command=command,
                mesh=self.kind,
                extra={"json": istioctl.listeners(dump)},
                notes=(
                    "in a cluster virtualInbound listens on 15006, where iptables brings "
                    "port 9080; here each listener has a port that the kernel chose",
                ),
            )
        if what == "cluster":
            return table(
                ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"),
                istioctl.cluster_rows(dump),
                command=command,
                mesh=self.kind,
                extra={"json": istioctl.clusters(dump)},
            )
        if what == "ecds":
            return table(
                ("ECDS NAME", "TYPE"),
                istioctl.ecds_rows(dump),
                command=command,
                mesh=self.kind,
                extra={"json": istioctl.ecds(dump)},
                empty="no ECDS",
            )
        raise BadInput(
            f"proxy-config {what!r} is not known",
            cause="the workbook shows listener, cluster, ecds and log",
            fix='mesh.proxy_config("listener")',
        )

    def stats(self, pattern: str, pod: str | None = None) -> dict[str, int]:
        """kubectl exec POD -c istio-proxy -- pilot-agent request GET stats?filter=PATTERN"""
        with self._at_work():
            return self._kubelet.sidecar(self._sidecar_pod(pod)).admin.stats(pattern)
