"""Istio in the bare cluster: what istioctl is given, and whether istiod works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from helpers import files, shell
from helpers.cluster.bare.api import Api
from helpers.cluster.bare.layout import Layout
from helpers.errors import NotReady

NAMESPACE = "istio-system"


def operator(*, hub: str, tag: str) -> dict[str, Any]:
    """The IstioOperator that istioctl installs: profile minimal, and what this Envoy needs.

    Args:
        hub: the images' prefix.
        tag: the images' tag.
    """
    return {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {
            "profile": "minimal",
            "hub": hub,
            "tag": tag,
            "meshConfig": {"accessLogFile": "/dev/stdout"},
            "values": {
                "global": {
                    "imagePullPolicy": "IfNotPresent",
                    "proxy": {"resources": {"requests": {"cpu": "10m", "memory": "40Mi"}}},
                    "proxy_init": {"resources": {"requests": {"cpu": "10m", "memory": "10Mi"}}},
                },
                "pilot": {
                    "autoscaleEnabled": False,
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
                    # Envoy as its own project builds it lacks Istio's filters for both.
                    "env": {
                        "PILOT_ENABLE_METADATA_EXCHANGE": "false",
                        "PILOT_ENABLE_ALPN_FILTER": "false",
                    },
                },
                # Istio's telemetry filters (stats) are not in that Envoy, either.
                "telemetry": {"enabled": False},
            },
        },
    }


def install(where: Layout, istioctl: Path, *, hub: str, tag: str, seconds: int = 240) -> None:
    """istioctl install with our IstioOperator; waits until istiod is ready.

    Raises:
        CommandFailed: istioctl refuses or gives up; `detail` has its words.
    """
    path = where.config / "istio-operator.yaml"
    files.write_atomic(path, yaml.safe_dump(operator(hub=hub, tag=tag), sort_keys=False))
    with (where.logs / "istioctl.log").open("a", encoding="utf-8") as log:
        shell.run(
            [istioctl, "install", "--skip-confirmation", "--filename", path,
             "--kubeconfig", where.kubeconfig, f"--readiness-timeout={seconds}s"],
            # It keeps what it discovers in ~/.kube/cache: into our folder, not the learner's.
            env={"HOME": str(where.home / "home")},
            sink=lambda line: print(line, file=log, flush=True),
        )


def problem(api: Api) -> str:
    """Empty when istiod is ready, else what is wrong."""
    found = api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/istiod")
    if found is None:
        return "istiod is not installed, or the API server does not answer"
    ready = (found.get("status") or {}).get("readyReplicas") or 0
    return "" if ready else "istiod has no ready pod"


def require(api: Api) -> None:
    """Raise when istiod does not work.

    Raises:
        NotReady: it has no ready pod.
    """
    if what := problem(api):
        raise NotReady(what, cause="its pod did not start, or ended",
                       fix="./workbook cluster status")
