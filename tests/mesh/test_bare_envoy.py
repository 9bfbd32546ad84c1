"""A real Envoy, the prebuilt plugin, and everything on the wire chosen by the test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers import paths, steps
from helpers.bare_envoy import BareEnvoy, Chain, EnvoyEnded, NoAnswer, Reply, WasmFilter
from helpers.bare_envoy.types import AnswerLike
from helpers.errors import BadInput

LOGGER = paths.plugins() / "prebuilt" / "header_logger.wasm"
#: Panics when the first stream is made.
PRINTED = paths.plugins() / "prebuilt" / "as_printed.wasm"


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareEnvoy]:
    junk = tmp_path_factory.mktemp("junk") / "junk.wasm"
    junk.write_bytes(b"no module at all")
    chains = [
        Chain([WasmFilter(LOGGER, name="default.logger", root_id="root", vm_id="one")]),
        Chain(),
        Chain([WasmFilter(LOGGER, plugin_config={"log_level": "loud"}, name="default.refused")]),
        Chain([WasmFilter(junk, name="default.junk")]),
        Chain([WasmFilter(PRINTED, name="default.printed", vm_id="two")]),
    ]
    with BareEnvoy(chains, callout_clusters=["auth"]) as running:
        yield running


def test_each_line_of_a_plugin_belongs_to_its_request(envoy: BareEnvoy) -> None:
    for agent in ("first", "second"):
        seen = envoy.request(headers={"user-agent": agent})
        (line,) = [line for line in seen.logs if agent in line.text]
        assert (line.level, line.plugin) == ("info", "default.logger root one")
        assert not any("first" in line.text for line in seen.logs if agent == "second")


def test_bytes_beyond_ascii_pass_unharmed_in_both_directions(envoy: BareEnvoy) -> None:
    value = bytes(range(0x80, 0x100))
    seen = envoy.request(
        chain=1,
        headers=[("x-odd", value), ("x-odd", b""), ("x-odd", b"caf\xe9")],
        body=[value],
        trailers=[("t", value)],
        upstream=Reply(201, [("x-back", value)], [value], [("u", value)]),
    )
    assert seen.status == 201
    assert seen.upstream is not None
    assert [v for k, v in seen.upstream.headers if k == b"x-odd"] == [value, b"", b"caf\xe9"]
    assert (seen.upstream.body, seen.upstream.trailers) == (value, ((b"t", value),))
    assert seen.client.get("x-back") == value
    assert (seen.client.body, seen.client.trailers) == (value, ((b"u", value),))


def test_envoy_adds_a_scheme_and_a_date_and_nothing_else(envoy: BareEnvoy) -> None:
    seen = envoy.request(chain=1, upstream=Reply(headers={"server": "mine"}))
    assert seen.upstream is not None
    assert seen.upstream.headers == (
        (b":authority", b"sandbox"), (b":path", b"/"), (b":method", b"GET"), (b":scheme", b"http"),
        (b"x-forwarded-proto", b"http"),
    )
    assert [name for name, _ in seen.client.headers] == [b":status", b"server", b"date"]


def test_each_chunk_of_a_body_is_a_call_into_the_plugin(wasm: dict[str, Path]) -> None:
    with BareEnvoy([Chain([WasmFilter(wasm["noop"])])]) as running:
        running.request(body=[b"a", b"bc", b"", b"def"], upstream=Reply(body=[b"1", b"23"]))
        calls = [line.text for line in running.log_lines()
                 if line.text.startswith("[host->vm] proxy_on_re") and "_body" in line.text]
        assert [text.rpartition("(")[2] for text in calls[:4]] == [
            "2, 1, 0)", "2, 2, 0)", "2, 0, 0)", "2, 3, 1)"]
        assert [text.rpartition("(")[2] for text in calls[4:]] == ["2, 1, 0)", "2, 2, 1)"]


def test_a_body_above_the_flow_control_window_arrives_whole(envoy: BareEnvoy) -> None:
    body = os.urandom(3_000_000)
    seen = envoy.request(chain=1, body=body, upstream=Reply(body=body))
    assert seen.upstream is not None
    assert seen.upstream.body == body
    assert seen.client.body == body


def test_the_upstream_can_answer_by_what_it_was_asked(envoy: BareEnvoy) -> None:
    seen = envoy.request(chain=1, path="/x", upstream=lambda m: Reply(body=m.get(":path")))
    assert seen.client.body == b"/x"


def test_an_upstream_that_resets_is_a_local_reply_of_envoy(envoy: BareEnvoy) -> None:
    seen = envoy.request(chain=1, upstream=None)
    assert (seen.status, seen.flags, seen.local_reply) == (503, "UR", True)
    assert seen.details == "upstream_reset_before_response_started{remote_reset}"


def test_an_upstream_that_never_answers_ends_in_an_error_with_what_was_seen(
    envoy: BareEnvoy,
) -> None:
    with pytest.raises(NoAnswer, match=r"no response within 0\.2 s") as caught:
        envoy.request(chain=1, path="/late", upstream="timeout", deadline=0.2)
    assert caught.value.seen is not None
    assert caught.value.seen.upstream is not None
    assert caught.value.seen.upstream.get(":path") == b"/late"
    assert envoy.request(chain=1).status == 200


def test_a_client_can_hang_up(envoy: BareEnvoy) -> None:
    seen = envoy.request(chain=1, upstream="timeout", hang_up=True)
    assert seen.status is None
    assert seen.details == "http2.remote_reset"
    assert seen.upstream is not None


def test_a_header_that_envoy_refuses_ends_only_its_own_stream(envoy: BareEnvoy) -> None:
    seen = envoy.request(chain=1, headers={"x": "a\nb"})
    assert (seen.status, seen.flags, seen.upstream) == (None, "DPE", None)
    assert envoy.request(chain=1).status == 200


def test_plugins_that_do_not_start_are_named_with_envoys_words(envoy: BareEnvoy) -> None:
    assert [(r.chain, r.name) for r in envoy.refused] == [
        (2, "default.refused"), (3, "default.junk")]
    config, junk = envoy.refused
    assert 'not "loud"' in config.reason
    assert "corrupted" not in config.reason
    assert "Failed to parse corrupted Wasm module" in junk.reason
    assert [envoy.request(chain=chain).status for chain in (2, 3)] == [500, 500]


def test_a_panic_is_a_503_and_envoy_says_where(envoy: BareEnvoy) -> None:
    seen = envoy.request(chain=4)
    assert (seen.status, seen.details, seen.upstream) == (503, "wasm_fail_stream", None)
    assert any("proxy_on_context_create failed" in line.text for line in seen.envoy)


def test_what_a_plugin_asks_of_others_is_answered_and_shown() -> None:
    plugin = WasmFilter(steps.build_plugin("callout"), {"cluster": "auth", "path": "/check"})
    with BareEnvoy([Chain([plugin])], callout_clusters={"auth": Reply(204)}) as running:
        seen = running.request()
        assert seen.status == 200
        assert [(c.cluster, c.message.get(":path")) for c in seen.callouts] == [
            ("auth", b"/check")]
        denied = running.request(callouts={"auth": Reply(403)})
        assert (denied.status, denied.upstream) == (403, None)
        # To a plugin a reset and a time-out are answers that Envoy makes up.
        failures: list[tuple[AnswerLike, int]] = [(None, 503), ("timeout", 504)]
        for answer, status in failures:
            failed = running.request(callouts={"auth": answer})
            assert any(f"auth answered {status}" in line.text for line in failed.logs)
            assert failed.status == 503
        assert running.request().status == 200


def test_lines_of_the_start_are_told_by_thread(envoy: BareEnvoy) -> None:
    said = [line.main for line in envoy.start_logs
            if line.by_plugin and line.plugin == "root one" and "configured" in line.text]
    assert said == [True, True, False]  # tried out, the main thread's, the worker's


def test_an_unknown_chain_or_cluster_is_refused_with_those_there_are(envoy: BareEnvoy) -> None:
    with pytest.raises(BadInput, match="there is no chain 9"):
        envoy.request(chain=9)
    with pytest.raises(BadInput, match="there is no callout cluster ratings"):
        envoy.request(callouts={"ratings": None})
    with pytest.raises(BadInput, match="may not be called"):
        BareEnvoy([Chain()], callout_clusters=["upstream"])


def test_an_error_ends_envoy_and_removes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left: list[BareEnvoy] = []

    def fails() -> None:
        with BareEnvoy([Chain()]) as running:
            left.append(running)
            raise RuntimeError("of ours")

    with pytest.raises(RuntimeError, match="of ours"):
        fails()
    assert not psutil.pid_exists(left[0].pid)
    assert not list(tmp_path.iterdir())
    left[0].close()  # twice is once


def test_an_envoy_that_is_killed_is_named_with_its_signal() -> None:
    with BareEnvoy([Chain()]) as running:
        process = psutil.Process(running.pid)
        process.kill()
        with pytest.raises(EnvoyEnded, match="signal 9"):
            running.request()


def test_two_workers_can_be_had() -> None:
    with BareEnvoy([Chain([WasmFilter(LOGGER)])], concurrency=2) as running:
        assert running.request(headers={"user-agent": "two"}).status == 200
