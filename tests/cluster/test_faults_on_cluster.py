"""Parts of a cluster end while they are used, and what the workbook says and does then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers import doctor, reconcile, steps, traffic
from helpers.cluster import bare
from helpers.errors import NotReady, WorkbookError
from helpers.mesh.cluster import ClusterMesh, execing
from helpers.mesh.cluster.errors import About, WebhookDown
from helpers.mesh.cluster.execing import Place

SERVER = [{"mode": "SERVER"}]
#: With bash alone: the image of a sidecar has no pkill for sure.
_KILL_ENVOY = ('for p in /proc/[0-9]*; do read -r name < "$p/comm"; '
               '[ "$name" = envoy ] && kill -9 "${p#/proc/}"; done; exit 0')


def raw(mesh: ClusterMesh, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """A request past our verbs: what somebody else does to the cluster."""
    return mesh.connection.request(method, path, body=body, about=About(), **more)


def until(what: Callable[[], bool], *, seconds: float, words: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {words}"
        time.sleep(0.3)


def balanced(mesh: ClusterMesh, count: int = 30, **more: Any) -> pd.DataFrame:
    """Send and account for every request; the frame of what was sent."""
    sent = traffic.send(mesh, count=count, rate=15, progress=False, **more)
    assert set(sent["status"].dropna()) == {200}, sent["error"].unique()
    found = reconcile.settled(mesh, sent, timeout=20)
    assert found.balanced, found.summary()
    assert found.totals["logged_inbound"] == count
    return sent


@pytest.fixture(scope="module")
def deployed(shared_mesh: ClusterMesh, wasm: dict[str, Path]) -> ClusterMesh:
    """One Bookinfo with the corrected filter, inbound only, for all faults: each must heal."""
    steps.start_from(shared_mesh, "deployed", wasm=wasm["header-logger"])
    steps.apply_wasmplugin(shared_mesh, match=SERVER)
    steps.curl_until(shared_mesh, 200, timeout=30)
    return shared_mesh


def page(mesh: ClusterMesh) -> Any:
    """The pod of productpage that is not leaving."""
    (pod,) = [p for p in mesh.pods("app=productpage").pods if p.status != "Terminating"]
    return pod


@contextmanager
def asking(mesh: ClusterMesh) -> Iterator[list[object]]:
    """Ask for pods again and again meanwhile; each answer or error, in order."""
    seen: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                seen.append(len(mesh.pods("app=productpage").pods))
            except WorkbookError as error:
                seen.append(error)
            time.sleep(0.2)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_a_killed_envoy_is_started_again_and_has_forgotten_its_log_level(
    deployed: ClusterMesh,
) -> None:
    balanced(deployed)
    before = page(deployed)
    place = Place(deployed.namespace, before.name, "istio-proxy")
    begun = time.time()
    refused: list[WorkbookError] = []
    try:
        execing.run(deployed.connection, place, ["bash", "-c", _KILL_ENVOY])
    except WorkbookError as error:  # the container may end under the program
        refused.append(error)
    # What is asked meanwhile is answered or refused in words, never with a traceback.
    for _ in range(5):
        try:
            assert steps.curl(deployed, timeout=2).status in (0, 200, 503)
        except WorkbookError as error:
            refused.append(error)
        time.sleep(0.2)
    assert all(error.cause and error.fix for error in refused), refused
    until(lambda: page(deployed).is_ready and page(deployed).restarts == before.restarts + 1,
          seconds=60, words="ready again after one restart")
    steps.curl_until(deployed, 200, timeout=30)
    assert page(deployed).name == before.name

    found = doctor.why_no_log(deployed)
    assert found.layer == "log level", found.text
    assert "until it restarts" in found.fix

    deployed.set_log_level("wasm:info")
    balanced(deployed)
    assert deployed.logs(since=begun - 60).lines, "the lines before the restart are there, too"
    assert any("restarted" in note for note in deployed.logs(since=begun - 60).notes)


def test_with_two_replicas_the_counts_of_both_pods_add_up(deployed: ClusterMesh) -> None:
    deployed.patch("deployment", steps.DEPLOYMENT, {"spec": {"replicas": 2}})
    try:
        deployed.wait_ready(steps.DEPLOYMENT, timeout=120)
        assert "these pods" in " ".join(deployed.set_log_level("wasm:info").notes)
        until(lambda: {steps.curl(deployed).status for _ in range(6)} == {200},
              seconds=30, words="both answer")
        begun = time.time()
        balanced(deployed, count=60, concurrency=12)
        both = deployed.logs(since=begun, grep="User-Agent: MyTestClient")
        names = {pod.name for pod in deployed.pods("app=productpage").pods
                 if pod.status == "Running"}
        counts = {name: both.pods.count(name) for name in names}
        assert set(both.pods) == names
        assert sum(counts.values()) == 60
        alone = {name: len(deployed.logs(name, since=begun, grep="User-Agent: MyTestClient").lines)
                 for name in names}
        assert alone == counts
        assert "-l pod-template-hash=" in both.command
    finally:
        deployed.patch("deployment", steps.DEPLOYMENT, {"spec": {"replicas": 1}})
        deployed.wait_ready(steps.DEPLOYMENT, timeout=120)
    deployed.set_log_level("wasm:info")


@pytest.mark.parametrize("way", ["deleted", "evicted"])
def test_a_pod_that_goes_during_traffic_costs_requests_and_no_traceback(
    deployed: ClusterMesh, way: str
) -> None:
    old = page(deployed)
    path = f"/api/v1/namespaces/{deployed.namespace}/pods/{old.name}"

    def go() -> None:
        time.sleep(1)
        if way == "deleted":
            raw(deployed, "DELETE", path)
        else:
            raw(deployed, "POST", f"{path}/eviction", {
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": old.name, "namespace": deployed.namespace}})

    thread = threading.Thread(target=go)
    thread.start()
    sent = traffic.send(deployed, count=60, rate=15, progress=False, timeout=3)
    thread.join()
    assert len(sent) == 60
    lost = sent[sent["status"].isna() | (sent["status"] != 200)]
    assert lost["status"].notna().all() or lost["error"].str.len().gt(0).any(), "each says why"
    deployed.wait_ready(steps.DEPLOYMENT, timeout=120)
    until(lambda: page(deployed).name != old.name, seconds=60, words="a new pod")
    steps.curl_until(deployed, 200, timeout=30)
    deployed.set_log_level("wasm:info")
    balanced(deployed)


@pytest.mark.parametrize("part", ["kubelet", "containerd"])
def test_pods_serve_on_while_a_part_of_the_node_is_restarted(
    deployed: ClusterMesh, part: str
) -> None:
    before = page(deployed)
    bare.restart(part, seconds_down=1.0)
    refused: list[WorkbookError] = []

    def answers() -> bool:
        try:
            return steps.curl(deployed).status == 200
        except WorkbookError as error:  # exec goes through both parts
            refused.append(error)
            return False

    until(answers, seconds=60, words=f"an answer after {part}")
    assert all(error.cause and error.fix for error in refused), refused
    assert all(len(error.what) < 200 for error in refused), "and in few words"
    until(lambda: page(deployed).is_ready, seconds=60, words=f"ready after {part}")
    assert (page(deployed).name, page(deployed).restarts) == (before.name, before.restarts)
    balanced(deployed)


def test_reads_wait_for_an_api_server_that_is_restarted(deployed: ClusterMesh) -> None:
    with asking(deployed) as seen:
        bare.restart("kube-apiserver", seconds_down=2.0)
        time.sleep(1)
    assert [each for each in seen if isinstance(each, WorkbookError)] == []
    assert set(seen) == {1}
    balanced(deployed)


_ISTIOD = "/apis/apps/v1/namespaces/istio-system/deployments/istiod"
_VALIDATORS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_MERGE = "application/merge-patch+json"


@contextmanager
def without_istiod(mesh: ClusterMesh) -> Iterator[None]:
    """istiod is scaled to nothing; afterwards it is there and ready again."""
    def scale(count: int) -> None:
        raw(mesh, "PATCH", _ISTIOD, {"spec": {"replicas": count}}, content_type=_MERGE)
        until(lambda: (raw(mesh, "GET", _ISTIOD)["status"].get("readyReplicas") or 0) == count,
              seconds=90, words=f"{count} istiod")

    scale(0)
    try:
        yield
    finally:
        scale(1)


def validators(mesh: ClusterMesh) -> list[str]:
    """Istio's validating webhooks."""
    return [each["metadata"]["name"] for each in raw(mesh, "GET", _VALIDATORS)["items"]
            if "istio" in each["metadata"]["name"]]


def lenient(mesh: ClusterMesh) -> None:
    """Let objects pass that no webhook looked at, as before istiod's first start."""
    for name in validators(mesh):
        found = raw(mesh, "GET", f"{_VALIDATORS}/{name}")
        for hook in found["webhooks"]:
            hook["failurePolicy"] = "Ignore"
        raw(mesh, "PUT", f"{_VALIDATORS}/{name}", found)


def test_a_plugin_that_changes_while_istiod_is_away_arrives_when_it_is_back(
    deployed: ClusterMesh,
) -> None:
    with without_istiod(deployed):
        # Its webhook must be asked about each plugin.
        with pytest.raises(WebhookDown) as caught:
            steps.apply_wasmplugin(deployed, match=SERVER, pluginName="later")
        assert caught.value.fix
        # The sidecar goes on with what it has.
        assert steps.curl(deployed).status == 200

        lenient(deployed)
        steps.apply_wasmplugin(deployed, match=SERVER, pluginName="later")
        found = doctor.why_no_log(deployed)
        assert found.layer == "configuration", found.text
        assert "istiod" in found.cause
        assert "rollout status deploy/istiod" in found.fix

        # No sidecar can be injected either, so no new pod is made, and the old one stays.
        old = page(deployed).name
        deployed.restart(steps.DEPLOYMENT)
        with pytest.raises(NotReady) as refused:
            deployed.wait_ready(steps.DEPLOYMENT, timeout=4)
        assert "sidecar-injector" in str(refused.value)
        assert old in {pod.name for pod in deployed.pods("app=productpage").pods}
    begun = time.time()
    until(lambda: any(
        "later" in str(each) for each in deployed.proxy_config("ecds").extra["json"]),
        seconds=60, words="the plugin has arrived")
    # The ReplicaSet tries again at growing intervals; another restart makes it try now.
    deployed.restart(steps.DEPLOYMENT)
    deployed.wait_ready(steps.DEPLOYMENT, timeout=120)
    steps.curl_until(deployed, 200, timeout=30)
    deployed.set_log_level("wasm:info")
    steps.curl(deployed)
    assert steps.wait_for_log(deployed, " later: User-Agent: ", since=begun, timeout=10).lines
    until(lambda: all(
        hook["failurePolicy"] == "Fail" for name in validators(deployed)
        for hook in raw(deployed, "GET", f"{_VALIDATORS}/{name}")["webhooks"]),
        seconds=60, words="istiod has its webhooks strict again")
