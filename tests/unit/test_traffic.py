"""Traffic: tagged, bounded, cancellable, and a dead server is a row and not an exception."""

from __future__ import annotations

import _thread
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from helpers import reconcile, traffic
from helpers.errors import BadInput, Cancelled
from helpers.mesh.base import CurlResult, Endpoint


class StandIn:
    """A small web app in a thread, which keeps the headers that it was sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.hold = threading.Event()
        self.arrived = threading.Event()
        self.curls: list[tuple[str, str]] = []
        app = Starlette(routes=[Route("/productpage", self._answer), Route("/slow", self._slow)])
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True
        )
        self.thread.start()

    def _answer(self, request: Request) -> Response:
        self.seen.append(dict(request.headers))
        return PlainTextResponse("ok", status_code=503 if "fail" in request.query_params else 200)

    def _slow(self, request: Request) -> Response:
        self.seen.append(dict(request.headers))
        self.arrived.set()
        self.hold.wait(20)
        return PlainTextResponse("late")

    def endpoint(self, service: str = "productpage") -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.socket.getsockname()[1]}", f"{service}:9080")

    def curl(self, url: str, **options: Any) -> CurlResult:
        self.curls.append((url, options["container"]))
        odd = len(self.curls) % 2
        return CurlResult(status=200 if odd else 0, error="" if odd else "reset")

    def stop(self) -> None:
        self.hold.set()
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", str(tmp_path / "state"))


@pytest.fixture
def mesh() -> Iterator[Any]:
    stand_in = StandIn()
    yield stand_in
    stand_in.stop()


def test_each_request_carries_a_tag_that_finds_it_again(mesh: Any) -> None:
    frame = traffic.send(mesh, count=20, rate=None, progress=False)
    assert frame["status"].tolist() == [200] * 20
    assert frame.dtypes.astype(str).to_dict() == {
        "id": "str", "time": "datetime64[ns, UTC]", "status": "Int16", "latency_ms": "float64",
        "user_agent": "str", "agent": "str", "error": "str", "request_id": "str",
        "late_ms": "float64",
    }
    assert sorted(h["user-agent"] for h in mesh.seen) == frame["user_agent"].tolist()
    for headers in mesh.seen:
        found = reconcile.TAG.search(headers["user-agent"])
        assert found is not None
        assert found[1] == headers["x-workbook-id"]
        assert headers["host"] == "productpage:9080"
    assert {h["x-request-id"] for h in mesh.seen} == set(frame["request_id"])


def test_several_clients_take_turns_and_weights_are_kept(mesh: Any) -> None:
    frame = traffic.send(mesh, count=6, rate=None, user_agents=("a", b"b\xa1"), progress=False)
    assert frame["agent"].tolist() == ["a", "b\\xa1"] * 3
    frame = traffic.send(mesh, count=8, rate=None, user_agents={"a": 3, "b": 1}, progress=False)
    assert Counter(frame["agent"]) == {"a": 6, "b": 2}


def test_more_headers_and_a_status_other_than_200_arrive(mesh: Any) -> None:
    frame = traffic.send(
        mesh, count=2, rate=None, path="/productpage?fail", headers={"x-team": "é"}, progress=False
    )
    assert frame["status"].tolist() == [503, 503]
    assert frame["error"].tolist() == ["", ""]
    assert all("x-team" in headers for headers in mesh.seen)


def test_no_request_leaves_before_its_turn(mesh: Any) -> None:
    frame = traffic.send(mesh, count=10, rate=100, progress=False)
    elapsed = (frame["time"].iloc[-1] - frame["time"].iloc[0]).total_seconds() * 1e3
    # Request 9 is due 90 ms after request 0, which itself may have left late.
    assert elapsed >= 90 - frame["late_ms"].iloc[0] - 2


def test_a_server_that_is_gone_gives_rows_with_errors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mesh: Any = SimpleNamespace(endpoint=lambda _: Endpoint(f"http://127.0.0.1:{port}", "x"))
    frame = traffic.send(mesh, count=3, rate=None, progress=False)
    assert frame["status"].isna().all()
    assert frame["error"].str.startswith("ConnectError").all()


def test_a_server_killed_in_mid_traffic_gives_rows_for_every_request(mesh: Any) -> None:
    def stop() -> None:
        while len(mesh.seen) < 5:
            time.sleep(0.005)
        mesh.stop()

    killer = threading.Thread(target=stop)
    killer.start()
    frame = traffic.send(mesh, count=100, rate=100, progress=False)
    killer.join()
    assert len(frame) == 100
    assert frame["status"].notna().sum() >= 5
    assert (frame["error"] != "").any()
    assert ((frame["error"] == "") == frame["status"].notna()).all()


def test_no_answer_in_time_is_an_error_of_that_row(mesh: Any) -> None:
    frame = traffic.send(mesh, count=1, path="/slow", timeout=0.1, progress=False)
    assert frame["error"].iloc[0].startswith("ReadTimeout")


def test_stopping_keeps_what_was_sent_and_marks_what_was_under_way(
    mesh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "_GRACE", 0.2)

    def interrupt() -> None:
        mesh.arrived.wait()
        _thread.interrupt_main()

    stopper = threading.Thread(target=interrupt)
    stopper.start()
    with pytest.raises(Cancelled, match="stopped after") as caught:
        traffic.send(mesh, count=50, rate=1, path="/slow", concurrency=2, progress=False)
    stopper.join()
    error = caught.value
    assert isinstance(error, traffic.TrafficCancelled)
    assert 1 <= len(error.sent) < 50
    assert "cancelled" in set(error.sent["error"])
    pd.testing.assert_frame_equal(traffic.last(), error.sent)


def test_the_last_run_is_kept_on_disk(mesh: Any) -> None:
    frame = traffic.send(mesh, count=3, rate=None, user_agents=['a "b", c'], progress=False)
    pd.testing.assert_frame_equal(traffic.last(), frame)


def test_without_a_last_run_the_error_says_so() -> None:
    with pytest.raises(BadInput, match=r"last\.csv"):
        traffic.last()


def test_another_container_sends_through_the_mesh(mesh: Any) -> None:
    frame = traffic.send(mesh, count=2, rate=None, concurrency=1, container="app", progress=False)
    assert mesh.curls == [("http://productpage:9080/productpage", "app")] * 2
    assert frame["error"].tolist() == ["", "reset"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("count", 0), ("count", 100_001), ("count", 1.5), ("count", True), ("rate", 0),
        ("rate", 5001), ("rate", float("nan")), ("rate", "fast"), ("concurrency", 0),
        ("concurrency", 257), ("timeout", 0), ("path", "productpage"), ("path", "/a b"),
        ("user_agents", ()), ("user_agents", ("",)), ("user_agents", {"a": -1}),
        ("user_agents", ("a\r\nb: c",)), ("headers", {"a b": "c"}), ("headers", {"a": "b\0"}),
    ],
)
def test_an_argument_outside_its_range_is_named(argument: str, value: object) -> None:
    name = {"user_agents": r"user_agents|User-Agent", "headers": "header"}.get(argument, argument)
    with pytest.raises(BadInput, match=name):
        traffic.send(SimpleNamespace(), **{argument: value})  # type: ignore[arg-type]
