"""Programs in a cluster's containers and their logs' times, with the real client and no cluster."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_exec import ExecServer, exited, failed
from cluster_http import FakeServer

from helpers.errors import CommandFailed, MeshDown, NotFound
from helpers.mesh.cluster import execing, pod_logs
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.execing import Place
from helpers.mesh.cluster.pod_logs import Line
from helpers.mesh.cluster.settings import ClusterSettings
from helpers.mesh.local import access

PLACE = Place("anna", "productpage-v1-x", "istio-proxy")
SECOND = 1_000_000_000


# -- exec -------------------------------------------------------------------------------------


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Callable[..., tuple[ExecServer, Connection]]]:
    """Opens exec servers with the frames that a test wants, and a connection to each."""
    opened: list[tuple[ExecServer, Connection]] = []

    def start(*frames: tuple[int, bytes | None], **options: object):  # type: ignore[no-untyped-def]
        server = ExecServer(frames, **options)  # type: ignore[arg-type]
        config = FakeServer.kubeconfig(server, tmp_path)  # type: ignore[arg-type]
        opened.append((server, Connection(ClusterSettings(kubeconfig=str(config)))))
        return opened[-1]

    yield start
    for server, connection in opened:
        connection.close()
        server.stop()


def test_what_a_program_wrote_arrives_by_channel_with_its_code(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    server, connection = kubelet((1, b"one\xa1"), (2, b"err "), (1, b"two\0" * 100), (2, b"more"),
                                 (3, exited(3)))
    done = execing.run(connection, PLACE, ["cat", "/a b"], timeout=5)
    assert done == execing.Outcome(3, b"one\xa1" + b"two\0" * 100, b"err more")
    assert server.commands == [["cat", "/a b"]]


def test_a_program_gets_its_input_whole_and_hears_where_it_ends(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    server, connection = kubelet((0, None), (3, exited(0)))
    sent = bytes(range(256)) * 200
    assert execing.run(connection, PLACE, ["cat"], stdin=sent, timeout=5).code == 0
    assert server.stdin == sent


def test_a_program_that_the_image_lacks_is_named(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    _, connection = kubelet((3, failed(
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "curl": '
        "executable file not found in $PATH: unknown")))
    with pytest.raises(execing.ProgramMissing, match=r"istio-proxy of pod .* has no curl"):
        execing.run(connection, PLACE, ["curl"], timeout=5)


def test_a_program_that_the_runtime_cannot_start_tells_the_runtimes_words(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    _, connection = kubelet((3, failed("cgroup is full")))
    with pytest.raises(CommandFailed) as failure:
        execing.run(connection, PLACE, ["true"], timeout=5)
    assert failure.value.cause == "cgroup is full"


def test_what_came_before_the_connection_broke_is_no_answer(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    _, connection = kubelet((1, b"half"))
    with pytest.raises(execing.Broken, match="the connection to container istio-proxy"):
        execing.run(connection, PLACE, ["cat"], timeout=5)


def test_a_lost_kubelet_may_be_asked_again(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    _, connection = kubelet((3, failed(
        'Internal error occurred: error sending request: Post "https://10.0.0.2:10250/exec": EOF')))
    with pytest.raises(execing.Broken, match="lost the kubelet") as failure:
        execing.run(connection, PLACE, ["cat"], timeout=5)
    assert failure.value.cause == "EOF"


def test_a_killed_program_of_a_pod_that_is_gone_is_no_exit_code(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    _, connection = kubelet((3, exited(137)), gone=True)
    with pytest.raises(execing.PodGone, match="was removed"):
        execing.run(connection, PLACE, ["sleep", "9"], timeout=5)


def test_a_refused_exec_is_the_api_servers_own_error(
    kubelet: Callable[..., tuple[ExecServer, Connection]]
) -> None:
    _, connection = kubelet(refuse=(404, {
        "kind": "Status", "code": 404, "reason": "NotFound",
        "message": 'pods "productpage-v1-x" not found'}))
    with pytest.raises(NotFound, match="productpage-v1-x"):
        execing.run(connection, PLACE, ["true"], timeout=5)


def test_a_bounded_program_ends_by_itself() -> None:
    begun = time.monotonic()
    done = subprocess.run(execing.bounded(["sleep", "20"], 1), check=False)
    assert done.returncode in (-9, 137)
    assert time.monotonic() - begun < 10


# -- logs -------------------------------------------------------------------------------------


def stamped(second: int, text: str) -> str:
    return f"2026-11-24T10:00:{second:02d}.500000001Z {text}"


def envoy(second: int, text: str) -> str:
    return f"2026-11-24T10:00:{second:02d}.500Z\tinfo\t{text}"


def at(second: int) -> float:
    found = access.stamp(envoy(second, ""))
    assert found is not None
    return found


def line(second: float, text: str, pod: str = "a") -> Line:
    return Line(int(second * SECOND), text, pod)


def test_the_kubelets_times_are_taken_off_to_the_nanosecond() -> None:
    raw = f"{stamped(1, 'one')}\n{stamped(2, '')}\n{stamped(3, ' three')}\n".encode()
    found = list(pod_logs._lines(raw, "a"))
    assert [each.text for each in found] == ["one", "", " three"]
    assert found[0].time == int(at(1) * 1000) * 1_000_000 + 1
    offset = next(pod_logs._lines(b"2026-11-24T12:00:01.5+02:00 x", "a"))
    assert (offset.time, offset.text) == (int(at(1) * SECOND), "x")


def test_lines_of_several_pods_follow_each_other_in_time_and_records_stay_whole() -> None:
    one = [line(1, envoy(1, "a1")), line(1.2, "  rest of a1"), line(3, envoy(3, "a2"))]
    two = [line(1.1, envoy(1, "b1"), "b"), line(2, envoy(2, "b2"), "b")]
    found = pod_logs.merge([one, two])
    assert [each.text.split("\t")[-1] for each in found] == [
        "a1", "  rest of a1", "b1", "b2", "a2"]
    assert [each.pod for each in found] == ["a", "a", "b", "b", "a"]


def test_an_applications_lines_without_a_time_are_ordered_by_the_runtimes() -> None:
    one = [line(1, "GET /1"), line(3, "GET /3")]
    two = [line(2, "GET /2", "b")]
    assert [each.text for each in pod_logs.merge([one, two])] == ["GET /1", "GET /2", "GET /3"]


def test_since_counts_a_records_own_time_and_keeps_its_lines_together() -> None:
    late = envoy(10, "access line, written a second later")
    lines = [line(at(11), late), line(at(12), envoy(12, "new")), line(at(12), "  of the new")]
    assert pod_logs.not_before(lines, at(11)) == lines[1:]
    assert pod_logs.not_before(lines, at(10)) == lines


def test_since_takes_the_runtimes_time_where_a_line_has_none() -> None:
    lines = [line(at(1), "GET /1"), line(at(2), "GET /2")]
    assert pod_logs.not_before(lines, at(2)) == lines[1:]


def test_a_line_without_a_time_long_after_a_record_is_one_of_its_own() -> None:
    lines = [line(at(1), envoy(1, "started")), line(at(1), "  more"), line(at(9), "Traceback")]
    assert pod_logs.not_before(lines, at(5)) == lines[2:]


def test_following_goes_on_where_it_broke_off_and_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str | int]] = []
    answers = [[stamped(1, "one"), stamped(2, "two")],
               [stamped(2, "two"), stamped(3, "three"), stamped(4, "other")]]

    def stream(_: object, __: object, query: dict[str, str | int], ___: float) -> Iterator[str]:
        asked.append(dict(query))
        if answers:
            yield from answers.pop(0)
        else:
            time.sleep(___)

    monkeypatch.setattr(pod_logs, "_stream", stream)
    monkeypatch.setattr(pod_logs, "check_pod", lambda *_: None)
    found = list(pod_logs.follow(None, PLACE, seconds=1, grep="t"))  # type: ignore[arg-type]
    assert found == ["two", "three", "other"]
    assert asked[0]["tailLines"] == 0
    assert asked[1]["sinceTime"] == "2026-11-24T10:00:02Z"
    assert "tailLines" not in asked[1]


def test_a_server_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = type("Nobody", (), {"port": port})()
    config = FakeServer.kubeconfig(nobody, tmp_path)
    connection = Connection(ClusterSettings(kubeconfig=str(config)))
    with pytest.raises(MeshDown, match="does not answer"):
        pod_logs.read(connection, PLACE)
    connection.close()
