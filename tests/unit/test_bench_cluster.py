"""The cluster's bench: each way is taken in turn, ends at its own line, and is held to one goal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers import bench, cargo, paths, steps
from helpers.bench import cluster, cluster_kubectl, cluster_memory, cluster_ways, report
from helpers.bench.cluster_kubectl import Kubectl
from helpers.bench.inner_loop import Parts, Stuck
from helpers.cli import main as cli
from helpers.crate import Crate
from helpers.errors import CommandFailed, MeshDown, NotReady
from helpers.plots import stacked_bars
from helpers.show import Result


class FakeMesh:
    """A sidecar that logs the text of the module that it has loaded, when it is asked.

    Attributes:
        done: the verbs that were called, in their order.
        slow: looks at the file until the kubelet has brought it; None: when it is woken.
    """

    kind = "cluster"
    namespace = "workbook-bench"

    def __init__(self, slow: int | None = None) -> None:
        self.done: list[str] = []
        self.slow = slow
        self.held: dict[str, bytes] = {}
        self.mounts = steps.CONFIGMAP
        self.file = self.loaded = b""
        self.log: list[str] = []
        self.pods_left = 1

    def create_configmap(self, name: str, from_file: Mapping[str, Path], **_: Any) -> Result:
        self.done.append(f"configmap {name}")
        self.held[name] = from_file[steps.KEY].read_bytes()
        return Result(command="", text="", mesh=self.kind)

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], **_: Any) -> Result:
        self.done.append(f"patch {kind}")
        if kind == "deployment":
            notes = patch["spec"]["template"]["metadata"]["annotations"]
            self.mounts = json.loads(
                notes["sidecar.istio.io/userVolume"])[0]["configMap"]["name"]
            self._new_pod()
        else:
            self.loaded = self.file
        return Result(command="", text="", mesh=self.kind)

    def restart(self, name: str, **_: Any) -> Result:
        self.done.append("restart")
        self._new_pod()
        return Result(command="", text="", mesh=self.kind)

    def _new_pod(self) -> None:
        self.file = self.loaded = self.held[self.mounts]

    def sync_volumes(self, pod: str | None = None) -> Result:
        self.done.append("woken")
        self.file = self.held[self.mounts]
        return Result(command="", text="", mesh=self.kind)

    def file_sha256(self, path: str, *_: Any) -> SimpleNamespace:
        assert path == "/etc/wasm/header-logger/istio_wasm_demo.wasm"
        if self.slow is not None:
            self.slow -= 1
            if self.slow <= 0:
                self.file = self.held[self.mounts]
        return SimpleNamespace(sha256=hashlib.sha256(self.file).hexdigest())

    def get(self, kind: str, name: str | None = None, **_: Any) -> SimpleNamespace:
        if kind == "configmap":
            objects = [{"metadata": {"name": one, "labels": {"of": "bench"}}} for one in self.held]
        elif kind == "deployment":
            volume = json.dumps([{"name": "v", "configMap": {"name": self.mounts}}])
            objects = [{"spec": {"template": {"metadata": {
                "annotations": {"sidecar.istio.io/userVolume": volume}}}}}]
        else:
            objects = [{"metadata": {"name": name}}]
        return SimpleNamespace(extra={"objects": objects})

    def delete(self, kind: str, name: str, **_: Any) -> Result:
        del self.held[name]
        return Result(command="", text="deleted", mesh=self.kind)

    def pods(self, selector: str | None = None, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(pods=[SimpleNamespace(is_ready=True)] * self.pods_left, text="pods")

    def wait_ready(self, name: str, **_: Any) -> Result:
        return Result(command="", text="", mesh=self.kind)

    def set_log_level(self, level: str, *_: Any) -> Result:
        self.done.append(level)
        return Result(command="", text="", mesh=self.kind)

    def curl(self, *_: Any, **__: Any) -> SimpleNamespace:
        self.log.append(f"wasm log: {self.loaded.decode()}MyTestClient")
        return SimpleNamespace(status=200)

    def logs(self, *_: Any, grep: str | None = None, **__: Any) -> SimpleNamespace:
        lines = [line for line in self.log if grep is None or grep in line]
        return SimpleNamespace(lines=lines, text="\n".join(lines))


@pytest.fixture
def crate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Crate:
    """A crate whose module is the text between the quotes of its source."""
    made = Crate("inner-loop", tmp_path)
    (tmp_path / "src").mkdir()
    module = tmp_path / "built.wasm"

    def build(crate: Crate, **_: Any) -> SimpleNamespace:
        text = (crate.path / "src/filter.rs").read_text("utf-8")
        module.write_bytes(text.split('"')[1].encode())
        return SimpleNamespace(module=module)

    def inspect(path: Path) -> SimpleNamespace:
        return SimpleNamespace(sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    def create(mesh: FakeMesh, wasm: Path) -> Result:
        return mesh.create_configmap(steps.CONFIGMAP, {steps.KEY: wasm})

    monkeypatch.setattr(cargo, "build", build)
    monkeypatch.setattr("helpers.module.inspect", inspect)
    monkeypatch.setattr("helpers.steps_loop.create_configmap", create)
    monkeypatch.setattr(steps, "create_configmap", create)
    monkeypatch.setattr(cluster_ways.time, "sleep", lambda _: None)
    return made


SOURCE = 'log("User-Agent: ")'


def ready(mesh: FakeMesh) -> FakeMesh:
    mesh.held[steps.CONFIGMAP] = b"old"
    mesh._new_pod()
    return mesh


def test_every_way_reaches_its_own_line_in_turn_and_leaves_the_next_what_it_needs(
    crate: Crate,
) -> None:
    local, remote = ready(FakeMesh()), ready(FakeMesh(slow=3))
    ways = cluster.ways_of(local, remote, kubectl=None, kubelet=1)  # type: ignore[arg-type]
    said: list[str] = []
    turns = cluster.take_turns(ways, crate, SOURCE, 2, said.append)
    assert {name: len(found) for name, found in turns.items()} == {
        cluster.LOCAL: 2, cluster.IN_PLACE: 2, cluster.BY_HASH: 2, cluster.BY_HAND: 2,
        cluster.KUBELET: 1}
    # The second round goes the other way round.
    assert [line.split(": ")[1].rsplit(", ", 1)[0] for line in said] == [
        cluster.LOCAL, cluster.IN_PLACE, cluster.BY_HASH, cluster.BY_HAND, cluster.KUBELET,
        cluster.BY_HAND, cluster.BY_HASH, cluster.IN_PLACE, cluster.LOCAL]
    assert remote.mounts == steps.CONFIGMAP
    assert set(remote.held) == {steps.CONFIGMAP}


def test_the_kubelet_is_left_alone_where_that_is_measured(crate: Crate, tmp_path: Path) -> None:
    mesh = ready(FakeMesh(slow=5))
    wasm = tmp_path / "new.wasm"
    wasm.write_bytes(b"new")
    cluster_ways.by_kubelet(mesh, wasm)  # type: ignore[arg-type]
    assert mesh.done == ["configmap header-logger", "patch wasmplugin"]
    assert mesh.loaded == b"new"


def test_a_kubelet_that_does_not_come_ends_the_wait(
    crate: Crate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_ways, "KUBELET_SECONDS", 0.01)
    wasm = tmp_path / "new.wasm"
    wasm.write_bytes(b"new")
    with pytest.raises(NotReady, match="kubelet"):
        cluster_ways.by_kubelet(ready(FakeMesh(slow=10**9)), wasm)  # type: ignore[arg-type]


def test_the_article_s_way_sets_the_level_in_the_new_pod(crate: Crate, tmp_path: Path) -> None:
    mesh = ready(FakeMesh())
    wasm = tmp_path / "new.wasm"
    wasm.write_bytes(b"new")
    cluster_ways.by_hand(mesh, wasm)  # type: ignore[arg-type]
    assert mesh.done == ["configmap header-logger", "restart", "wasm:info"]


def test_a_new_text_that_does_not_come_is_said_with_the_log(
    crate: Crate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_ways, "_LINE_SECONDS", 0.01)
    with pytest.raises(Stuck, match="way 9"):
        cluster_ways.first_line(ready(FakeMesh()), "way 9")  # type: ignore[arg-type]


def test_a_turn_waits_until_an_old_pod_is_gone() -> None:
    mesh = FakeMesh()
    cluster_ways.settled(mesh, timeout=0)  # type: ignore[arg-type]
    mesh.pods_left = 2
    with pytest.raises(NotReady, match="one ready pod"):
        cluster_ways.settled(mesh, timeout=0)  # type: ignore[arg-type]


# -- kubectl -----------------------------------------------------------------------------------


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, crate: Crate, tmp_path: Path) -> tuple[Path, Path]:
    """A kubectl that writes down what it was asked; its log has one line with "new"."""
    program, typed = tmp_path / "bin/kubectl", tmp_path / "typed"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/sh
echo "$*" >> {typed}
case "$*" in
  *" get pods "*) echo pod/old; echo pod/new ;;
  *" logs "*) echo "wasm log: new text" ;;
  *" replace "*) exec cat >/dev/null ;;
esac
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program, typed


def test_with_kubectl_the_commands_are_those_that_a_person_types(
    typed: tuple[Path, Path], tmp_path: Path
) -> None:
    wasm = tmp_path / "with space.wasm"
    wasm.write_bytes(b"new")
    kubectl = Kubectl("/of/it", "there", "workbook-bench")
    mesh = ready(FakeMesh())
    kubectl.deliver(mesh, wasm)  # type: ignore[arg-type]
    kubectl.first_line(mesh, "new text")  # type: ignore[arg-type]
    lines = typed[1].read_text("utf-8").splitlines()
    where = "--kubeconfig=/of/it --context=there --namespace=workbook-bench"
    assert all(line.startswith(where) for line in lines)
    said = [line.removeprefix(where).strip() for line in lines]
    # The three of a pipe start at once, in any order.
    assert sorted(said[:3]) == [
        f"create configmap header-logger --from-file={steps.KEY}={wasm} --dry-run=client -o yaml",
        "label --local -f - of=bench -o yaml",
        "replace -f -",
    ]
    assert said[3] == "rollout restart deployment/productpage-v1"
    assert said[4].startswith("rollout status deployment/productpage-v1")
    execs = [line for line in said if line.startswith("exec")]
    assert execs[0] == ("exec pod/new -c istio-proxy -- pilot-agent request POST "
                        "logging?wasm=info")
    assert "User-Agent: MyTestClient" in execs[1]
    assert said[-1] == "logs pod/new -c istio-proxy"


def test_a_no_of_kubectl_is_no_figure(typed: tuple[Path, Path], tmp_path: Path) -> None:
    typed[0].write_text("#!/bin/sh\necho forbidden >&2; exit 1\n")
    wasm = tmp_path / "new.wasm"
    wasm.write_bytes(b"new")
    with pytest.raises(CommandFailed):
        Kubectl("", "", "x").deliver(ready(FakeMesh()), wasm)  # type: ignore[arg-type]


def test_a_request_to_a_pod_that_is_gone_is_sent_again(
    typed: tuple[Path, Path], tmp_path: Path
) -> None:
    tries = tmp_path / "tries"
    typed[0].write_text(typed[0].read_text("utf-8").replace("case", f"""
case "$*" in *" curl "*) echo >> {tries}; [ "$(wc -l < {tries})" = 1 ] && exit 28 ;; esac
case "$*" in *" logs "*) [ "$(wc -l < {tries})" = 1 ] && exit 0 ;; esac
case""", 1))
    Kubectl("", "", "x").first_line(ready(FakeMesh()), "new text")  # type: ignore[arg-type]
    assert len(tries.read_text("utf-8").splitlines()) == 2


def test_kubectl_s_way_is_there_only_where_kubectl_is(
    typed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mesh() -> Any:
        return SimpleNamespace(settings=SimpleNamespace(kubeconfig=None), namespace="n",
                               connection=SimpleNamespace(context="c"))

    assert cluster.kubectl_of(mesh()) == Kubectl("", "c", "n")
    monkeypatch.setenv("PATH", "/nowhere")
    assert cluster.kubectl_of(mesh()) is None
    assert not cluster_kubectl.Kubectl.installed()


# -- figures -----------------------------------------------------------------------------------


def turns(**other: list[Parts]) -> dict[str, list[Parts]]:
    fast, slow = [Parts(0.5, 0.5, 0.5, 1.5)], [Parts(0.5, 0.0, 5.0, 0.5)]
    given = {cluster.LOCAL: [Parts(0.5, 0.1, 0.1, 0.1)], cluster.IN_PLACE: fast,
             cluster.BY_HASH: slow, cluster.BY_HAND: [Parts(1.0, 0.0, 7.0, 1.0)],
             cluster.KUBELET: [Parts(0.5, 44.0, 0.5, 1.0)]}
    return given | other


def test_the_cluster_s_ways_are_held_to_the_goal_and_beside_the_article_s() -> None:
    found = {figure.name: figure for figure in cluster.summary(turns(), memory={}).figures}
    assert found[cluster.IN_PLACE].met is True
    assert found[cluster.IN_PLACE].times == 3
    assert found[cluster.BY_HAND].goal is None
    late = turns(**{cluster.IN_PLACE: [Parts(1, 9, 1, 1)]})
    found = {figure.name: figure for figure in cluster.summary(late, memory={}).figures}
    assert found[cluster.IN_PLACE].met is False


def test_the_faster_way_is_named() -> None:
    assert cluster.faster(turns()) == cluster.IN_PLACE
    late = turns(**{cluster.IN_PLACE: [Parts(1, 9, 1, 1)]})
    assert any(note.startswith(f"{cluster.BY_HASH} is the faster")
               for note in cluster.summary(late, memory={}).notes)


def test_a_bar_s_parts_are_those_of_one_turn_so_that_they_add_up() -> None:
    three = [Parts(1, 1, 1, 1), Parts(2, 0, 0, 0), Parts(1, 1, 1, 4)]
    found = cluster.summary(turns(**{cluster.IN_PLACE: three}), memory={})
    plot = report.plotted(found)
    row = plot.table[plot.table["name"] == cluster.IN_PLACE].iloc[0]
    assert row["all"] == 4
    assert (row["least"], row["most"]) == (2, 7)
    assert plot.png().startswith(b"\x89PNG")


def test_a_bar_that_leaves_no_room_for_the_others_is_cut_and_says_so() -> None:
    plot = report.plotted(cluster.summary(turns(), memory={}))
    axes = plot.figure.axes[0]
    assert axes.get_xlim()[1] < 40
    assert [text.get_text() for text in axes.texts if "cut" in text.get_text()] == ["cut: 46 s"]
    assert "cluster, kubelet not woken: 46 s" in plot.alt
    assert "the goal, 10 s" in plot.alt
    assert "(s)" in axes.get_xlabel()
    # Never by colour alone.
    assert len({bar.get_hatch() for bar in axes.patches}) == len(cluster.PARTS)


def test_bars_of_like_length_are_not_cut() -> None:
    plot = report.plotted(cluster.summary(
        {name: found for name, found in turns().items() if name != cluster.KUBELET}, memory={}))
    assert not any("cut" in text.get_text() for text in plot.figure.axes[0].texts)


def test_the_report_names_the_cluster_and_its_versions() -> None:
    said = "context     one\nserver      https://x\nKubernetes  v1.34.2\nIstio       1.31\nmay  all"
    about = cluster.about_of(said)
    assert about == "context one, Kubernetes v1.34.2, Istio 1.31"
    assert cluster.summary(turns(), memory={}, notes=(about,)).notes[0] == about


def test_no_rows_are_no_bars() -> None:
    frame = report.plotted(cluster.summary(turns(), memory={})).table.head(0)
    assert stacked_bars(frame, ["build"]).alt.endswith("no data.")


def test_memory_is_summed_by_program_and_small_ones_together() -> None:
    found = cluster_memory.grouped(
        [("envoy", 60.0), ("sh", 2.0), ("kubelet", 90.0), ("envoy", 70.0), ("pause", 1.0)])
    assert list(found.items()) == [
        ("envoy", (2, 130.0)), ("kubelet", (1, 90.0)), ("others", (2, 3.0))]
    figures = {one.name: one for one in cluster.summary(turns(), memory=found).figures}
    assert figures["memory of envoy (2)"].ours.median == 130
    assert figures["memory of all of them"].ours.median == 223


# -- without a cluster -------------------------------------------------------------------------


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WORKBOOK_KUBECONFIG", raising=False)
    monkeypatch.setattr(paths, "HOME", tmp_path / "home")
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setattr(report, "computer", lambda: {"computer": "2 CPUs"})


def test_without_a_cluster_its_bench_says_so_when_it_is_named(
    no_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(["bench", "cluster"]) == 1
    said = capsys.readouterr().err
    assert "there is no cluster to measure" in said
    assert "./workbook cluster up" in said
    with pytest.raises(MeshDown):
        cluster.bench()


def test_without_a_cluster_the_plain_bench_names_it_as_left_out(
    no_cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def nothing(name: str) -> Any:
        done.append(name)
        raise MeshDown("not here")

    monkeypatch.setattr(bench, "_bench", nothing)
    assert bench.main([]) == 1
    assert done == [name for name in bench.NAMES if name != "cluster"]
    assert "cluster: left out, no cluster is up" in capsys.readouterr().out


def test_a_kubeconfig_that_is_none_is_no_cluster(
    no_cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBOOK_KUBECONFIG", str(tmp_path / "nowhere"))
    assert "nowhere" in cluster.missing()


def test_a_person_s_own_cluster_is_not_measured_unless_it_is_named(
    no_cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert "WORKBOOK_KUBECONFIG names none" in cluster.missing()
