"""The two hosts: sandboxes in this process, and one real Envoy with a listener for each chain."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from helpers import bare_envoy
from helpers.agreement.cases import CLUSTERS, Answer, Case, Filter
from helpers.bare_envoy import BareEnvoy, Chain, NoAnswer, WasmFilter
from helpers.bare_envoy.types import raw
from helpers.sandbox import Plugin, Reply, Sandbox

#: How long a response of Envoy may take when the sandbox says that there is one.
SECONDS = 5.0
METADATA = {"NAME": "productpage-v1", "NAMESPACE": "default", "LABELS": {"app": "productpage"}}
Pairs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Message:
    """A request or a response as one side got it; `trailers` is None without any."""

    headers: Pairs
    body: bytes
    trailers: Pairs | None
    complete: bool


@dataclass(frozen=True)
class Outcome:
    """What one host made of a case.

    Attributes:
        state: "complete", "reset", or "paused" (then the client went away).
        status: of the response; 0 without one.
        logs: level, plugin, text of each line of the plugins.
        callouts: cluster and request of each.
    """

    state: str
    status: int
    details: str
    upstream: Message | None
    client: Message | None
    logs: tuple[tuple[str, str, bytes], ...]
    callouts: tuple[tuple[str, Message], ...]


class Hosts:
    """Both hosts with the same chains; a context manager.

    Args:
        chains: the filters of each.
        modules: the built .wasm by plugin folder.

    Raises:
        EnvoyEnded: Envoy does not start.
        WorkbookError: the sandbox refuses a plugin.
    """

    def __init__(self, chains: Sequence[Sequence[Filter]], modules: dict[str, Path]) -> None:
        self.chains = [tuple(chain) for chain in chains]
        self._modules = modules
        self._folder = tempfile.TemporaryDirectory(prefix="agreement-")
        self._sandboxes: dict[int, Sandbox] = {}
        self.envoy = BareEnvoy(
            [Chain([WasmFilter(self._file(one), plugin_config=one.config or None,
                               name=_name(number, at), vm_id=one.vm_id,
                               fail_policy="open" if one.policy == "open" else "closed")
                    for at, one in enumerate(chain)])
             for number, chain in enumerate(self.chains)],
            node_metadata=METADATA, callout_clusters=CLUSTERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End Envoy and all sandboxes."""
        self.envoy.close()
        for one in self._sandboxes.values():
            one.close()
        self._sandboxes.clear()
        self._folder.cleanup()

    def _file(self, one: Filter) -> Path:
        if not one.module:
            return self._modules[one.plugin]
        file = Path(self._folder.name) / f"{hashlib.sha256(one.module).hexdigest()[:16]}.wasm"
        file.write_bytes(one.module)
        return file

    def both(self, chain: int, case: Case) -> tuple[Outcome, Outcome]:
        """What the sandbox makes of a case, and what Envoy does.

        Raises:
            EnvoyEnded: Envoy ended.
        """
        on_sandbox = self.on_sandbox(chain, case)
        return on_sandbox, self.on_envoy(chain, case, paused=on_sandbox.state == "paused")

    def on_sandbox(self, chain: int, case: Case) -> Outcome:
        """Send it through the sandbox."""
        sandbox = self._sandbox(chain)
        answers = {name: None if one is None else _reply(one)
                   for name, one in case.callouts.items()}
        sandbox.host.callouts = {**dict.fromkeys(CLUSTERS, Reply()), **answers}
        exchange = sandbox.request(
            case.method, case.path, list(case.headers), list(case.body), list(case.trailers),
            _reply(case.answer), protocol="HTTP/2")
        state = exchange.state
        if state == "paused":
            sandbox.host.happenings = exchange._happenings
            exchange._stream.disconnect()
            sandbox.host.run_posts()
        return Outcome(
            state=state, status=exchange.status, details=exchange.details,
            upstream=_of_sandbox(exchange.upstream), client=_of_sandbox(exchange.client),
            logs=tuple((line.level, line.plugin, raw(line.text)) for line in exchange.logs),
            callouts=tuple((one.cluster, Message(one.headers.raw, one.body, None if one.trailers
                            is None else one.trailers.raw, True)) for one in exchange.callouts))

    def on_envoy(self, chain: int, case: Case, *, paused: bool) -> Outcome:
        """Send it through Envoy; with `paused` the client goes away when all is handled."""
        answers = {name: None if one is None else _answer(one)
                   for name, one in case.callouts.items()}
        state = ""
        try:
            seen = self.envoy.request(
                chain=chain, method=case.method, path=case.path, headers=case.headers,
                body=case.body, trailers=case.trailers, upstream=_answer(case.answer),
                callouts={**dict.fromkeys(CLUSTERS, bare_envoy.Reply()), **answers},
                hang_up=paused, deadline=SECONDS)
        except NoAnswer as error:
            if error.seen is None:
                raise
            seen, state = error.seen, "paused"
        if not state:
            state = "complete" if seen.client.ended else "paused" if paused else "reset"
        return Outcome(
            state=state, status=seen.status or 0, details=seen.details,
            upstream=_of_envoy(seen.upstream), client=_of_envoy(seen.client),
            logs=tuple(("warn" if line.level == "warning" else line.level,
                        _who(line.plugin, chain), raw(line.text))
                       for line in (*self.envoy.idle_logs, *seen.logs)),
            callouts=tuple((one.cluster, _message(one.message)) for one in seen.callouts))

    def _sandbox(self, chain: int) -> Sandbox:
        found = self._sandboxes.get(chain)
        if found is None:
            plugins = [Plugin(one.module or self._modules[one.plugin], one.config or None,
                              name=_name(chain, at), vm_id=one.vm_id, fail_policy=one.policy)
                       for at, one in enumerate(self.chains[chain])]
            found = self._sandboxes[chain] = Sandbox(
                plugins, node_metadata=METADATA, trace=False,
                properties={"xds.node.id": "bare", "xds.node.cluster": "bare"})
        return found


def _name(chain: int, position: int) -> str:
    return f"p{chain}-{position}"


def _who(prefix: str, chain: int) -> str:
    # Of a root context Envoy prints root_id and vm_id only.
    name = prefix.partition(" ")[0]
    return name if name.startswith(f"p{chain}-") else ""


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, list(answer.headers), list(answer.body),
                 list(answer.trailers) or None)


def _answer(answer: Answer) -> bare_envoy.Reply:
    return bare_envoy.Reply(answer.status, answer.headers, list(answer.body),
                            answer.trailers or None)


def _of_sandbox(message: Any) -> Message | None:
    if message is None:
        return None
    return Message(message.headers.raw, message.body,
                   None if message.trailers is None else message.trailers.raw, message.complete)


def _message(message: bare_envoy.Message) -> Message:
    return Message(message.headers, message.body, message.trailers, message.ended)


def _of_envoy(message: bare_envoy.Message | None) -> Message | None:
    return None if message is None or not message.headers else _message(message)
