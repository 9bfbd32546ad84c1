"""The kind provider without a container engine: which commands, in which order, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from helpers import manifests, paths
from helpers.cluster import kind_commands as kind
from helpers.cluster.kind import Kind
from helpers.errors import BadInput, CommandFailed, ToolchainMissing
from helpers.shell import Finished

VERSIONS = {"kind version": f"kind {kind.KIND} go1.25.1 linux/amd64",
            "istioctl version": f"client version: {kind.ISTIO}"}


@dataclass
class Commands:
    """Records each command; answers by its first words, else with success and silence."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    env: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], timeout: float, env: dict[str, str]) -> Finished:
        words = " ".join(argv)
        self.ran.append(words)
        self.env.append(env)
        known = {**{name: (0, text) for name, text in VERSIONS.items()}, **self.answers}
        status, text = next(
            (known[start] for start in sorted(known, key=len, reverse=True)
             if words.startswith(start)), (0, ""))
        return Finished(tuple(argv), status, text, 0.1)

    def of(self, start: str) -> list[str]:
        return [words for words in self.ran if words.startswith(start)]


def made(
    tmp_path: Path, commands: Commands, *, there: Sequence[str] = ("docker", "kind", "istioctl"),
    say: list[str] | None = None,
) -> Kind:
    said: list[str] = [] if say is None else say
    return Kind(home=tmp_path / "cluster", run=commands, say=said.append,
                which=lambda name: f"/usr/bin/{name}" if name in there else None)


def test_up_creates_the_cluster_and_then_installs_istio(tmp_path: Path) -> None:
    commands = Commands()
    one = made(tmp_path, commands)
    one.up()
    kubeconfig = tmp_path / "cluster" / "kubeconfig"
    assert commands.ran == [
        "docker info",
        "kind version",
        "istioctl version --remote=false",
        "kind get clusters",
        f"kind create cluster --config {tmp_path}/cluster/kind.yaml --kubeconfig {kubeconfig} "
        "--wait 180s",
        f"istioctl install -y --kubeconfig {kubeconfig} --context kind-workbook "
        f"--set profile=minimal --set tag={kind.ISTIO} "
        "--set meshConfig.accessLogFile=/dev/stdout",
    ]


def test_the_configuration_is_one_node_of_the_pinned_image() -> None:
    document = yaml.safe_load(kind.config())
    assert document == {
        "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "name": "workbook",
        "nodes": [{"role": "control-plane", "image": kind.NODE}],
    }


def test_the_pins_are_whole_versions_and_the_image_has_a_digest() -> None:
    tag, _, digest = kind.NODE.partition("@sha256:")
    assert tag.startswith("kindest/node:v1.")
    assert len(digest) == 64
    assert kind.KIND.startswith("v0.")
    assert kind.ISTIO.count(".") == 2


def test_bookinfos_tag_is_the_manifests() -> None:
    wanted = {kind.image(service).replace(kind.PREFIX, "docker.io/istio")
              for service in kind.SERVICES}
    used = {
        container["image"]
        for each in manifests.load(paths.manifests() / "bookinfo.yaml")
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert wanted == used


def test_a_cluster_that_is_there_is_used(tmp_path: Path) -> None:
    commands = Commands({"kind get clusters": (0, "other\nworkbook\n")})
    made(tmp_path, commands).up()
    assert not commands.of("kind create")
    assert commands.of("kind export kubeconfig --name workbook")
    assert commands.of("istioctl install")


def test_no_clusters_is_not_a_cluster_called_so(tmp_path: Path) -> None:
    commands = Commands({"kind get clusters": (0, "No kind clusters found.")})
    made(tmp_path, commands).up()
    assert commands.of("kind create cluster")


def test_our_bookinfo_is_built_and_loaded_after_istio(tmp_path: Path) -> None:
    commands = Commands()
    done = made(tmp_path, commands).up(images="ours")
    built, loaded = commands.of("docker build"), commands.of("kind load docker-image")
    assert len(built) == len(loaded) == 4
    assert built[0].endswith(f"--build-arg SERVICE=productpage --tag {kind.image('productpage')} "
                             f"{paths.ROOT}")
    assert f"--file {kind.CONTAINERFILE}" in built[0]
    assert loaded[0] == f"kind load docker-image {kind.image('productpage')} --name workbook"
    assert "--images" not in done.notes[0], "ours is what settings take with our own kubeconfig"


def test_public_images_are_said_for_our_own_kubeconfig(tmp_path: Path) -> None:
    assert "--images docker.io/istio" in made(tmp_path, Commands()).up().notes[0]


def test_the_containerfile_that_is_named_is_there() -> None:
    text = kind.CONTAINERFILE.read_text(encoding="utf-8")
    assert "ARG SERVICE" in text
    assert "FROM " in text


def test_podman_is_told_to_kind_and_hands_images_over_as_archives(tmp_path: Path) -> None:
    commands = Commands()
    made(tmp_path, commands, there=("podman", "kind", "istioctl")).up(images="ours")
    assert {"KIND_EXPERIMENTAL_PROVIDER": "podman"} in commands.env
    assert not commands.of("kind load docker-image")
    assert len(commands.of("podman save")) == len(commands.of("kind load image-archive")) == 4


def test_without_an_engine_the_way_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing, match="no container engine") as failed:
        made(tmp_path, Commands(), there=("kind", "istioctl")).up()
    assert "--provider bare" in failed.value.fix


def test_an_engine_that_does_not_answer_is_not_an_engine_that_is_missing(tmp_path: Path) -> None:
    commands = Commands({"docker info": (1, "Cannot connect to the Docker daemon")})
    with pytest.raises(CommandFailed, match="does not answer") as failed:
        made(tmp_path, commands).up()
    assert failed.value.cause == "Cannot connect to the Docker daemon"


def test_podman_serves_where_docker_is_silent(tmp_path: Path) -> None:
    commands = Commands({"docker info": (1, "no")})
    made(tmp_path, commands, there=("docker", "podman", "kind", "istioctl")).up()
    assert {"KIND_EXPERIMENTAL_PROVIDER": "podman"} in commands.env


@pytest.mark.parametrize(("missing", "how"), [("kind", kind.KIND), ("istioctl", kind.ISTIO)])
def test_a_missing_program_comes_with_its_pinned_version(
    tmp_path: Path, missing: str, how: str
) -> None:
    there = [name for name in ("docker", "kind", "istioctl") if name != missing]
    commands = Commands()
    with pytest.raises(ToolchainMissing, match=f"{missing} was not found") as failed:
        made(tmp_path, commands, there=there).up()
    assert how in failed.value.fix
    assert not commands.of("kind create"), "nothing may be made before all programs are there"


def test_an_istioctl_of_another_minor_is_refused(tmp_path: Path) -> None:
    commands = Commands({"istioctl version": (0, "client version: 1.20.1")})
    with pytest.raises(BadInput, match=r"istioctl is 1\.20\.1"):
        made(tmp_path, commands).up()
    assert not commands.of("kind create")


def test_another_kind_is_used_and_remarked_upon(tmp_path: Path) -> None:
    said: list[str] = []
    commands = Commands({"kind version": (0, "kind v0.20.0 go1.20 linux/amd64")})
    made(tmp_path, commands, say=said).up()
    assert any("0.20.0" in line and kind.KIND in line for line in said)


@pytest.mark.parametrize("step", ["kind create cluster", "istioctl install"])
def test_a_step_that_fails_says_what_is_left_and_how_to_remove_it(
    tmp_path: Path, step: str
) -> None:
    commands = Commands({step: (1, "first line\nERROR: no space left")})
    with pytest.raises(CommandFailed, match=step) as failed:
        made(tmp_path, commands).up()
    assert failed.value.cause == "ERROR: no space left"
    assert "./workbook cluster down" in failed.value.fix
    assert "first line" in failed.value.detail
    assert commands.ran[-1].startswith(step), "nothing runs after a step that failed"


def test_the_bare_clusters_kubeconfig_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "kubeconfig").write_text("current-context: workbook-bare\n")
    commands = Commands()
    with pytest.raises(BadInput, match="another cluster's"):
        made(tmp_path, commands).up()
    assert not commands.of("kind create")


def test_down_deletes_the_cluster_and_what_was_written(tmp_path: Path) -> None:
    commands = Commands({"kind get clusters": (0, "workbook")})
    one = made(tmp_path, commands)
    one.up()
    one.down()
    assert commands.ran[-1] == ("kind delete cluster --name workbook --kubeconfig "
                                f"{tmp_path}/cluster/kubeconfig")
    assert not (tmp_path / "cluster").exists()


def test_down_without_a_cluster_is_no_error(tmp_path: Path) -> None:
    commands = Commands()
    assert made(tmp_path, commands).down().text == "there was no cluster"
    assert not commands.of("kind delete")


def test_a_cluster_that_cannot_be_deleted_keeps_its_kubeconfig(tmp_path: Path) -> None:
    commands = Commands({"kind get clusters": (0, "workbook"),
                         "kind delete": (1, "ERROR: failed to delete")})
    one = made(tmp_path, commands)
    one.up()
    one.kubeconfig.write_text("kind-workbook")
    with pytest.raises(CommandFailed):
        one.down()
    assert one.kubeconfig.exists()


def test_status_asks_each_part_inside_the_node(tmp_path: Path) -> None:
    istiod = ("docker exec workbook-control-plane kubectl "
              "--kubeconfig=/etc/kubernetes/admin.conf -n istio-system")
    commands = Commands({"kind get clusters": (0, "workbook"), istiod: (1, "timed out")})
    found = made(tmp_path, commands).status()
    assert [row[:2] for row in found.rows] == [
        ("engine", "works"), ("cluster", "works"), ("API server", "works"), ("node", "works"),
        ("istiod", "ill"),
    ]
    assert not found.extra["healthy"]


def test_status_without_an_engine_is_an_answer(tmp_path: Path) -> None:
    found = made(tmp_path, Commands(), there=()).status()
    assert found.rows[0][:2] == ("programs", "ill")
