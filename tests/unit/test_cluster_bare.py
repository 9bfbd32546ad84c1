"""The bare cluster's pure parts: addresses, configuration, layout, refusals."""

from __future__ import annotations

import ipaddress
import json
import tomllib
from pathlib import Path

import pytest
import yaml

from helpers import paths
from helpers.cluster import bare, made_by
from helpers.cluster.bare import (
    addresses,
    binaries,
    bring_up,
    configs,
    host,
    images,
    istio,
    node,
    parts,
    take_down,
)
from helpers.cluster.bare.layout import Addresses, Layout, keep_addresses, kept_addresses
from helpers.cluster.bare.packages import Programs
from helpers.errors import BadInput, BadState, NotReady

ENDS = Addresses("10.213.0.1", "10.213.0.2")
PROGRAMS = Programs(*(Path("/kept") / name for name in
                      ("containerd", "ctr", "bin", "runc", "cni", "etcd")))


def known_parts() -> dict[str, parts.Part]:
    made = {each.name: Path("/kept") / each.name for each in binaries.BINARIES}
    return parts.parts(PROGRAMS, made, ENDS)


def test_the_link_takes_the_first_range_that_overlaps_nothing() -> None:
    used = [ipaddress.IPv4Network("10.213.0.0/29"), ipaddress.IPv4Network("10.213.0.8/30")]
    assert addresses.choose(used) == Addresses("10.213.0.13", "10.213.0.14")


def test_a_vpn_that_routes_all_private_ranges_is_named() -> None:
    used = [ipaddress.IPv4Network(each) for each in
            ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    with pytest.raises(NotReady, match="no free /30") as caught:
        addresses.choose(used)
    assert "VPN" in caught.value.cause


def test_containerds_configuration_is_toml_with_what_runc_needs_without_rights() -> None:
    text = configs.containerd(pause=images.PAUSE, runc=Path("/kept/runc"), cni=Path("/kept/cni"))
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == images.PAUSE
    runc = cri["containerd"]["runtimes"]["runc"]["options"]
    assert runc == {"SystemdCgroup": False, "BinaryName": "/kept/runc"}


def test_every_yaml_and_json_configuration_is_read_back() -> None:
    kubelet = yaml.safe_load(configs.kubelet(ENDS, cgroup="workbook-x"))
    assert kubelet["cgroupRoot"] == "/workbook-x"
    assert kubelet["clusterDNS"] == [ENDS.node]
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert yaml.safe_load(configs.kube_proxy(ENDS))["mode"] == "iptables"
    assert json.loads(configs.network())["plugins"][0]["type"] == "ptp"
    assert f"bind {ENDS.node}" in configs.coredns(ENDS)


def test_nothing_listens_on_every_address() -> None:
    texts = [" ".join(part.argv) for part in known_parts().values()]
    texts += [configs.kubelet(ENDS, cgroup="x"), configs.kube_proxy(ENDS), configs.coredns(ENDS)]
    assert not [text for text in texts if "0.0.0.0:" in text or "=0.0.0.0" in text]


def test_the_api_server_asks_who_calls_and_what_they_may_do() -> None:
    argv = known_parts()["kube-apiserver"].argv
    assert "--authorization-mode=Node,RBAC" in argv
    assert not [word for word in argv if "anonymous" in word or "token-auth-file" in word]


def test_every_part_is_checked_and_in_the_order_of_its_needs() -> None:
    names = list(known_parts())
    assert names.index("etcd") < names.index("kube-apiserver") < names.index("kubelet")
    assert names.index("containerd") < names.index("kubelet")


def test_a_links_name_fits_into_what_linux_takes(tmp_path: Path) -> None:
    where = Layout(tmp_path / "cluster")
    assert len(where.link) <= 15
    assert where.link != Layout(tmp_path / "other").link


def test_addresses_are_kept_and_damage_is_told(tmp_path: Path) -> None:
    where = Layout(tmp_path)
    assert kept_addresses(where) is None
    keep_addresses(where, ENDS)
    assert kept_addresses(where) == ENDS
    (tmp_path / "addresses.json").write_text("{", encoding="utf-8")
    with pytest.raises(BadState):
        kept_addresses(where)


def test_a_cluster_that_never_was_leaves_nothing(tmp_path: Path) -> None:
    where = Layout(tmp_path / "cluster")
    assert take_down.leftovers(where) == []
    assert "no cluster" in take_down.down(where=where).text


def test_the_node_is_entered_with_all_its_namespaces() -> None:
    words = node.enter(77, ["kubelet", "--v=1"])
    assert words[:3] == ["nsenter", "--target", "77"]
    assert {"--mount", "--net", "--pid", "--uts", "--ipc"} <= set(words)
    assert words[-2:] == ["kubelet", "--v=1"]


def test_another_system_and_another_user_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.cluster.bare.bring_up.os.geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="needs root, not user 1000"):
        bring_up.require_host()
    monkeypatch.setattr("helpers.cluster.bare.bring_up.sys.platform", "darwin")
    with pytest.raises(BadInput, match="does not run on darwin"):
        bring_up.require_host()


def test_a_clone_that_the_node_could_not_see_is_refused(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.cluster.bare.bring_up.sys.platform", "linux")
    monkeypatch.setattr("helpers.cluster.bare.bring_up.os.geteuid", lambda: 0)
    monkeypatch.setattr(paths, "HOME", Path("/run/clone/.workbook"))
    with pytest.raises(BadInput, match="the clone lies in"):
        bring_up.require_host()


def test_status_without_a_cluster_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "HOME", tmp_path)
    found = bare.status()
    assert found.extra["healthy"] is False
    assert "./workbook cluster up" in found.text


def test_restarting_a_part_of_no_cluster_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "HOME", tmp_path)
    with pytest.raises(NotReady, match="there is no cluster"):
        bare.restart("kubelet")


def test_who_made_a_cluster_is_told_by_what_lies_there(tmp_path: Path) -> None:
    assert made_by(tmp_path / "cluster") is None
    (tmp_path / "addresses.json").touch()
    assert made_by(tmp_path) == "bare"
    (tmp_path / "kind.yaml").touch()
    assert made_by(tmp_path) == "kind"


def test_istio_is_told_what_its_own_envoy_has_and_this_one_lacks() -> None:
    spec = istio.operator(hub=images.PILOT_HUB, tag=images.ISTIO_TAG)["spec"]
    assert spec["values"]["pilot"]["env"] == {
        "PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
    assert spec["values"]["telemetry"] == {"enabled": False}
    assert spec["meshConfig"] == {"accessLogFile": "/dev/stdout"}


def test_what_is_left_on_the_host_is_named_by_kind() -> None:
    before = {"mount": frozenset({"/"}), "link": frozenset({"lo"})}
    after = {"mount": frozenset({"/", "/x"}), "link": frozenset({"lo"}),
             "process": frozenset({"7 kubelet"})}
    assert host.difference(before, after) == ["mount /x", "process 7 kubelet"]


def test_a_snapshot_sees_a_new_file_where_kubernetes_would_leave_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "_FOLDERS", (str(tmp_path / "kubelet"),))
    before = host.snapshot()
    (tmp_path / "kubelet" / "pods").mkdir(parents=True)
    left = [each for each in host.difference(before, host.snapshot()) if "kubelet" in each]
    assert left == [f"file {tmp_path}/kubelet", f"file {tmp_path}/kubelet/pods"]
