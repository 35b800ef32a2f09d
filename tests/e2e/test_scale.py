"""The scale harness: a small cluster of simulated nodes on a real etcd, equal in the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.needs import need_tool

ROOT = Path(__file__).parents[2]
STEPS = ("join", "fill", "idle", "change", "restart", "divide")


def test_twenty_nodes_are_equal_in_the_end(tmp_path: Path) -> None:
    need_tool("etcd")
    out = tmp_path / "scale.json"
    small = ("--nodes", "20", "--endpoints", "300", "--changes", "40", "--rate", "40", "--idle", "1", "--apart", "1")
    done = subprocess.run(
        [sys.executable, "-m", "scale", *small, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(out.read_text())["runs"][0]
    assert run["equal"] is True
    assert all(step in run for step in STEPS)
    assert run["fill"]["endpoints"] >= 280
    assert run["change"]["rows"]["count"] == 40
    assert run["restart"]["restarted"]["kb"] > 0
    assert "p99" in done.stdout
    assert "all equal in the end" in done.stdout
    assert done.stderr.count("nodes:") == len(STEPS), done.stderr
