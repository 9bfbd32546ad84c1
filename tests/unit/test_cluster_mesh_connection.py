"""From a kubeconfig to an answer, with the real client, and everything that breaks in between."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_http import FakeServer, status

from helpers import paths
from helpers.errors import BadInput, MeshDown, WorkbookError
from helpers.mesh.cluster import connection as connecting
from helpers.mesh.cluster.connection import Connection
from helpers.mesh.cluster.errors import KubeconfigProblem, TlsProblem, Unauthorized
from helpers.mesh.cluster.settings import OWN_IMAGES, ClusterSettings

VERSION = ("GET", "/version")


@pytest.fixture(autouse=True)
def _nothing_of_this_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "HOME", tmp_path / "home")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("WORKBOOK_KUBECONFIG", "WORKBOOK_CONTEXT", "WORKBOOK_NAMESPACE",
                 "WORKBOOK_IMAGES", "WORKBOOK_YES", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    found = FakeServer()
    yield found
    found.stop()


@pytest.fixture
def connection(server: FakeServer, tmp_path: Path) -> Iterator[Connection]:
    found = Connection(ClusterSettings(kubeconfig=str(server.kubeconfig(tmp_path))))
    yield found
    found.close()


# -- settings ---------------------------------------------------------------------------------


def test_the_environment_says_which_cluster_and_options_come_before_it(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBOOK_KUBECONFIG", "/a")
    monkeypatch.setenv("WORKBOOK_NAMESPACE", "anna")
    monkeypatch.setenv("WORKBOOK_IMAGES", "registry.test/mirror/")
    monkeypatch.setenv("WORKBOOK_YES", "1")
    found = ClusterSettings.read(namespace="bob")
    assert (found.kubeconfig, found.namespace, found.images, found.yes, found.ours) == (
        "/a", "bob", "registry.test/mirror", True, False)


def test_our_own_cluster_is_taken_first_with_its_images(tmp_path: Path) -> None:
    assert ClusterSettings.read().kubeconfig is None
    own = tmp_path / "home" / "cluster" / "kubeconfig"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    found = ClusterSettings.read()
    assert (found.kubeconfig, found.images, found.ours) == (str(own), OWN_IMAGES, True)
    other = ClusterSettings.read(kubeconfig="/elsewhere")
    assert (other.images, other.ours) == ("", False)


@pytest.mark.parametrize("name", ["Anna", "a_b", "-a", "a-", "a.b", "x" * 64, "ä"])
def test_a_namespace_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="a namespace cannot be called"):
        ClusterSettings.read(namespace=name)


def test_an_option_that_no_cluster_takes_is_refused() -> None:
    with pytest.raises(BadInput, match="takes no option colour"):
        ClusterSettings.read(colour="red")


# -- the kubeconfig ---------------------------------------------------------------------------


def test_without_a_kubeconfig_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigProblem, match="there is no kubeconfig at") as caught:
        Connection(ClusterSettings())
    assert str(tmp_path / ".kube" / "config") in caught.value.what
    assert "./workbook cluster up" in caught.value.fix


@pytest.mark.parametrize(("text", "what"), [
    ("a: [", "it is not YAML"), ("{}", ""), ("just words", ""), ("", "")])
def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    with pytest.raises(KubeconfigProblem) as caught:
        Connection(ClusterSettings(kubeconfig=str(path)))
    assert str(path) in caught.value.what
    assert what in caught.value.cause


def test_a_context_that_is_not_there_is_answered_with_those_that_are(
    server: FakeServer, tmp_path: Path
) -> None:
    path = server.kubeconfig(tmp_path)
    with pytest.raises(KubeconfigProblem, match="has no context 'there'") as caught:
        Connection(ClusterSettings(kubeconfig=str(path), context="there"))
    assert "it has: here" in caught.value.cause


def test_the_namespace_is_the_contexts_unless_one_is_named(
    server: FakeServer, tmp_path: Path
) -> None:
    path = str(server.kubeconfig(tmp_path, namespace="anna"))
    assert Connection(ClusterSettings(kubeconfig=path)).namespace == "anna"
    assert Connection(ClusterSettings(kubeconfig=path, namespace="bob")).namespace == "bob"
    plain = str(server.kubeconfig(tmp_path))
    assert Connection(ClusterSettings(kubeconfig=plain)).namespace == "default"


# -- what travels -----------------------------------------------------------------------------


def test_a_request_carries_token_query_and_body(server: FakeServer, connection: Connection) -> None:
    server.answers["PATCH", "/x"] = (200, {"fine": True})
    assert connection.request(
        "PATCH", "/x", query={"force": True, "n": 1}, body='{"a": "\U0001f600"}'.encode(),
        content_type="application/apply-patch+yaml") == {"fine": True}
    asked = server.asked[0]
    assert asked.query == {"force": "true", "n": "1"}
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["content-type"] == "application/apply-patch+yaml"
    assert json.loads(asked.body) == {"a": "\U0001f600"}


def test_what_is_no_json_is_no_api_server(server: FakeServer, connection: Connection) -> None:
    server.answers[VERSION] = (200, "<html>log in</html>")
    with pytest.raises(MeshDown, match="is no Kubernetes API server"):
        connection.request("GET", "/version")


def test_expired_credentials_are_read_again_for_the_next_call(
    server: FakeServer, tmp_path: Path, connection: Connection
) -> None:
    server.answers[VERSION] = lambda asked: (
        (200, {"gitVersion": "v1"}) if asked.headers["authorization"] == "Bearer new"
        else status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(Unauthorized, match="You must be logged in") as caught:
        connection.request("GET", "/version")
    assert "context here" in caught.value.cause
    path = server.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace("secret", "new"))
    assert connection.request("GET", "/version") == {"gitVersion": "v1"}


# -- a server that restarts -------------------------------------------------------------------


def test_a_read_waits_for_a_server_that_restarts(
    server: FakeServer, connection: Connection
) -> None:
    server.answers[VERSION] = (200, {"gitVersion": "v1"})
    connection.request("GET", "/version")
    port = server.port
    server.stop()
    second: list[FakeServer] = []

    def again() -> None:
        time.sleep(0.6)
        second.append(FakeServer(answers=server.answers, port=port))

    thread = threading.Thread(target=again)
    thread.start()
    try:
        assert connection.request("GET", "/version") == {"gitVersion": "v1"}
    finally:
        thread.join()
        server._server, server._thread = second[0]._server, second[0]._thread


@pytest.mark.parametrize("code", [429, 503])
def test_what_the_server_has_not_begun_is_asked_again(
    server: FakeServer, connection: Connection, code: int
) -> None:
    def answer(_: object) -> tuple[int, object]:
        if len(server.asked) < 3:
            return status(code, "Busy", "not yet")
        return 200, {"done": True}

    server.answers["POST", "/x"] = answer
    assert connection.request("POST", "/x", body={}) == {"done": True}


def test_a_write_that_may_have_arrived_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer()
    connection = Connection(ClusterSettings(kubeconfig=str(server.kubeconfig(tmp_path))))
    server.answers["POST", "/x"] = status(504, "Timeout", "took too long")
    server.answers["GET", "/x"] = server.answers["POST", "/x"]
    monkeypatch.setattr(connecting, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(connecting, "RETRY_SECONDS", 0.5)
    try:
        with pytest.raises(WorkbookError):
            connection.request("POST", "/x", body={})
        assert len(server.asked) == 1
        with pytest.raises(WorkbookError):
            connection.request("GET", "/x")
        assert len(server.asked) > 2
    finally:
        connection.close()
        server.stop()


def test_a_server_that_is_gone_is_named_with_context_and_address(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "FIRST_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    path = server.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace(str(server.port), str(port)))
    with pytest.raises(MeshDown, match=f"context here at http://127.0.0.1:{port}") as caught:
        Connection(ClusterSettings(kubeconfig=str(path))).request("GET", "/version")
    assert "nothing listens there" in caught.value.cause


def test_a_name_that_nobody_knows_is_not_waited_for(server: FakeServer, tmp_path: Path) -> None:
    path = server.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace("127.0.0.1", "nowhere.invalid"))
    begun = time.monotonic()
    with pytest.raises(MeshDown) as caught:
        Connection(ClusterSettings(kubeconfig=str(path))).request("GET", "/version")
    assert "cannot be resolved" in caught.value.cause
    assert time.monotonic() - begun < connecting.FIRST_SECONDS


def test_a_server_without_tls_is_told_from_one_that_is_gone(
    server: FakeServer, tmp_path: Path
) -> None:
    path = server.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace("http://", "https://"))
    with pytest.raises(TlsProblem) as caught:
        Connection(ClusterSettings(kubeconfig=str(path))).request("GET", "/version")
    assert "speaks no TLS" in caught.value.cause
