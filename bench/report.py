"""The figures as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import msgspec

from bench.peers import OURS
from bench.recorder import Recorder
from bench.stats import Summary, summarize
from bench.targets import Target, judge

_PEER = "dockerd"
_MORE_IS_BETTER = ("1/s", "Gbit/s")


class Row(msgspec.Struct, frozen=True):
    """existing: networks or endpoints meanwhile. ratio: how many times better ours is at p50, None without peer."""

    case: str
    existing: int
    unit: str
    engines: dict[str, Summary]
    ratio: float | None


class Report(msgspec.Struct, frozen=True):
    machine: dict[str, str]
    engines: dict[str, str]
    rows: list[Row]
    targets: list[Target]
    notes: list[str]


def build(recorder: Recorder, engines: dict[str, str]) -> Report:
    """engines: name -> version of what was measured."""
    rows = [_row(case, level, recorder.units[case], figures) for (case, level), figures in recorder.samples.items()]
    return Report(
        machine={
            "kernel": platform.release(),
            "cpus": str(os.cpu_count()),
            "python": platform.python_version(),
            "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        },
        engines=engines,
        rows=rows,
        targets=judge(
            {(row.case, row.existing): row.engines[OURS].p50 for row in rows if OURS in row.engines},
            {(row.case, row.existing): row.engines[_PEER].p50 for row in rows if _PEER in row.engines},
            {(row.case, row.existing): row.ratio for row in rows if row.ratio is not None},
        ),
        notes=recorder.notes,
    )


def _row(case: str, level: int, unit: str, figures: dict[str, list[float]]) -> Row:
    summaries = {name: summarize(samples) for name, samples in figures.items()}
    ratio = None
    if OURS in summaries and _PEER in summaries:
        ours, peer = summaries[OURS].p50, summaries[_PEER].p50
        ratio = ours / peer if unit in _MORE_IS_BETTER else peer / ours
    return Row(case=case, existing=level, unit=unit, engines=summaries, ratio=ratio)


def table(report: Report) -> str:
    names = list(report.engines)
    heads = [f"{name + ' p50':>13} {'p95':>8}" for name in names]
    lines = ["  ".join([f"{'':38}", f"{'existing':>8}", *heads, "ratio"])]
    for row in report.rows:
        cells = [f"{row.case + ', ' + row.unit:38}", f"{row.existing:8}"]
        for name in names:
            summary = row.engines.get(name)
            cells.append(f"{_number(summary.p50):>13} {_number(summary.p95):>8}" if summary else f"{'-':>13} {'-':>8}")
        cells.append(f"{_number(row.ratio)}x" if row.ratio is not None else "-")
        lines.append("  ".join(cells))
    lines += ["", *(f"{'met   ' if t.met else 'MISSED'}  {t.promise}  ({t.figure})" for t in report.targets)]
    lines += ["", *(f"note: {text}" for text in report.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
