"""Building the bare cluster's programs, with a stand-in for go: what is built, kept and told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from helpers.cluster.bare import binaries, cache, golang
from helpers.errors import CommandFailed, NotReady

#: Writes what `go build -o` names, a program that says its version; `mod download` makes the
#: module that `list` names. What it is asked, and with which GOFLAGS, goes to a file.
GO = r"""#!/bin/sh
echo "$GOFLAGS|$*" >> "$RECORD"
mkdir -p "$GOMODCACHE/istio/tools/packaging/common" "$GOCACHE"
case "$1" in
  list) echo "$GOMODCACHE/istio" ;;
  mod) echo '{}' > "$GOMODCACHE/istio/tools/packaging/common/envoy_bootstrap.json" ;;
  build)
    case "$*" in *"$FAILS"*) echo "$FAILS: no required module provides it" >&2; exit 1 ;; esac
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\n%s\n' "$PROGRAM" > "$2"; chmod 755 "$2" ;;
esac
"""


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that gets what the stand-in is asked."""
    go = tmp_path / "go"
    go.write_text(GO)
    go.chmod(0o755)
    monkeypatch.setattr(golang, "find", lambda say, log: go)
    monkeypatch.setattr(cache, "require_space", lambda gigabytes, why: None)
    for name in ("GOMODCACHE", "GOCACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOFLAGS", "-mod=mod -insecure")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("FAILS", "nothing fails")
    monkeypatch.setenv("PROGRAM", "echo 1.0")
    return tmp_path / "record"


def builds(record: Path) -> list[str]:
    return [line for line in record.read_text().splitlines() if "|build " in line]


def test_everything_is_built_once_and_gos_own_folder_goes(record: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = binaries.ensure(said.append, tmp_path / "log")
    assert set(made) == {each.name for each in binaries.BINARIES} | {binaries.BOOTSTRAP}
    assert all(path.is_file() for path in made.values())
    assert "building pause, 1 of 10: about" in said[0]
    assert "1 min left" in said[-1]
    assert not (tmp_path / "cache/go").exists()
    assert not list((tmp_path / "cache").rglob("*.partial"))
    before = record.read_text()
    assert binaries.ensure(said.append, tmp_path / "log") == made
    assert record.read_text() == before, "go is not asked again"


def test_checksums_are_verified_whatever_flags_the_user_has_set(record: Path,
                                                                tmp_path: Path) -> None:
    binaries.ensure(lambda _: None, tmp_path / "log")
    for line in builds(record):
        assert line.startswith("-modcacherw -buildvcs=false|build -mod=readonly ")
        assert "-trimpath" in line


def test_a_failed_build_says_which_and_keeps_those_before_it(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "cmd/kubelet")
    with pytest.raises(CommandFailed, match="kubelet could not be built") as caught:
        binaries.ensure(lambda _: None, tmp_path / "log")
    assert "helpers/cluster/go/kubernetes/go.sum" in caught.value.cause
    assert caught.value.detail == "cmd/kubelet: no required module provides it"
    assert (tmp_path / "cache/go/mod").exists(), "kept, so that the next time goes on"
    first = len(builds(record))
    monkeypatch.setenv("FAILS", "nothing fails")
    said: list[str] = []
    binaries.ensure(said.append, tmp_path / "log")
    assert "building kubelet, 1 of 6" in said[0]
    assert len(builds(record)) == first + 6
    assert not (tmp_path / "cache/go").exists()


def test_a_program_that_does_not_run_is_not_counted(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROGRAM", "exit 1")
    with pytest.raises(CommandFailed, match="kube-apiserver"):
        binaries.ensure(lambda _: None, tmp_path / "log")
    kept = {path.name for path in (tmp_path / "cache/bin").rglob("*") if path.is_file()}
    assert kept == {"pause", "kube-apiserver.partial"}, "pause only waits, and is not asked"


def test_a_lost_bootstrap_is_fetched_again_without_building(record: Path, tmp_path: Path) -> None:
    made = binaries.ensure(lambda _: None, tmp_path / "log")
    made[binaries.BOOTSTRAP].unlink()
    before = len(builds(record))
    assert binaries.ensure(lambda _: None, tmp_path / "log")[binaries.BOOTSTRAP].is_file()
    assert len(builds(record)) == before


def test_the_space_asked_for_is_that_of_what_is_left_to_do(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def require(gigabytes: float, why: str) -> None:
        asked.append(gigabytes)
        raise NotReady(why)

    monkeypatch.setattr(cache, "require_space", require)
    with pytest.raises(NotReady):
        binaries.ensure(lambda _: None, tmp_path / "log")
    for each in binaries.BINARIES:
        if each.name != "coredns":
            place = tmp_path / "cache/bin" / f"{each.name}-{binaries.key(each)}" / each.name
            place.parent.mkdir(parents=True)
            place.touch()
    kept = tmp_path / "cache/go/build/object"
    kept.parent.mkdir(parents=True)
    with kept.open("wb") as handle:
        handle.truncate(1_000_000_000)  # takes no disk
    with pytest.raises(NotReady):
        binaries.ensure(lambda _: None, tmp_path / "log")
    assert asked == pytest.approx([9.0, 1.0])


def test_the_key_follows_the_flags_too() -> None:
    each = binaries.BINARIES[1]
    assert binaries.key(dataclasses.replace(each, flags=("-trimpath",))) != binaries.key(each)
