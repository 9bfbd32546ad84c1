"""A scenario's plugin on the sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from helpers import sandbox
from helpers.bare_envoy.types import configuration, raw, text
from helpers.errors import BadModule, NotModelled
from helpers.sandbox import ConfigureFailed, Exchange, LogLine, Sandbox, StartFailed
from helpers.scenarios.format import Answer, Request, Scenario, Step
from helpers.scenarios.on_envoy import POLICIES
from helpers.scenarios.seen import Line, Message, Reply, Seen

# As over HTTP/2 on Envoy: the last chunk of a body says that it is the last.
_PROTOCOL = "HTTP/2"
# What Envoy adds to every request; it makes no x-request-id in the scenarios' Envoy.
_PROTO = (b"x-forwarded-proto", b"http")
#: Seconds on the sandbox's clock after which nobody waits for an answer any more.
_NEVER = 1e6


@contextmanager
def started(scenario: Scenario, module: Path) -> Iterator[OnSandbox | Refused]:
    """A sandbox of its own with the scenario's plugin."""
    callouts = Callouts(scenario)
    try:
        running = Sandbox(
            module,
            # The very bytes that Envoy's plugin gets.
            plugin_config=configuration(scenario.plugin_config),
            vm_config=configuration(scenario.vm_config),
            name=scenario.filter_name,
            root_id=scenario.plugin_name,
            env=scenario.env,
            fail_policy=POLICIES[scenario.fail_strategy],
            node_metadata=scenario.node_metadata,
            log_level=scenario.log_level,
            callouts={name: callouts.of(name) for name in scenario.clusters},
        )
    except (BadModule, StartFailed, ConfigureFailed, sandbox.GuestPanic) as error:
        yield Refused(str(error), _lines(getattr(error, "logs", ())))
        return
    with running:
        yield OnSandbox(running, callouts)


class Refused:
    """A plugin that did not start, as `seen.Host`."""

    def __init__(self, reason: str, logs: tuple[Line, ...]) -> None:
        self.refused = reason
        self.start_logs = logs

    def request(self, request: Request, step: Step) -> Seen:
        """Never asked for."""
        raise AssertionError(self.refused)

    def wait(self, seconds: float) -> Seen:
        """Never asked for."""
        raise AssertionError(self.refused)


class Callouts:
    """What other services answer now: a step may change it."""

    def __init__(self, scenario: Scenario) -> None:
        self._usual = scenario.clusters
        self._now = dict(self._usual)

    def of(self, cluster: str) -> sandbox.records.Answer:
        """The function that answers for a cluster."""

        def answer(_: sandbox.Callout) -> sandbox.Reply | None:
            given = self._now[cluster]
            if isinstance(given, Answer):
                return _reply(given)
            # No answer before the plugin's own time is up; None is a stream that is broken off.
            return sandbox.Reply(delay=_NEVER) if given == "timeout" else None

        return answer

    def change(self, step: Step) -> None:
        """Answer as this step wants it."""
        self._now = {**self._usual, **step.callouts}


class OnSandbox:
    """A sandbox as `seen.Host`."""

    def __init__(self, running: Sandbox, callouts: Callouts) -> None:
        self._sandbox = running
        self._callouts = callouts
        self._read = 0
        self.refused = ""
        self.start_logs = _lines(running.logs)

    def request(self, request: Request, step: Step) -> Seen:
        """Send the step's request.

        Raises:
            NotModelled: the upstream breaks the stream off.
        """
        self._callouts.change(step)
        exchange = self._exchange(request, step.upstream)
        client = exchange.client
        status = exchange.status if exchange.state == "complete" else exchange.state
        local = exchange.local_reply
        return Seen(
            status=status,
            upstream=None if exchange.upstream is None else _message(exchange.upstream),
            client=Message() if client is None else _message(client),
            logs=self._since(),
            reply=Reply(local.details, local.status, local.body) if local else None,
            callouts=tuple((each.cluster, _message(each)) for each in exchange.callouts),
            metrics=self._sandbox.metrics,
            panics=tuple(panic.callback for panic in exchange.panics),
            notes=(*map(str, exchange.panics), *exchange.unimplemented, *exchange.diagnostics),
        )

    def wait(self, seconds: float) -> Seen:
        """Move the clock."""
        self._sandbox.advance(seconds)
        return Seen(logs=self._since(), metrics=self._sandbox.metrics)

    def _exchange(
        self, request: Request, upstream: Answer | Literal["reset", "timeout"]
    ) -> Exchange:
        method, path = text(request.method), text(request.path)
        authority, headers = text(request.authority), request.headers
        if not any(name == _PROTO[0] for name, _ in headers):
            headers = (*headers, _PROTO)
        if isinstance(upstream, Answer):
            return self._sandbox.request(
                method, path, headers, list(request.body), request.trailers, _reply(upstream),
                authority=authority, protocol=_PROTOCOL, add_headers=False)
        if upstream == "reset":
            raise NotModelled("the sandbox's upstream does not break a stream off",
                              cause="the scenario has upstream: reset",
                              fix="run it on a real Envoy: --on local")
        steps = self._sandbox.start(
            method, path, headers, authority=authority, protocol=_PROTOCOL, add_headers=False)
        pieces, tail = list(request.body), request.trailers
        exchange = steps.headers(end=not pieces and not tail)
        for number, piece in enumerate(pieces, 1):
            exchange = steps.data(piece, end=number == len(pieces) and not tail)
        return steps.trailers(tail) if tail else exchange

    def _since(self) -> tuple[Line, ...]:
        logs = self._sandbox.logs
        found = _lines(logs[self._read :])
        self._read = len(logs)
        return found


def _reply(given: Answer) -> sandbox.Reply:
    return sandbox.Reply(given.status, given.headers, list(given.body), given.trailers)


def _message(message: sandbox.Message | sandbox.Callout) -> Message:
    trailers = message.trailers
    return Message(message.headers.raw, message.body, None if trailers is None else trailers.raw)


def _lines(lines: Sequence[LogLine]) -> tuple[Line, ...]:
    return tuple(Line(line.level, raw(line.text)) for line in lines)
