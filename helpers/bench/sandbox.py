"""The sandbox: requests a second, loading, the trace's price, and how soon a loop is stopped."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import wasmtime

from helpers import steps
from helpers.bench.figures import Bars, Figure, Measured, Spread, ratio
from helpers.bench.place import scratch
from helpers.errors import NotReady
from helpers.sandbox import DeadlineExceeded, Plugin, Reply, Sandbox, StartFailed, compiled, engine

GOAL_REQUESTS = 25_000.0
GOAL_TIMES = 12.0
GOAL_LOAD_MS = 5.0
GOAL_TRACE = 3.0
GOAL_LATE_MS = 50.0
GOAL_GROWTH_MB = 5.0
#: Seconds that one sample of requests takes.
_SLICE = 0.4
_DEADLINE = 0.2
_NAIVE_WAY = "wasmtime-py's public API"

# A plugin whose first callback never returns.
_LOOP = """
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32) (loop $forever (br $forever))))
"""

_REPAIR = """    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HeaderLogger))
    }
"""

Send = Callable[[Sandbox], None]


def _headers_only(sandbox: Sandbox) -> None:
    seen = sandbox.request(path="/productpage", headers={"user-agent": "MyTestClient"})
    if seen.logs[-1].text != "User-Agent: MyTestClient":
        raise NotReady("a request was not logged", cause=str(seen), fix="please report this")


def _chatty(sandbox: Sandbox) -> None:
    sandbox.request(path="/productpage", headers={"user-agent": "MyTestClient"})


def _with_bodies(sandbox: Sandbox) -> None:
    sandbox.request("POST", "/productpage", {"user-agent": "MyTestClient"},
                    body=(b"the secret is", b" out"), upstream=_ANSWER, protocol="HTTP/2")


_ANSWER = Reply(200, {"content-type": "text/plain"}, [b"a secret", b" answer"])
_REWRITE = {"request": [{"find": "secret", "replace": "public"}],
            "response": [{"find": "secret", "replace": "public"}]}


def bench(
    *, rounds: int = 9, requests: int = 1_000_000, say: Callable[[str], None] = lambda _: None
) -> Measured:
    """One thread, one module after the other; ours, the naive way and the trace in turn.

    Args:
        rounds: samples of each.
        requests: for how many memory is watched.
        say: told what is being done.
    """
    chosen, why_not = engine.chosen()
    modules = {
        "header-logger": steps.build_plugin("header-logger"),
        "body-rewrite": steps.build_plugin("body-rewrite"),
        "lifecycle": steps.build_plugin("lifecycle"),
    }
    with scratch():
        plain = Plugin(_article_repaired().read_bytes(), name="article")
    say(f"requests through the article's filter, repaired, {rounds} rounds; the way taken is "
        f"{chosen} {why_not}".rstrip())
    ours, naive, traced = _turns(plain, _headers_only, rounds, traced=True)
    logger, logger_naive, _ = _turns(Plugin(modules["header-logger"]), _headers_only, rounds)
    say("requests with bodies, and a plugin that logs every callback")
    body, body_naive, _ = _turns(
        Plugin(modules["body-rewrite"], _REWRITE), _with_bodies, rounds)
    chatty, chatty_naive, _ = _turns(Plugin(modules["lifecycle"]), _chatty, rounds)
    say("loading: from the cache, and compiled")
    load, compile_ = _loading(modules["header-logger"], rounds)
    say("a loop without end")
    late = _late(rounds)
    say(f"memory over {requests:,} requests")
    growth = _growth(plain, requests)
    return summary(
        ours=ours, naive=naive, traced=traced, logger=logger, logger_naive=logger_naive,
        body=body, body_naive=body_naive, chatty=chatty,
        chatty_naive=chatty_naive, load=load, compiled_ms=compile_, late=late, growth_mb=growth,
        requests=requests, way=chosen)


def _article_repaired() -> Path:
    """The article's filter with the two functions that its listing lacks: six callbacks and two
    host calls a request."""
    crate = steps.cargo_new("header-only")
    steps.write_file(crate, "Cargo.toml")
    printed = steps.write_file(crate, "src/lib.rs").path.read_text(encoding="utf-8")
    root = "impl RootContext for HeaderLogger {\n"
    if printed.count(root) != 1:
        raise NotReady("the article's filter has no root context to repair",
                       cause="its text was changed", fix="please report this")
    steps.write_file(crate, "src/lib.rs", printed.replace(root, root + _REPAIR))
    return steps.cargo_build(crate, sink=None).module


def _turns(plugin: Plugin, send: Send, rounds: int, *, traced: bool = False
           ) -> tuple[list[float], list[float], list[float]]:
    """Requests a second by round: ours, naive, ours with the trace."""
    with Sandbox(plugin, trace=False) as ours, Sandbox(plugin) as watched:
        with engine.taking("public"):
            naive = Sandbox(plugin, trace=False)
        with naive:
            found: tuple[list[float], list[float], list[float]] = ([], [], [])
            taking_part = [(ours, found[0]), (naive, found[1])]
            if traced:
                taking_part.append((watched, found[2]))
            for sandbox, _ in taking_part:
                _rate(sandbox, send, _SLICE / 4)  # caches are warm
            for number in range(rounds):
                for sandbox, samples in taking_part[:: 1 if number % 2 else -1]:
                    samples.append(_rate(sandbox, send, _SLICE))
    return found


def _rate(sandbox: Sandbox, send: Send, seconds: float) -> float:
    gc.collect()
    count, begun = 0, time.perf_counter()
    until = begun + seconds
    while True:
        for _ in range(20):
            send(sandbox)
        count += 20
        now = time.perf_counter()
        if now > until:
            return count / (now - begun)


def _loading(module: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds until a sandbox is ready: with the compiled module on disk, and without."""
    with Sandbox(module, trace=False):
        pass  # it is on disk now
    cached: list[float] = []
    fresh: list[float] = []
    for _ in range(rounds):
        for keep, samples in ((True, cached), (False, fresh)):
            compiled.forget()
            begun = time.perf_counter()
            sandbox = Sandbox(module, trace=False, cache=keep)
            samples.append((time.perf_counter() - begun) * 1000)
            sandbox.close()
    return cached, fresh


def _late(rounds: int) -> list[float]:
    """Milliseconds after the deadline at which a loop without end was stopped."""
    module = bytes(wasmtime.wat2wasm(_LOOP))
    samples = []
    for _ in range(rounds):
        begun = time.perf_counter()
        try:
            Sandbox(module, deadline=_DEADLINE, cache=False)
        except (StartFailed, DeadlineExceeded):
            samples.append((time.perf_counter() - begun - _DEADLINE) * 1000)
        else:
            raise NotReady("a loop without end came to its end", cause="the sandbox's clock "
                           "does not run", fix="please report this")
    return samples


def _growth(plugin: Plugin, requests: int) -> float:
    """MB that the process has grown by over `requests`, after a tenth to warm up."""
    process = psutil.Process()
    with Sandbox(plugin, trace=False) as sandbox:
        for _ in range(max(requests // 10, 1)):
            _headers_only(sandbox)
        gc.collect()
        before = process.memory_info().rss
        for _ in range(requests):
            _headers_only(sandbox)
        gc.collect()
        return (process.memory_info().rss - before) / 1e6


def summary(*, ours: list[float], naive: list[float], traced: list[float],
            logger: list[float], logger_naive: list[float], body: list[float],
            body_naive: list[float], chatty: list[float], chatty_naive: list[float],
            load: list[float], compiled_ms: list[float], late: list[float], growth_mb: float,
            requests: int, way: str) -> Measured:
    """Figures from samples by round."""
    fast, slow, watched = Spread.of(ours), Spread.of(naive), Spread.of(traced)
    times = Spread.of([a / b for a, b in zip(ours, naive, strict=True)])
    price = Spread.of([a / b for a, b in zip(ours, traced, strict=True)])
    public = Spread.of(body_naive)
    return Measured(
        name="sandbox",
        title="The sandbox on one core",
        figures=(
            Figure(name="the article's filter, repaired", unit="requests/s", ours=fast,
                   naive=slow, naive_way=_NAIVE_WAY, goal=GOAL_REQUESTS, more_is_better=True),
            Figure(name="  times the naive way, by round", unit="×", ours=times, goal=GOAL_TIMES,
                   more_is_better=True),
            Figure(name="  slower with the trace, by round", unit="×", ours=price,
                   goal=GOAL_TRACE),
            Figure(name="header-logger at info, which copies all headers", unit="requests/s",
                   ours=Spread.of(logger), naive=Spread.of(logger_naive), naive_way=_NAIVE_WAY,
                   more_is_better=True),
            Figure(name="body-rewrite, both bodies in two chunks", unit="requests/s",
                   ours=Spread.of(body), naive=public, naive_way=_NAIVE_WAY,
                   more_is_better=True),
            Figure(name="lifecycle, a line for each callback and header", unit="requests/s",
                   ours=Spread.of(chatty), naive=Spread.of(chatty_naive), naive_way=_NAIVE_WAY,
                   more_is_better=True),
            Figure(name="ready to serve, compiled before", unit="ms", ours=Spread.of(load),
                   naive=Spread.of(compiled_ms), naive_way="compile it each time",
                   goal=GOAL_LOAD_MS),
            Figure(name="a loop without end is stopped after its deadline", unit="ms late",
                   ours=Spread.of(late), goal=GOAL_LATE_MS),
            Figure(name=f"memory grown over {requests:,} requests", unit="MB",
                   ours=Spread.of([growth_mb]), goal=GOAL_GROWTH_MB),
        ),
        bars=Bars.of("Requests a second, the article's filter repaired",
                     {"ours": fast.median, "ours, with the trace": watched.median,
                      "naive": slow.median}, unit="requests/s", baseline="naive"),
        notes=(
            f"the way taken is \"{way}\"; the article's filter makes 6 guest calls, 2 host calls "
            "and one allocation a request; its line is kept and checked",
            f"naive is the same host on {_NAIVE_WAY}: ratio of neighbours "
            f"{ratio(fast, slow):.1f}",
            f"the deadline of the loop is {_DEADLINE} s; the clock ticks each "
            f"{compiled.TICK * 1000:.0f} ms",
        ),
    )
