"""`make demo` and `make demo-cluster` pass, and they fail when a claim of theirs is false."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_demo(path: str, script: Path = ROOT / "scripts" / "demo.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def test_demo_shows_that_all_its_claims_are_true() -> None:
    done = run_demo(os.environ["PATH"])
    assert done.returncode == 0, done.stdout
    assert "NOT TRUE" not in done.stdout
    assert done.stdout.count("  ok ") >= 40


def test_demo_fails_when_the_client_only_pretends(tmp_path: Path) -> None:
    """A docker that answers and does nothing: the bridge is not there, so the claim about it is false."""
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "docker").chmod(0o755)
    done = run_demo(f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1, done.stdout
    assert "NOT TRUE: the network web exists" in done.stdout


def test_demo_says_so_when_it_cannot_make_a_namespace(tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    done = run_demo(f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1, done.stdout
    assert "NOT TRUE: a network namespace of its own" in done.stdout


def test_demo_fails_when_no_port_is_published(tmp_path: Path) -> None:
    """A copy of the story in which the shop forgets its port."""
    for name in ("demo.py", "demo_stage.py"):
        text = (ROOT / "scripts" / name).read_text()
        (tmp_path / name).write_text(text.replace('"-p", "8080:80", ', ""))
    done = run_demo(os.environ["PATH"], tmp_path / "demo.py")
    assert done.returncode == 1, done.stdout
    assert "NOT TRUE: its published port answers this host" in done.stdout


@pytest.mark.timeout(300)
def test_the_demo_of_a_cluster_shows_that_all_its_claims_are_true() -> None:
    done = run_demo(os.environ["PATH"], ROOT / "scripts" / "demo_cluster.py")
    if done.returncode != 0:  # its waits are a reader's, and a busy machine is slower: it may be told once more
        sys.stdout.write(done.stdout)
        done = run_demo(os.environ["PATH"], ROOT / "scripts" / "demo_cluster.py")
    assert done.returncode == 0, done.stdout
    assert "NOT TRUE" not in done.stdout
    assert done.stdout.count("  ok ") >= 60


@pytest.mark.timeout(300)
def test_the_demo_of_a_cluster_fails_when_a_network_is_not_isolated(tmp_path: Path) -> None:
    """A copy of the story in which the vault is on the shop's network."""
    for name in ("demo_cluster.py", "demo_switch.py", "demo_stage.py"):
        text = (ROOT / "scripts" / name).read_text()
        (tmp_path / name).write_text(text.replace('"vault", "back"', '"vault", "wide"'))
    done = run_demo(os.environ["PATH"], tmp_path / "demo_cluster.py")
    assert done.returncode == 1, done.stdout
    assert "NOT TRUE: vault, on host2, reaches safe, on host3" in done.stdout


@pytest.mark.timeout(300)
def test_the_demo_of_a_cluster_fails_when_no_cable_is_cut(tmp_path: Path) -> None:
    for name in ("demo_cluster.py", "demo_switch.py", "demo_stage.py"):
        text = (ROOT / "scripts" / name).read_text()
        (tmp_path / name).write_text(text.replace("port{number} down", "port{number} up"))
    done = run_demo(os.environ["PATH"], tmp_path / "demo_cluster.py")
    assert done.returncode == 1, done.stdout
    assert "NOT TRUE: host3 knows no kiosk" in done.stdout
