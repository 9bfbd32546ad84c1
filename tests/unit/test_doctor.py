"""The report on this computer: what fails is named with a fix, and nothing private is in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import filelock
import psutil
import pytest

from helpers import doctor, paths, shell, toolchain
from helpers.doctor import checkup, computer, finding, leftovers, tools
from helpers.doctor.finding import Finding
from helpers.errors import CommandFailed, ToolchainMissing
from helpers.mesh.local import envoy
from helpers.processes import Registry
from helpers.setup import places
from helpers.toolchain import PassedOver, Toolchain

GIB = 1024**3


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's .workbook folder and a state folder of its own, both empty."""
    folder = tmp_path / ".workbook"
    folder.mkdir()
    monkeypatch.setattr(places, "HOME", folder)
    monkeypatch.setenv("WORKBOOK_STATE", str(folder / "lab"))
    return folder


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1
    return found[0]


# -- the report -----------------------------------------------------------------------------


def test_a_check_that_breaks_is_a_failed_check_with_its_words() -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("the sky fell")

    report = doctor.report({"sky": broken, "ground": lambda: [Finding("ground", "ok", "firm")]})

    assert [found.check for found in report.failed] == ["sky"]
    assert "RuntimeError: the sky fell" in report.text
    assert not report.ok
    assert list(report.frame().columns) == ["check", "outcome", "found", "fix"]


def test_warnings_alone_do_not_fail_the_report() -> None:
    report = doctor.report({"nix": lambda: [Finding("nix", "warn", "off", "switch it on")]})

    assert report.ok
    assert "fix: switch it on" in report.text
    assert "The workbook works here" in report.text


@pytest.mark.parametrize(("outcome", "status"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_the_exit_status_says_whether_a_check_failed(
    outcome: finding.Outcome,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = checkup.report({"x": lambda: [Finding("x", outcome, "seen")]})
    monkeypatch.setattr(doctor, "report", lambda: made)

    assert doctor.main([]) == status
    assert f"{outcome:<5} x  seen" in capsys.readouterr().out


def test_the_report_escapes_what_it_shows_in_a_notebook() -> None:
    report = doctor.report({"x": lambda: [Finding("x", "fail", "<script>", "a & b")]})

    assert "<script>" not in report._repr_html_()
    assert "&lt;script&gt;" in report._repr_html_()


def test_every_check_has_a_name_and_a_function_of_its_own() -> None:
    assert len(set(checkup.CHECKS.values())) == len(checkup.CHECKS) >= 12


# -- nothing private --------------------------------------------------------------------------


def test_home_user_and_credentials_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/mei-ling"))
    monkeypatch.setattr(finding.getpass, "getuser", lambda: "mei-ling")

    text = finding.scrub(
        "/home/mei-ling/clone, /srv/mei-ling/x, https://mei-ling:hunter2@mirror.test/simple, "
        "API_TOKEN=abc123 password: swordfish"
    )

    assert "mei-ling" not in text
    assert "~/clone" in text
    for secret in ("hunter2", "abc123", "swordfish"):
        assert secret not in text


def test_a_folder_that_only_begins_like_home_keeps_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/root"))
    monkeypatch.setattr(finding.getpass, "getuser", lambda: "root")

    assert finding.scrub("/root/x and /rootfs/x") == "~/x and /rootfs/x"


def test_a_user_without_a_name_does_not_break_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(finding.getpass, "getuser", nameless)

    assert finding.scrub("all is well") == "all is well"


def test_a_broken_kubeconfig_is_named_and_never_quoted(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("users:\n- token: s3cr3t\n\tbad: [")

    found = only(tools.kubeconfig({"KUBECONFIG": str(config)}))

    assert found.outcome == "warn"
    assert str(config) in found.found
    assert "s3cr3t" not in found.found + found.fix


def test_a_kubeconfig_is_counted_and_its_current_context_named(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "current-context: class\ncontexts: [{name: class}, {name: home}]\n"
        "users: [{name: me, user: {token: s3cr3t}}]\n"
    )

    found = only(tools.kubeconfig({"KUBECONFIG": f"{config}{os.pathsep}{tmp_path / 'none'}"}))

    assert found.outcome == "ok"
    assert "2 context(s), current: class" in found.found
    assert "s3cr3t" not in found.found


def test_no_kubeconfig_is_no_trouble(tmp_path: Path) -> None:
    assert only(tools.kubeconfig({"KUBECONFIG": str(tmp_path / "none")})).outcome == "ok"


@pytest.mark.parametrize("text", ["", "[]", "just text", "contexts: 7"])
def test_a_file_that_is_no_kubeconfig_is_a_warning(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config"
    config.write_text(text)

    assert only(tools.kubeconfig({"KUBECONFIG": str(config)})).outcome == "warn"


# -- the computer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "outcome"), [(10 * GIB, "ok"), (2 * GIB, "warn"), (GIB // 10, "fail")]
)
def test_the_disk_is_measured_where_the_workbook_lies(
    free: int, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    asked: list[Path] = []

    def disk_usage(path: Path) -> object:
        asked.append(path)
        return usage(20 * GIB, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)

    found = only(computer.disk(tmp_path / "not" / "there" / "yet"))

    assert found.outcome == outcome
    assert asked == [tmp_path]
    assert bool(found.fix) == (outcome != "ok")


@pytest.mark.parametrize(("free", "outcome"), [(4 * GIB, "ok"), (GIB, "warn"), (GIB // 10, "fail")])
def test_little_memory_is_said_before_a_build_dies_of_it(
    free: int, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = namedtuple("memory", "total available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(8 * GIB, free))

    assert only(computer.memory()).outcome == outcome


def test_ports_that_cannot_be_bound_fail_with_the_systems_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(address: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    assert only(computer.ports()).outcome == "ok"
    monkeypatch.setattr(socket, "create_server", refuse)

    found = only(computer.ports())

    assert found.outcome == "fail"
    assert "Permission denied" in found.found


def test_another_python_than_the_environments_is_a_warning(tmp_path: Path) -> None:
    found = only(computer.python(tmp_path))

    assert found.outcome == "warn"
    assert "./workbook lab" in found.fix


def test_a_clone_that_cannot_be_written_to_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "HOME", tmp_path / ".workbook")
    monkeypatch.setenv("WORKBOOK_WORKSPACE", str(tmp_path / "workspace"))
    assert only(computer.clone()).outcome == "ok"

    def refuse(**_: object) -> object:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(computer.tempfile, "NamedTemporaryFile", refuse)
    found = only(computer.clone())

    assert found.outcome == "fail"
    assert "Read-only file system" in found.found


def test_spaces_and_letters_in_the_clones_path_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", Path("/tmp/day 23/擴充"))

    found = only(computer.clone())

    assert "spaces" in found.found
    assert "ASCII" in found.found


# -- programs ---------------------------------------------------------------------------------


def test_a_toolchain_is_shown_with_those_that_were_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = Toolchain(
        kind="conda",
        rustc=Path("/opt/rustc"),
        cargo=Path("/opt/cargo"),
        version="1.96.0",
        passed_over=(PassedOver("rustup", "/x/rustc", "it has no std"),),
    )
    monkeypatch.setattr(toolchain, "find", lambda: chosen)

    found = only(tools.rust())

    assert found.outcome == "ok"
    assert "conda: rustc 1.96.0" in found.found
    assert "passed over: rustup /x/rustc: it has no std" in found.found


def test_without_a_toolchain_the_report_has_the_command_that_brings_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(toolchain, "find", lambda: Toolchain(kind="prebuilt"))

    found = only(tools.rust())

    assert found.outcome == "warn"
    assert "prebuilt" in found.found
    assert found.fix == toolchain.install_plan().text


@pytest.mark.parametrize(
    ("version", "outcome"), [("1.36.3", "fail"), ("1.40.0", "ok"), ("2.0.1", "ok")]
)
def test_envoy_must_be_1_40_or_newer(
    version: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy, "binary", lambda: Path("/opt/envoy"))
    monkeypatch.setattr(envoy, "version", lambda: version)

    found = only(tools.envoy_version())

    assert found.outcome == outcome
    assert version in found.found


def test_a_platform_without_envoy_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Path:
        raise ToolchainMissing("no Envoy for this platform", cause="no build", fix="a cluster")

    monkeypatch.setattr(envoy, "binary", absent)

    for found in (only(tools.envoy_version()), only(tools.envoy_runtime())):
        assert found.outcome == "fail"
        assert "no Envoy for this platform" in found.found
        assert found.fix == "a cluster"


def test_an_envoy_without_wasm_fails_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "[1][warning][wasm] Envoy was compiled without support for it"

    def refuse(document: object, where: Path) -> None:
        raise CommandFailed("Envoy refuses the configuration", detail=f"start\n{said}\nend")

    monkeypatch.setattr(envoy, "validate", refuse)

    found = only(tools.envoy_runtime())

    assert found.outcome == "fail"
    assert said in found.found


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ("experimental-features = flakes nix-command", "ok"),
        ("experimental-features = nix-command", "warn"),
        ("experimental-features = ", "warn"),
        ("", "warn"),
    ],
)
def test_nix_is_asked_whether_flakes_are_on(
    settings: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[str], **_: object) -> shell.Finished:
        text = "nix (Nix) 2.8.0" if "--version" in argv else f"cores = 0\n{settings}"
        return shell.Finished(tuple(argv), 0, text, 0.1)

    monkeypatch.setattr(tools.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(tools.shell, "run", run)

    found = only(tools.nix())

    assert found.outcome == outcome
    assert "2.8.0" in found.found


def test_neither_nix_nor_docker_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)

    assert only(tools.nix()).outcome == "ok"
    assert "neither docker nor podman" in only(tools.containers()).found


# -- what earlier work left --------------------------------------------------------------------


def test_a_fresh_clone_has_nothing_left_over(home: Path) -> None:
    for check in (leftovers.states, leftovers.processes, leftovers.locks):
        assert only(check()).outcome == "ok"


@pytest.mark.parametrize(
    "name", ["processes/x.json", "pods/p/pod.json", "events.json", "objects/default/a.json"]
)
def test_a_state_file_cut_short_is_named(home: Path, name: str) -> None:
    path = home / "lab" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 1, "da')

    found = only(leftovers.states())

    assert found.outcome == "fail"
    assert path.name in found.found
    assert "./workbook clean" in found.fix


def test_a_state_file_of_another_version_is_named(home: Path) -> None:
    path = home / "lab" / "processes" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": 99, "data": {}}))

    assert "another version" in only(leftovers.states()).found


def test_a_running_process_of_a_state_folder_is_counted_and_an_ended_one_named(
    home: Path,
) -> None:
    registry = Registry(home / "lab")
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    record = registry.start("sleeper", argv, log=home / "lab" / "sleeper.log")
    try:
        running = only(leftovers.processes())
        process = record.process()
        assert process is not None
        process.kill()
        process.wait(10)
        ended = only(leftovers.processes())
    finally:
        registry.stop_all()

    assert running.outcome == "ok"
    assert "1 run for" in running.found
    assert ended.outcome == "warn"
    assert "sleeper" in ended.found


def test_a_process_that_no_record_knows_is_found_by_the_state_folder_it_works_in(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "lab").mkdir()
    monkeypatch.setattr(places, "VENV", Path(sys.executable).parent.parent)
    # A child of ours would be passed over, as our own helper processes are: let init have it.
    wait = f"import time; open({str(home / 'ready')!r}, 'w').close(); time.sleep(60)"
    start = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', "
        f"{wait!r}, {str(home / 'lab' / 'x')!r}], stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL).pid)"
    )
    pid = int(subprocess.run([sys.executable, "-c", start], capture_output=True, check=True).stdout)
    try:
        deadline = time.monotonic() + 20
        while not (home / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        found = only(leftovers.processes())
    finally:
        psutil.Process(pid).kill()

    assert found.outcome == "warn"
    assert str(pid) in found.found


def test_a_held_lock_is_told_with_its_holder(home: Path) -> None:
    (home / "run.pid").write_text("4711\n")
    with filelock.FileLock(home / "run.lock"):
        code = (
            "from helpers.setup import places; from helpers.doctor import leftovers; "
            f"from pathlib import Path; places.HOME = Path({str(home)!r}); "
            "print(leftovers.locks()[0].found)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

    assert "held" in done.stdout
    assert "by pid 4711" in done.stdout
    assert only(leftovers.locks()).outcome == "ok"
