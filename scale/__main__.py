"""`python -m scale`: clusters of several sizes, one after the other. No root; takes etcd."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from scale.report import table
from scale.run import NotEqual, Run, Settings


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    if shutil.which("etcd") is None:
        print("scale: etcd is not installed (Debian: etcd-server)", file=sys.stderr)
        return 2
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    runs: list[dict[str, Any]] = []
    failed = False
    for nodes in options.nodes:
        settings = Settings(
            nodes=nodes,
            endpoints=options.endpoints or 20 * nodes,
            processes=options.processes,
            changes=options.changes,
            rate=options.rate,
            idle=options.idle,
            apart=options.apart,
            at_once=options.at_once,
            patience=options.patience,
        )
        with tempfile.TemporaryDirectory(prefix="towline-scale-") as folder:
            run = Run(settings, Path(folder), lambda step, n=nodes: print(f"{n} nodes: {step}", file=sys.stderr))  # type: ignore[misc]
            try:
                uvloop.run(asyncio.wait_for(run.go(), options.limit or None))
            except TimeoutError:
                run.result["failure"] = f"not done in {options.limit:.0f} s"
                print(f"scale: {nodes} nodes: {run.result['failure']}", file=sys.stderr)
                failed = True
            except (NotEqual, RuntimeError) as error:
                run.result["failure"] = str(error)
                print(f"scale: {nodes} nodes: {error}", file=sys.stderr)
                failed = True
        runs.append(run.result)
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine, "runs": runs}, indent=1) + "\n")
    print(table(runs, machine))
    return 1 if failed else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scale", description="a cluster of simulated nodes on one machine")
    parser.add_argument("--nodes", type=_numbers, default=[100], help="sizes, by commas (default 100)")
    parser.add_argument("--endpoints", type=int, default=0, help="before anything is measured (default 20 a node)")
    parser.add_argument("--processes", type=int, default=2, help="that the nodes live in (default 2)")
    parser.add_argument("--at-once", type=int, default=32, help="nodes that start or fill at once (default 32)")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for all to be equal (default 60)")
    parser.add_argument("--changes", type=int, default=300, help="endpoints that come one by one (default 300)")
    parser.add_argument("--rate", type=float, default=20.0, help="of these, a second (default 20)")
    parser.add_argument("--idle", type=float, default=15.0, help="seconds in which nothing happens (default 15)")
    parser.add_argument("--apart", type=float, default=5.0, help="seconds for which half is cut off (default 5)")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds for each size; what is not done is left out")
    parser.add_argument("--out", type=Path, default=Path("scale/out/scale.json"), help="JSON")
    return parser.parse_args(argv)


def _numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if min(found) < 4:
        raise argparse.ArgumentTypeError("at least 4 nodes")
    return found


if __name__ == "__main__":
    sys.exit(main())
