"""The command line and clusters: who is asked, what is looked at, what is ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from helpers import cluster, mesh, paths
from helpers.cli import test as testing
from helpers.cli.agree import agree
from helpers.cli.clean import clean_cluster
from helpers.cli.cluster import default_provider
from helpers.cli.run import Shown, own_places, witness_of
from helpers.cli.where import Where
from helpers.cli.witness import Witness
from helpers.cluster.kind import Kind
from helpers.errors import BadInput, Busy, Cancelled, NotFound, WorkbookError
from helpers.mesh import open_mesh
from helpers.mesh.base import LogText, PodInfo, PodList
from helpers.setup import main as setup
from helpers.setup import places
from helpers.show import Result, TableResult

TAG = "req/3fa9c1d2-000017"
STAMP = "2026-11-24T09:00:00.000000Z"
PLUGIN = (f"{STAMP}\tinfo\tenvoy wasm source/extensions/common/wasm/context.cc:1151\t"
          "wasm log default.header-logger~istio-translated-wasmplugin: "
          f"User-Agent: MyTestClient {TAG}\tthread=22")


def access(agent: str, direction: str) -> str:
    return (f'[2026-11-24T09:00:00.000Z] "GET /productpage HTTP/1.1" 200 - via_upstream - "-" '
            f'0 822 28 26 "-" "{agent}" "id" "productpage:9080" "10.0.0.1:9080" '
            f"{direction}|9080|| 127.0.0.6:1 10.0.0.1:9080 10.0.0.2:1 - default")


class Cluster:
    """A cluster of one pod that does what a test tells it to."""

    def __init__(self, *lines: str, refuse: WorkbookError | None = None) -> None:
        self.lines, self.refuse = lines, refuse
        self.called: list[str] = []

    def agree(self) -> None:
        self.called.append("agree")
        if self.refuse:
            raise self.refuse

    def describe(self) -> Result:
        return Result(text="context shared, Kubernetes v1.34.2, Istio 1.31")

    def clean(self) -> Result:
        self.called.append("clean")
        return Result(text="deleted wasmplugin/header-logger; left Bookinfo alone")

    def close(self) -> None:
        self.called.append("close")

    def get(self, kind: str) -> TableResult:
        return TableResult(extra={"objects": [
            {"metadata": {"name": "productpage-v1-a"}, "spec": {"nodeName": "node-1"}}]})

    def pods(self, selector: str) -> PodList:
        return PodList(pods=(PodInfo("productpage-v1-a", "default", "2/2", "Running", 0, 0.0),))

    def logs(self, pod: str, *, since: float, grep: str = "") -> LogText:
        kept = tuple(line for line in self.lines if grep in line)
        return LogText(text="\n".join(kept), lines=kept)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("WORKBOOK_")]:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], Cluster]:
    """Makes `open_mesh` give a fake one."""
    def use(fake: Cluster) -> Cluster:
        monkeypatch.setattr("helpers.cli.agree.open_mesh", lambda kind: fake)
        return fake

    return use


def test_who_agrees_is_not_asked_again_by_a_kernel(opened: Callable[[Cluster], Cluster]) -> None:
    opened(Cluster())
    agree(Where("cluster", namespace="anna"))
    assert os.environ["WORKBOOK_YES"] == "1"
    assert os.environ["WORKBOOK_NAMESPACE"] == "anna"


def test_who_says_no_leaves_the_cluster_untouched(opened: Callable[[Cluster], Cluster]) -> None:
    fake = opened(Cluster(refuse=Cancelled("not agreed")))
    with pytest.raises(Cancelled), witness_of(Where("cluster"), Shown()):
        pass
    assert fake.called == ["agree", "close"]
    assert "WORKBOOK_YES" not in os.environ


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, SystemExit])
def test_a_run_cleans_the_cluster_however_it_ends(
    ending: type[BaseException] | None, opened: Callable[[Cluster], Cluster]
) -> None:
    fake = opened(Cluster())
    try:
        with witness_of(Where("cluster"), Shown()):
            if ending:
                raise ending
    except (KeyboardInterrupt, SystemExit):
        pass
    assert fake.called == ["agree", "clean", "close"]


def test_on_this_computer_there_is_no_witness() -> None:
    with witness_of(Where(), Shown()) as witness:
        assert witness is None


def test_clean_of_a_cluster_asks_and_leaves_this_computer_alone(
    opened: Callable[[Cluster], Cluster], capsys: pytest.CaptureFixture[str]
) -> None:
    fake = opened(Cluster())
    assert clean_cluster(Where("cluster")) == 0
    assert fake.called == ["agree", "clean", "close"]
    assert "left Bookinfo alone" in capsys.readouterr().out


def witness(*lines: str) -> Witness:
    return Witness(cast("Any", Cluster(*lines)), about="context shared, Istio 1.31")


def test_the_witness_counts_by_pod_and_joins_requests_with_plugin_lines() -> None:
    one = witness(access(f"MyTestClient {TAG}", "outbound"), access(f"MyTestClient {TAG}",
                  "inbound"), PLUGIN, access("kube-probe", "inbound"),
                  access("silent req/3fa9c1d2-000018", "inbound"))
    one.look("08_verify_logs", 0.0)
    (seen,) = one.seen
    assert (seen.pod, seen.node) == ("productpage-v1-a", "node-1")
    assert (seen.inbound, seen.outbound, seen.user_agent) == (3, 1, 1)
    assert (seen.tagged, seen.logged) == (2, 1)
    assert seen.last == (PLUGIN,)


def test_the_report_has_versions_counts_and_the_sidecars_own_lines() -> None:
    one = witness(PLUGIN)
    one.look("08_verify_logs", 0.0)
    one.end()
    for page in (one.text(), one.section()):
        assert "Istio 1.31" in page
        assert "productpage-v1-a" in page
        assert f"User-Agent: MyTestClient {TAG}" in page
        assert "left Bookinfo alone" in page


def test_a_look_that_fails_is_told_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = witness()
    monkeypatch.setattr(one.mesh, "pods", raising(NotFound("the namespace is gone")))
    one.look("09_clean_up", 0.0)
    assert "09_clean_up: the namespace is gone" in one.text()


def test_a_cleaning_that_fails_is_told_with_the_command_that_does_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = witness()
    monkeypatch.setattr(one.mesh, "clean", raising(WorkbookError("refused")))
    one.end()
    assert not one.clean
    assert "refused" in one.text()
    assert "./workbook clean --mesh cluster" in one.text()
    assert cast("Any", one.mesh).called == ["close"]


def raising(error: WorkbookError) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def test_a_run_on_a_cluster_has_places_of_its_own() -> None:
    assert own_places("cluster").state != own_places().state
    assert own_places("cluster").report != own_places().report


def test_a_notebook_that_names_no_mesh_gets_the_one_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBOOK_MESH", "moon")
    with pytest.raises(BadInput, match="moon"):
        open_mesh()
    assert mesh.open_mesh("local").kind == "local"


def test_an_option_of_a_cluster_is_no_option_of_this_computer() -> None:
    with pytest.raises(BadInput, match="namespace"):
        open_mesh("local", namespace="anna")


def clusters(monkeypatch: pytest.MonkeyPatch, home: Path, *, up: bool) -> list[str]:
    """What is done to a cluster that is up or not, in a home of its own."""
    did: list[str] = []
    monkeypatch.setattr(paths, "HOME", home)
    if up:
        (home / "cluster").mkdir()
        (home / "cluster" / "kubeconfig").touch()
    monkeypatch.setattr(cluster, "up", lambda **_: did.append("up"), raising=False)
    monkeypatch.setattr(cluster, "down", lambda **_: did.append("down"), raising=False)
    monkeypatch.setattr(testing, "_pytest", lambda arguments: did.append("pytest") or 1)
    return did


def test_the_clusters_tests_end_what_they_brought_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    did = clusters(monkeypatch, tmp_path, up=False)
    assert testing.test(["cluster"], [], keep_cluster=False) == 1
    assert did == ["up", "pytest", "down"]


def test_a_cluster_that_does_not_come_up_is_ended_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    did = clusters(monkeypatch, tmp_path, up=False)
    monkeypatch.setattr(cluster, "up", raising(WorkbookError("no disk")), raising=False)
    with pytest.raises(WorkbookError, match="no disk"):
        testing.test(["cluster"], [], keep_cluster=False)
    assert did == ["down"]


def test_somebodys_cluster_is_neither_used_nor_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    did = clusters(monkeypatch, tmp_path, up=True)
    with pytest.raises(Busy, match="up already"):
        testing.test(["cluster"], [], keep_cluster=False)
    assert did == []


def test_it_is_used_and_left_up_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    did = clusters(monkeypatch, tmp_path, up=True)
    testing.test(["cluster"], [], keep_cluster=True)
    assert did == ["up", "pytest"]


@pytest.mark.skipif(os.name == "nt", reason="asks for the user's id, which Windows has not")
@pytest.mark.parametrize(
    ("system", "user", "engine", "chosen"),
    [("linux", 0, False, "bare"), ("linux", 0, True, "kind"), ("linux", 1000, False, "kind"),
     ("darwin", 0, False, "kind")],
)
def test_bare_is_for_root_on_linux_where_no_engine_answers(
    system: str, user: int, engine: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(cluster, "made_by", lambda: None)
    monkeypatch.setattr(Kind, "engine", (lambda self: "docker") if engine else
                        raising(NotFound("no engine")))
    assert default_provider() == chosen


def test_the_provider_of_a_cluster_that_is_there_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "made_by", lambda: "kind")
    assert default_provider() == "kind"


def test_clean_all_does_not_walk_into_a_clusters_mounts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(places, "HOME", tmp_path)
    monkeypatch.setattr(places, "ROOT", tmp_path)
    monkeypatch.setattr(places, "CLUSTER", tmp_path / "cluster")
    (tmp_path / "cluster").mkdir()
    assert setup.main(["clean", "--all"]) == 1
    assert "./workbook cluster down" in capsys.readouterr().err
    assert (tmp_path / "cluster").is_dir()


def test_a_clean_without_all_leaves_the_cluster_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(places, "HOME", tmp_path)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "lab").mkdir()
    assert [folder.name for folder in places.states()] == ["lab"]


def test_paths_and_places_mean_the_same_folder() -> None:
    assert places.CLUSTER == paths.HOME / "cluster"
