"""A bench says what it measured, how it spread, and whether a goal was met; it never guesses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from helpers import bench, paths, processes
from helpers.bench import filter as filter_bench
from helpers.bench import filter_envoy, inner_loop, load, place, report, workbook
from helpers.bench.figures import Bars, Figure, Measured, Spread, ratio
from helpers.bench.inner_loop import Parts
from helpers.bench.load import Load
from helpers.cli import main as cli
from helpers.errors import BadInput, Busy, CommandFailed, MeshDown, NotFound
from helpers.plots import PlotResult

# -- figures ---------------------------------------------------------------------------------


def test_a_spread_shows_the_median_and_how_far_the_samples_lie_apart() -> None:
    assert str(Spread.of([3, 1, 200])) == "3 (1 to 200)"
    assert str(Spread.of([1234.5])) == "1,234"


def test_no_samples_are_no_figure() -> None:
    with pytest.raises(BadInput):
        Spread.of([])


def test_a_ratio_compares_within_a_round_so_that_a_busy_round_does_not_count() -> None:
    # The second round was ten times slower for both: medians of each alone would say 1.0.
    assert ratio(Spread.of([2, 20, 2]), Spread.of([1, 10, 1])) == 2
    assert ratio(Spread.of([4]), Spread.of([1, 2, 3])) == 2


def test_a_goal_is_an_upper_bound_unless_more_is_better() -> None:
    def met(ours: float, goal: float, more: bool = False) -> bool | None:
        return Figure(name="x", unit="s", ours=Spread.of([ours]), goal=goal,
                      more_is_better=more).met

    assert met(1.9, 2) is True
    assert met(2.0, 2) is False
    assert met(0.95, 0.9, more=True) is True
    assert met(0.85, 0.9, more=True) is False
    assert Figure(name="x", unit="s", ours=Spread.of([1])).met is None


def test_the_naive_way_stands_beside_a_figure_with_the_ratio() -> None:
    slower = Figure(name="x", unit="s", ours=Spread.of([1]), naive=Spread.of([3]),
                    naive_way="by hand")
    assert slower.times == 3
    assert "3 s: by hand" in slower.row()[2]
    assert slower.row()[3] == "3×"
    more = Figure(name="x", unit="/s", ours=Spread.of([10]), naive=Spread.of([5]),
                  more_is_better=True)
    assert more.times == 2


def test_a_missed_goal_stands_out() -> None:
    missed = Figure(name="x", unit="s", ours=Spread.of([3]), goal=2)
    assert missed.row()[-2:] == ("< 2 s", "MISSED")


# -- the command -----------------------------------------------------------------------------


def test_all_benches_run_unless_some_are_named() -> None:
    assert bench.chosen([]) == list(bench.NAMES)
    assert bench.chosen(["filter", "ready", "filter"]) == ["ready", "filter"]


def test_an_unknown_bench_is_named_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli(["bench", "speed"]) == 1
    said = capsys.readouterr().err
    assert "'speed'" in said
    assert "inner-loop" in said


def _measured(goal: float = 2) -> Measured:
    return Measured(
        name="ready", title="T",
        figures=(Figure(name="x", unit="s", ours=Spread.of([1, 3, 5]), naive=Spread.of([2, 4, 9]),
                        naive_way="by hand", goal=goal),),
        bars=Bars.of("t", {"ours": 3, "naive": 4}, unit="s", baseline="ours"),
        columns=("a", "b"), rows=(("1", "2"),), notes=("a note",),
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Measured | None]:
    """Benches that give what the dict says; None fails."""
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path))
    monkeypatch.setattr(report, "computer", lambda: {"computer": "2 CPUs"})
    results: dict[str, Measured | None] = {}

    def bench_of(name: str) -> Callable[[Callable[[str], None]], Measured]:
        def run(say: Callable[[str], None]) -> Measured:
            found = results[name]
            if found is None:
                raise NotFound("no such thing", fix="find it")
            return found
        return run

    monkeypatch.setattr(bench, "_bench", bench_of)
    return results


def test_a_bench_prints_the_computer_its_table_and_where_the_report_is(
    quick: dict[str, Measured | None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    quick["ready"] = _measured()
    assert bench.main(["ready"]) == 0
    said = capsys.readouterr().out
    assert said.index("2 CPUs") < said.index("by hand") < said.index("# a note")
    document = json.loads((tmp_path / "report/bench/ready.json").read_text("utf-8"))
    assert document["computer"] == {"computer": "2 CPUs"}
    assert document["figures"][0]["ours"]["samples"] == [1, 3, 5]
    assert document["detail"] == [{"a": "1", "b": "2"}]
    assert (tmp_path / "report/bench/ready.png").read_bytes().startswith(b"\x89PNG")


def test_a_missed_goal_is_a_finding_and_no_failure(quick: dict[str, Measured | None]) -> None:
    quick["ready"] = _measured(goal=1)
    assert bench.main(["ready"]) == 0


def test_a_bench_that_cannot_be_measured_does_not_keep_the_others_from_it(
    quick: dict[str, Measured | None], capsys: pytest.CaptureFixture[str]
) -> None:
    quick |= {"ready": None, "logs": _measured()}
    assert bench.main(["ready", "logs"]) == 1
    both = capsys.readouterr()
    assert "find it" in both.err
    assert "# a note" in both.out


# -- load ------------------------------------------------------------------------------------


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200
    agents: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self.agents.add(str(self.headers["user-agent"]))
        self.send_response(self.status)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[tuple[int, type[_Server]]]:
    class Server(_Server):
        agents: ClassVar[set[str]] = set()

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A generator hangs up at the end of its time, with answers under way."""

    server = Quiet(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1], Server
    server.shutdown()
    thread.join()
    server.server_close()


def test_our_own_generator_counts_answers_and_sends_the_article_s_request(
    served: tuple[int, type[_Server]],
) -> None:
    port, server = served
    count, seconds = load.drive(port, 0.2, connections=3)
    assert count > 0
    assert seconds >= 0.2
    assert server.agents == {"MyTestClient"}


def test_an_answer_that_is_not_200_ends_the_measurement(
    served: tuple[int, type[_Server]],
) -> None:
    port, server = served
    server.status = 503
    with pytest.raises(CommandFailed, match="503"):
        load.drive(port, 0.2, connections=1)


def test_load_on_a_closed_port_says_so() -> None:
    with pytest.raises(MeshDown, match="nothing listens"):
        load.drive(1, 0.1)


def test_what_wrk_prints_is_read() -> None:
    said = "Running 2s test\n  30210 requests in 2.10s, 4.1MB read\nRequests/sec:  14385.7\n"
    assert load.read_wrk(said) == (30210, 2.10)
    count, seconds = load.read_wrk("900 requests in 950.00ms, 1MB read")
    assert (count, round(seconds, 9)) == (900, 0.95)


@pytest.mark.parametrize("said", [
    "100 requests in 1.00s, 1MB read\n  Non-2xx or 3xx responses: 7\n",
    "100 requests in 1.00s, 1MB read\n  Socket errors: connect 0, read 3, write 0, timeout 0\n",
    "unable to connect to 127.0.0.1:1 Connection refused\n",
])
def test_failures_that_wrk_met_are_not_counted_as_requests(said: str) -> None:
    with pytest.raises(CommandFailed):
        load.read_wrk(said)


def test_cpu_time_of_a_process_only_grows() -> None:
    me = psutil.Process()
    before = load.cpu_seconds(me)
    # The kernel counts in steps of its own: work until the count moves (pytest's limit holds).
    while load.cpu_seconds(me) == before:
        sum(range(200_000))
    assert load.cpu_seconds(me) > before >= 0


# -- each bench ------------------------------------------------------------------------------


def test_each_filter_has_a_listener_and_a_vm_of_its_own(tmp_path: Path) -> None:
    wasm = tmp_path / "noop.wasm"
    made = filter_envoy.document({"no-filter": None, "noop": wasm, "again": wasm})
    listeners = made["static_resources"]["listeners"]
    chains = [one["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
              for one in listeners]
    assert [len(chain) for chain in chains] == [1, 2, 2]
    configs = [chain[0]["typed_config"]["config"] for chain in chains[1:]]
    assert configs[0]["vm_config"]["code"] == configs[1]["vm_config"]["code"]
    assert configs[0]["vm_config"] != configs[1]["vm_config"]


def _loads(costs: dict[str, float], *, busy: float = 1.0) -> dict[tuple[str, str], list[Load]]:
    """Rounds in which a request costs what `costs` says, in µs; the second at half the speed."""
    return {
        (level, name): [
            Load(1000, slow * cost * 1e-3 / busy, slow * cost * 1e-3) for slow in (1, 2, 1)
        ]
        for level in filter_bench.LEVELS for name, cost in costs.items()
    }


_COSTS = {"no-filter": 50.0, "noop": 70.0, "noop-again": 70.7, "header-logger": 73.5,
          "naive": 84.0}


def test_the_filter_is_held_against_a_plugin_that_does_nothing() -> None:
    found = filter_bench.summary(_loads(_COSTS), _loads(_COSTS), using="wrk")
    cpu, speed = found.figures[:2]
    assert cpu.ours.median == pytest.approx(1.05)
    assert cpu.naive is not None
    assert cpu.naive.median == pytest.approx(1.2)
    assert cpu.met
    assert speed.met
    assert len(found.rows) == 2 * len(filter_bench.VARIANTS)
    dear = _loads(_COSTS | {"header-logger": 80.0})
    slow = filter_bench.summary(dear, dear, using="wrk")
    assert [figure.met for figure in slow.figures[:2]] == [False, False]


def test_the_noise_and_an_idle_worker_are_admitted() -> None:
    calm = filter_bench.summary(_loads(_COSTS), _loads(_COSTS), using="own")
    assert any("noop against itself differs by 1 %" in note for note in calm.notes)
    assert any("our own generator" in note for note in calm.notes)
    assert not any("held it back" in note for note in calm.notes)
    idle = filter_bench.summary(_loads(_COSTS, busy=0.4), _loads(_COSTS, busy=0.4), using="wrk")
    assert any("busy 40% of the time" in note for note in idle.notes)


def test_the_inner_loop_s_parts_make_up_its_total() -> None:
    ours, naive = Parts(0.5, 0.1, 0.2, 0.1), Parts(1.2, 0.1, 1.5, 0.2)
    found = inner_loop.summary([ours] * 5, [naive] * 5)
    whole, *parts = found.figures
    assert whole.ours.median == pytest.approx(0.9)
    assert sum(part.ours.median for part in parts) == pytest.approx(0.9)
    assert whole.times == pytest.approx(3.0 / 0.9)
    assert whole.met


def test_the_inner_loop_edits_text_that_header_logger_really_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path))
    crate, source = inner_loop.make_crate()
    assert '"User-Agent: "' in source
    assert crate.path.parent == tmp_path
    assert (crate.path / "Cargo.lock").is_file()


def test_the_whole_workbook_is_not_measured_where_a_notebook_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path))
    with pytest.raises(CommandFailed) as failed:
        workbook.run(["--notebook", "98"])
    assert "--notebook 98" in failed.value.what
    assert "there" in failed.value.detail


def test_a_bench_without_notebooks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(numbers: None) -> list[Path]:
        raise BadInput("there are no notebooks", fix="get the whole repository again")

    monkeypatch.setattr(workbook, "chosen", none)
    with pytest.raises(BadInput, match="no notebooks"):
        workbook.bench()


def test_every_bench_s_plot_can_be_drawn() -> None:
    found = [
        filter_bench.summary(_loads(_COSTS), _loads(_COSTS), using="wrk"),
        inner_loop.summary([Parts(1, 1, 1, 1)], [Parts(2, 2, 2, 2)]),
        workbook.summary(100.0, 900.0, {"00": 20.0, "01": 40.0}),
    ]
    for one in found:
        assert isinstance(report.plotted(one), PlotResult)


# -- where ------------------------------------------------------------------------------------


def test_a_bench_leaves_neither_files_nor_processes_nor_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBOOK_STATE", "before")
    monkeypatch.delenv("WORKBOOK_WORKSPACE", raising=False)
    started: list[processes.Recorded] = []

    def cancelled_bench() -> None:
        with place.scratch(tmp_path / "bench") as state:
            assert paths.state() == state
            assert paths.workspace() == state / "workspace"
            started.append(processes.Registry(state).start(
                "sleeper", ["sleep", "60"], log=state / "sleeper.log"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled_bench()
    assert not started[0].alive()
    assert not (tmp_path / "bench").exists()
    assert str(paths.state()) == "before"


def test_two_benches_at_once_would_spoil_each_other(tmp_path: Path) -> None:
    with (
        place.scratch(tmp_path / "bench"),
        pytest.raises(Busy),
        place.scratch(tmp_path / "bench"),
    ):
        pass
