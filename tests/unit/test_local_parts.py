"""Small parts of the local mesh: services, events, paths, logs, commands."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from helpers import manifests
from helpers.errors import BadInput, BadManifest, BadState, MeshDown, NotFound
from helpers.mesh.local import access, agent, caretaker, kubectl, services, volumes
from helpers.mesh.local.envoy_admin import Files, rotate
from helpers.mesh.local.events import Events
from helpers.mesh.local.pods import Pod, Pods, info, template_hash
from helpers.processes import Registry


def pod(
    name: str = "productpage-v1-x",
    state: str = "ready",
    *,
    sidecar: bool = True,
    annotations: dict[str, str] | None = None,
) -> Pod:
    template = {
        "metadata": {"labels": {"app": "productpage"}, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "productpage", "image": "i"}]},
    }
    return Pod(
        name=name,
        namespace="default",
        deployment="productpage-v1",
        hash=template_hash(template),
        template=template,
        created=time.time(),
        sidecar=sidecar,
        state=state,
    )


SERVICES = [
    services.Service("details", "default", {"app": "details"}, (9080,)),
    services.Service("productpage", "default", {"app": "productpage"}, (9080,)),
]


@pytest.mark.parametrize(
    "host",
    ["details", "details.default", "details.default.svc", "details.default.svc.cluster.local"],
)
def test_every_name_of_a_service_is_resolved(host: str) -> None:
    found = services.resolve(host, "default", SERVICES)
    assert found is not None
    assert found.name == "details"


@pytest.mark.parametrize("host", ["nobody", "details.elsewhere", "details.default.example.org"])
def test_other_names_are_not(host: str) -> None:
    assert services.resolve(host, "default", SERVICES) is None


def test_only_ready_pods_stand_behind_a_service() -> None:
    found = services.endpoints(
        SERVICES[1], [pod("a", "starting"), pod("b")], lambda _: ("127.0.0.1", 1)
    )
    assert found == [("127.0.0.1", 1)]


@pytest.mark.parametrize(
    ("state", "sidecar", "shown"),
    [
        ("pending", True, ("0/2", "Init:0/2")),
        ("pending", False, ("0/1", "ContainerCreating")),
        ("starting", True, ("0/2", "PodInitializing")),
        ("ready", True, ("2/2", "Running")),
        ("crashed", True, ("0/2", "CrashLoopBackOff")),
    ],
)
def test_a_pods_state_has_kubectls_words(state: str, sidecar: bool, shown: tuple[str, str]) -> None:
    found = info(pod(state=state, sidecar=sidecar))
    assert (found.ready, found.status) == shown


def test_a_repeated_event_is_counted_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    events = Events(tmp_path)
    for _ in range(3):
        events.add(
            kind="Warning",
            reason="FailedMount",
            obj="pod/x",
            source="kubelet",
            message="m",
            namespace="default",
        )
        clock[0] += 2
    (event,) = events.all()
    assert event.count == 3


def test_a_path_cannot_climb_out_of_the_container(tmp_path: Path) -> None:
    assert agent.inside(tmp_path, "/etc/../../../x/./y") == str(tmp_path / "x" / "y")


def test_the_annotations_volume_is_mounted_in_the_sidecar() -> None:
    found = volumes.mounts(
        pod(
            annotations={
                volumes.USER_VOLUME: '[{"name":"v","configMap":{"name":"c"}}]',
                volumes.USER_VOLUME_MOUNT: '[{"name":"v","mountPath":"/m"}]',
            }
        )
    )
    assert found == [volumes.Mount("istio-proxy", "/m", "v")]


@pytest.mark.parametrize("text", ["{", "{}", '["x"]', '[{"mountPath":"/m"}]'])
def test_a_broken_annotation_is_named(text: str) -> None:
    with pytest.raises(BadManifest, match=r"sidecar\.istio\.io/userVolume"):
        volumes.mounts(pod(annotations={volumes.USER_VOLUME: text}))


def test_a_mount_without_its_volume_is_named() -> None:
    with pytest.raises(BadManifest, match='Not found: "v"'):
        volumes.mounts(
            pod(annotations={volumes.USER_VOLUME_MOUNT: '[{"name":"v","mountPath":"/m"}]'})
        )


def test_log_lines_since_a_time_keep_their_backtrace(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text(
        "2026-01-01T00:00:00.000000Z\tinfo\told\n  old trace\n"
        "2026-01-01T00:00:05.000000Z\terror\tnew\n  0: trace\n"
    )
    since = 1767225604.0
    lines = access.read(log, since=since, tail=None, grep=None, strip="")
    assert lines == ["2026-01-01T00:00:05.000000Z\terror\tnew", "  0: trace"]


def test_the_rotated_part_of_a_log_comes_first(tmp_path: Path) -> None:
    (tmp_path / "x.log.1").write_text("a\n")
    (tmp_path / "x.log").write_text("b\n")
    assert access.read(tmp_path / "x.log", since=None, tail=None, grep=None, strip="") == ["a", "b"]


def test_this_computers_path_is_taken_out_of_log_lines(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("Invalid path: /root/of/pod/etc/x.wasm\n")
    (line,) = access.read(
        tmp_path / "x.log", since=None, tail=None, grep=None, strip="/root/of/pod"
    )
    assert line == "Invalid path: /etc/x.wasm"


@pytest.mark.parametrize("url", ["https://productpage:9080/", "ftp://x", "http://x:notaport/"])
def test_a_url_that_the_mesh_cannot_request_is_named(url: str) -> None:
    with pytest.raises(BadInput, match=r"URL|requested"):
        access.target(url)


def test_a_selector_that_is_not_equality_is_refused() -> None:
    with pytest.raises(BadInput, match="NAME=VALUE"):
        kubectl.parse_selector("app in (a,b)")


def test_an_unknown_pod_lists_the_known_ones() -> None:
    with pytest.raises(NotFound) as failure:
        kubectl.pick([pod("known")], "unknown", "default")
    assert "known" in failure.value.cause


def test_while_two_pods_exist_the_ready_one_is_meant() -> None:
    assert kubectl.pick([pod("old"), pod("new", "starting")], None, "default").name == "old"


def test_the_printed_curl_command_can_be_pasted() -> None:
    text = kubectl.curl("p", "istio-proxy", "http://x/", {"User-Agent": "a b"}, "GET", None)
    assert text == "kubectl exec p -c istio-proxy -- curl -s -H 'User-Agent: a b' http://x/"


def test_a_header_of_bytes_is_quoted_so_that_the_bytes_arrive() -> None:
    text = kubectl.curl("p", "c", "http://x/", {"User-Agent": b"Yo\xa1'; )"}, "GET", None)
    assert r"-H $'User-Agent: Yo\xa1\'; )' http://x/" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5, "5s"), (130, "2m10s"), (1200, "20m"), (90000, "25h"), (400000, "4d")],
)
def test_ages_read_as_kubectls(seconds: int, shown: str) -> None:
    assert kubectl.age(time.time() - seconds) == shown


def test_an_owner_that_lives_is_not_gone_and_an_ended_one_is() -> None:
    token = caretaker.owner_token(psutil.Process(os.getpid()))
    assert not caretaker.gone(token)
    pid, _, _ = token.partition(":")
    assert caretaker.gone(f"{pid}:1.0"), "the same pid of another time is another program"
    assert not caretaker.gone("")


def test_an_object_that_is_no_file_is_shown_so_that_it_can_be_pasted(tmp_path: Path) -> None:
    plugin = manifests.wasmplugin("x", "file:///etc/x.wasm", plugin_config={"a": "it's"})
    command = kubectl.apply(plugin, [plugin], "default")
    first, *yaml_lines, last = command.splitlines()
    assert first == "kubectl apply --server-side -n default -f - <<'EOF'"
    assert last == "EOF"
    assert manifests.load("\n".join(yaml_lines)) == [plugin]


def test_a_line_of_the_object_cannot_end_the_shown_command_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manifests, "to_yaml", lambda *_: "a: |\nEOF\nEOF_\n")
    *before, last = kubectl.apply({"a": ""}, [{"a": ""}], "default").splitlines()
    assert before[0].endswith(f"<<'{last}'")
    assert last not in before


def test_a_manifest_in_a_file_is_shown_by_its_name(tmp_path: Path) -> None:
    command = kubectl.apply(tmp_path / "a b.yaml", [], "default")
    assert command.startswith("kubectl apply --server-side -f '")
    assert command.endswith("a b.yaml' -n default")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"productpage": "x"}', '{"productpage": null}'])
def test_a_damaged_ports_file_is_named(tmp_path: Path, text: str) -> None:
    pods = Pods(tmp_path)
    assert pods.bound_ports(pod()) == {}
    path = pods.app_ports(pod())
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(BadState, match="damaged") as caught:
        pods.bound_ports(pod())
    assert str(path) in caught.value.what


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_index_of_fetched_modules_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(text)
    assert agent._index(path) == {}


def test_a_log_whose_envoy_does_not_answer_keeps_its_name(tmp_path: Path) -> None:
    where = Files(tmp_path)
    where.log.write_text("a line\n")
    with pytest.raises(MeshDown):
        rotate(where, limit=1)
    assert where.log.read_text() == "a line\n"


def test_the_caretaker_watches_on_beside_a_damaged_record(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    damaged = tmp_path / "processes" / "a.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    record = registry.start("b", [sys.executable, "-c", "import time; time.sleep(60)"],
                            log=tmp_path / "log")
    try:
        assert [other.name for other in caretaker._others(registry)] == ["b"]
    finally:
        registry.stop(record.name)


@pytest.mark.parametrize("source", [
    "{}", "null", '{"name": 1}', '{"name": "c", "items": [{"key": "a"}]}',
    '{"name": "c", "items": [{"key": "a", "path": "../../a"}]}',
    '{"name": "c", "items": [{"key": "a", "path": "/a"}]}',
])
def test_a_volume_that_an_annotation_describes_wrongly_is_refused(source: str) -> None:
    text = f'[{{"name": "v", "configMap": {source}}}]'
    with pytest.raises(BadManifest, match="cannot be used"):
        volumes.volumes(pod(annotations={volumes.USER_VOLUME: text}))
