"""`workbook lab` with a real JupyterLab: it answers, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from helpers import paths
from helpers.processes import Registry

_URL = re.compile(r"http://127\.0\.0\.1:\d+/lab\S+")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A running lab, its address, its state folder."""
    state = tmp_path / "state"
    child = subprocess.Popen(
        [sys.executable, "-m", "helpers.cli", "lab", "--no-browser"],
        cwd=paths.ROOT,
        env={**os.environ, "WORKBOOK_STATE": str(state)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    seen: list[str] = []
    try:
        for line in child.stdout:
            seen.append(line)
            if match := _URL.search(line):
                yield child, match[0], state
                break
        else:
            pytest.fail("the lab printed no address:\n" + "".join(seen))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        Registry(state).stop_all()


def processes_of(state: Path) -> list[int]:
    found = []
    for record in Registry(state).all():
        process = record.process()
        if process is not None:
            found += [process.pid, *(child.pid for child in process.children(recursive=True))]
    return found


def wait_gone(pids: list[int]) -> list[int]:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        left = [pid for pid in pids if psutil.pid_exists(pid)]
        if not left:
            return []
        time.sleep(0.2)
    return left


def test_the_address_opens_the_start_page_and_the_end_leaves_nothing(
    lab: tuple[subprocess.Popen[str], str, Path],
) -> None:
    child, url, state = lab
    answer = httpx.get(url, follow_redirects=True, trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert "JupyterLab" in answer.text
    pids = processes_of(state)
    assert pids
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 0
    assert wait_gone(pids) == []


def test_a_lab_that_was_killed_leaves_nothing_either(
    lab: tuple[subprocess.Popen[str], str, Path],
) -> None:
    child, _, state = lab
    pids = processes_of(state)
    assert pids
    child.kill()
    child.wait()
    assert wait_gone(pids) == []


def test_without_the_token_nobody_gets_in(
    lab: tuple[subprocess.Popen[str], str, Path],
) -> None:
    _, url, _ = lab
    answer = httpx.get(url.split("/lab")[0] + "/api/contents", trust_env=False, timeout=30)
    assert answer.status_code == 403
