"""A scenario's plugin on a real Envoy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

from helpers import bare_envoy
from helpers.bare_envoy import BareEnvoy, Chain, Log, NoAnswer, WasmFilter
from helpers.bare_envoy.types import AnswerLike, FailPolicy, raw
from helpers.scenarios.format import Answer, Request, Scenario, Step
from helpers.scenarios.seen import Line, Message, Reply, Seen

POLICIES = {"FAIL_CLOSE": "closed", "FAIL_OPEN": "open", "FAIL_RELOAD": "reload"}
_FAILED = re.compile(r"Function: (\w+) failed")
#: How long a response may take; a plugin that pauses for ever is known after less.
_SECONDS, _PAUSED_SECONDS = 10.0, 1.0


@contextmanager
def started(scenario: Scenario, module: Path) -> Iterator[OnEnvoy]:
    """An Envoy of its own with the scenario's plugin."""
    plugin = WasmFilter(
        module,
        plugin_config=scenario.plugin_config,
        name=scenario.filter_name,
        root_id=scenario.plugin_name,
        vm_config=scenario.vm_config,
        env=scenario.env,
        fail_policy=cast(FailPolicy, POLICIES[scenario.fail_strategy]),
    )
    level = "warning" if scenario.log_level == "warn" else scenario.log_level
    with BareEnvoy(
        [Chain([plugin])],
        node_metadata=scenario.node_metadata,
        callout_clusters={name: answer(given) for name, given in scenario.clusters.items()},
        log_level=level,
    ) as envoy:
        yield OnEnvoy(envoy)


class OnEnvoy:
    """A running Envoy as `seen.Host`."""

    def __init__(self, envoy: BareEnvoy) -> None:
        self._envoy = envoy
        self.refused = envoy.refused[0].reason if envoy.refused else ""
        said = [line for line in envoy.start_logs if line.by_plugin]
        # A plugin that is refused ran in the VM that is tried out first, and in no other.
        self.start_logs = _lines([line for line in said if self.refused or not line.main])
        self._earlier = self.start_logs

    def request(self, request: Request, step: Step) -> Seen:
        """Send the step's request."""
        paused = step.expect.status == "paused"
        try:
            seen = self._envoy.request(
                method=request.method,
                path=request.path,
                authority=request.authority,
                headers=request.headers,
                body=request.body,
                trailers=request.trailers,
                upstream=answer(step.upstream),
                callouts=_answers(step.callouts),
                deadline=_PAUSED_SECONDS if paused else _SECONDS,
            )
        except NoAnswer as error:
            if error.seen is None:
                raise
            return self._seen(error.seen, "paused")
        whole = seen.status is not None and seen.client.ended
        return self._seen(seen, seen.status if whole and seen.status else "reset")

    def wait(self, seconds: float) -> Seen:
        """Let real time pass."""
        lines = self._envoy.wait(seconds)
        return Seen(logs=self._since(lines), metrics=self._envoy.metrics())

    def _seen(self, seen: bare_envoy.Seen, status: int | str) -> Seen:
        failed = [_FAILED.search(line.text) for line in seen.envoy]
        return Seen(
            status=status,
            upstream=None if seen.upstream is None else _message(seen.upstream),
            client=_message(seen.client),
            logs=self._since(seen.logs),
            reply=Reply(seen.details, seen.status, seen.client.body)
            if seen.local_reply and seen.status is not None else None,
            callouts=tuple((each.cluster, _message(each.message)) for each in seen.callouts),
            metrics=self._envoy.metrics(),
            panics=tuple(found[1] for found in failed if found),
            notes=tuple(str(line) for line in seen.envoy),
        )

    def _since(self, lines: Sequence[Log]) -> tuple[Line, ...]:
        found = (*self._earlier, *_lines(self._envoy.idle_logs), *_lines(lines))
        self._earlier = ()
        return found


def answer(given: Answer | Literal["reset", "timeout"]) -> AnswerLike:
    """What a scripted server of a bare Envoy answers."""
    if isinstance(given, Answer):
        return bare_envoy.Reply(given.status, given.headers, given.body, given.trailers)
    return "timeout" if given == "timeout" else None


def _answers(given: Mapping[str, Answer | Literal["reset", "timeout"]]) -> dict[str, AnswerLike]:
    return {name: answer(each) for name, each in given.items()}


def _message(message: bare_envoy.Message) -> Message:
    return Message(message.headers, message.body, message.trailers)


def _lines(lines: Sequence[Log]) -> tuple[Line, ...]:
    return tuple(Line("warn" if line.level == "warning" else line.level, raw(line.text))
                 for line in lines)
