"""The sandbox's trace beside lines as a sidecar wrote them at `wasm:trace`."""

from __future__ import annotations

import pandas as pd
import pytest

from helpers import logs, paths
from helpers.sandbox import Exchange, Sandbox
from helpers.sandbox.beside import beside_envoy, envoy_calls, threads

LOGGER = paths.plugins() / "prebuilt" / "header_logger.wasm"
# Written by Envoy 1.40 for one request with the header-logger; `malloc` is the guest's own.
SEEN = """
[host->vm] proxy_on_context_create(2, 1)
[host<-vm] proxy_on_context_create return: void
[host->vm] proxy_on_request_headers(2, 8, 1)
[vm->host] env.proxy_get_log_level(1048560)
[vm<-host] env.proxy_get_log_level return: 0
[vm->host] env.proxy_get_header_map_pairs(0, 1048540, 1048544)
[host->vm] malloc(248)
[host<-vm] malloc return: 1114280
[vm<-host] env.proxy_get_header_map_pairs return: 0
[vm->host] env.proxy_log(2, 1114736, 24)
[vm<-host] env.proxy_log return: 0
[host<-vm] proxy_on_request_headers return: 0
[host->vm] proxy_on_response_headers(2, 1, 1)
[host<-vm] proxy_on_response_headers return: 0
[host->vm] proxy_on_log(2)
[host<-vm] proxy_on_log return: void
[host->vm] proxy_on_done(2)
[host<-vm] proxy_on_done return: 1
[host->vm] proxy_on_delete(2)
[host<-vm] proxy_on_delete return: void
""".strip().splitlines()


def parsed(*texts: str, thread: str = "42") -> pd.DataFrame:
    """A sidecar's log, an access line among it, through the workbook's own reader."""
    access = ('[2026-11-22T19:32:30.226Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 0 1 - "-" '
              '"x" "id" "productpage:9080" "-" inbound|9080|| - - - - default')
    lines = [f"2026-11-24T06:22:09.12273{at % 10}Z\ttrace\tenvoy wasm source/wasm_vm.cc:39\t{text}"
             f"\tthread={thread}" for at, text in enumerate(texts)]
    return logs.parse("\n".join([access, *lines]))


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    with Sandbox(LOGGER) as sandbox:
        return sandbox.request(headers={"user-agent": "MyTestClient", "accept": "*/*"})


def test_the_calls_are_read_out_of_the_log_with_what_came_back() -> None:
    calls = envoy_calls(parsed(*SEEN))
    assert [(one.direction, one.name, one.arguments, one.result) for one in calls[:5]] == [
        ("guest", "proxy_on_context_create", "2, 1", "void"),
        ("guest", "proxy_on_request_headers", "2, 8, 1", "0"),
        ("host", "proxy_get_log_level", "1048560", "0"),
        ("host", "proxy_get_header_map_pairs", "0, 1048540, 1048544", "0"),
        ("guest", "malloc", "248", "1114280")]


def test_both_hosts_make_the_same_calls_and_only_one_lists_malloc(exchange: Exchange) -> None:
    both = beside_envoy(exchange, parsed(*SEEN))
    assert both.same == 9
    assert both.only_envoy == ("malloc",)
    assert both.only_sandbox == ()
    assert "(headers=8, end_of_stream=true) = Continue" in both.text
    assert "(2, 8, 1) = 0" in both.text


def test_what_envoy_did_not_do_stands_alone(exchange: Exchange) -> None:
    both = beside_envoy(exchange, parsed(*SEEN[:2]))
    assert both.same == 1
    assert "proxy_log" in both.only_sandbox
    assert len(both.frame()) == len(exchange.trace)


def test_a_call_that_never_came_back_is_a_trap() -> None:
    with Sandbox(LOGGER, trace=False) as sandbox:
        untraced = sandbox.request()
    text = beside_envoy(untraced, parsed("[host->vm] proxy_on_context_create(2, 1)")).text
    assert "nothing: a trap" in text


def test_calls_are_counted_by_thread() -> None:
    log = pd.concat([parsed("[host->vm] proxy_on_configure(1, 20)", thread=thread)
                     for thread in ("1", "1", "2")])
    assert threads(envoy_calls(log), "proxy_on_configure") == {"1": 2, "2": 1}


def test_a_log_without_such_lines_has_no_calls() -> None:
    assert envoy_calls(parsed("wasm log p: [host->vm] is only text")) == []
