"""The benchmark runs both engines side by side, reports what it promises, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENDPOINTS = {"connect", "disconnect, answered", "disconnect, completed", "connect, 1 port", "connect, 10 ports"}
PLUGGED = ENDPOINTS - {"disconnect, completed"}
NAMES = {"names, latency", "names, answers"}
TRAFFIC = {f"TCP{what}, {way}" for what in ("", " requests") for way in ("between two", "published port")}
OPERATIONS = {"create", "inspect", "list", "remove, answered", "remove, completed"}


@pytest.fixture
def work() -> Iterator[Path]:
    """On a disk, and short: containerd refuses sockets with long paths."""
    directory = Path(tempfile.mkdtemp(prefix="tlb-", dir="/var/tmp"))
    yield directory
    shutil.rmtree(directory)


def run_bench(work: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments, "--out", str(work / "bench.json")],
        cwd=ROOT,
        env={**os.environ, "TOWLINE_BENCH_DIR": str(work), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def rows(work: Path) -> dict[tuple[str, int], dict[str, Any]]:
    report = json.loads((work / "bench.json").read_text())
    return {(row["case"], row["existing"]): row for row in report["rows"]}


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that mention `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text:
            found.append(text)
    return found


def test_both_engines_in_one_run(work: Path) -> None:
    done = run_bench(work, "--quick", "--cases", "networks", "--levels", "0,8", "--rounds", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(work)
    for operation in OPERATIONS:
        for level in (0, 8):
            engines = found[operation, level]["engines"]
            assert set(engines) == {"towline", "dockerd"}, operation
            assert all(summary["p50"] <= summary["p95"] for summary in engines.values())
    assert found["create", 0]["engines"]["towline"]["count"] == 10
    assert found["create", 0]["ratio"] > 2, done.stdout
    assert found["16 clients, filling to", 8]["unit"] == "1/s"
    assert {"start-up", "restart", "memory, daemon rss"} <= {case for case, _ in found}
    assert "create, ms" in done.stdout
    assert [path.name for path in work.iterdir()] == ["bench.json"]
    assert processes_of(work) == []


def test_endpoints_names_and_traffic_of_both_engines(work: Path) -> None:
    done = run_bench(work, "--quick", "--cases", "endpoints,names,traffic")
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(work)
    assert {case for case, existing in found if existing == 0} == ENDPOINTS | NAMES | TRAFFIC
    assert {case for case, existing in found if existing == 24} == {*ENDPOINTS, "connect, one after another, up to"}
    for key, row in found.items():
        plugins = {"netavark", "CNI bridge"} if key[1] == 0 and key[0] in PLUGGED else set()
        assert set(row["engines"]) == {"towline", "dockerd"} | plugins, key
        assert all(summary["least"] > 0 for summary in row["engines"].values()), key
    assert found["connect, 10 ports", 0]["ratio"] > 1.5, done.stdout  # far more, but a busy machine blurs it
    assert found["names, answers", 0]["unit"] == "1/s"
    assert processes_of(work) == []


def test_unknown_cases_are_refused(work: Path) -> None:
    done = run_bench(work, "--cases", "networks,ships")
    assert done.returncode == 2
    assert "choose from networks, endpoints, ports, names, traffic" in done.stderr


def test_without_a_peer_it_measures_ours_alone_and_says_so(work: Path) -> None:
    done = run_bench(
        work,
        "--quick",
        "--cases",
        "networks",
        "--levels",
        "0",
        "--rounds",
        "5",
        TOWLINE_BENCH_DOCKERD="no-such-dockerd",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no dockerd here" in done.stderr
    assert set(rows(work)["create", 0]["engines"]) == {"towline"}
    assert rows(work)["create", 0]["ratio"] is None


def test_an_engine_that_does_not_start_is_named_with_its_log(work: Path) -> None:
    broken = work / "dockerd"
    broken.write_text("#!/bin/sh\necho no room in the harbour >&2\nexit 1\n")
    broken.chmod(0o755)
    done = run_bench(work, "--quick", "--levels", "0", "--engines", "dockerd", TOWLINE_BENCH_DOCKERD=str(broken))
    assert done.returncode == 1
    assert "dockerd did not get ready" in done.stderr
    assert "no room in the harbour" in done.stderr
    assert processes_of(work) == []


def test_an_engine_that_never_gets_ready_does_not_hold_it_up(work: Path) -> None:
    (work / "dockerd").write_text("#!/bin/sh\nexec sleep 600\n")
    (work / "dockerd").chmod(0o755)
    peer = str(work / "dockerd")
    done = run_bench(work, "--quick", "--engines", "dockerd", "--start-seconds", "1.5", TOWLINE_BENCH_DOCKERD=peer)
    assert done.returncode == 1
    assert "TooSlow: dockerd" in done.stderr
    assert "note: the run ended early" in done.stdout
    assert processes_of(work) == []


@pytest.mark.parametrize("levels", ["200,0", "x", "-1"])
def test_levels_that_make_no_sense_are_refused(work: Path, levels: str) -> None:
    done = run_bench(work, f"--levels={levels}")
    assert done.returncode == 2
    assert "ascending" in done.stderr
