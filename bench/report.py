"""The figures as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.cases import CLIENTS, Recorder
from bench.peers import OURS
from bench.stats import Summary, summarize

_PEER = "dockerd"


class Row(msgspec.Struct, frozen=True):
    """unit: ms, MiB or 1/s. ratio: how many times better ours is at p50 (for 1/s more is better), None without peer."""

    case: str
    networks: int
    unit: str
    engines: dict[str, Summary]
    ratio: float | None


class Target(msgspec.Struct, frozen=True):
    """What we promise, the figure of this run, and whether it keeps the promise."""

    promise: str
    figure: str
    met: bool


class Report(msgspec.Struct, frozen=True):
    machine: dict[str, str]
    engines: dict[str, str]
    rows: list[Row]
    targets: list[Target]
    notes: list[str]


def build(recorder: Recorder, engines: dict[str, str]) -> Report:
    """engines: name -> version of what was measured."""
    rows = [_row(case, level, figures) for (case, level), figures in recorder.samples.items()]
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
        targets=_targets(rows),
        notes=recorder.notes,
    )


def _row(case: str, level: int, figures: dict[str, list[float]]) -> Row:
    summaries = {name: summarize(samples) for name, samples in figures.items()}
    unit = "MiB" if case.startswith("memory") else "1/s" if "clients" in case else "ms"
    ratio = None
    if OURS in summaries and _PEER in summaries:
        ours, peer = summaries[OURS].p50, summaries[_PEER].p50
        ratio = ours / peer if unit == "1/s" else peer / ours
    return Row(case=case, networks=level, unit=unit, engines=summaries, ratio=ratio)


def _targets(rows: Sequence[Row]) -> list[Target]:
    """Only those for which this run has figures."""
    ours = {(row.case, row.networks): row.engines[OURS].p50 for row in rows if OURS in row.engines}
    ratios = {row.case: row.ratio for row in rows if row.networks == 0 and row.ratio is not None}
    targets = []
    for case, least in (("create", 20.0), ("remove, answered", 60.0), ("start-up", 2.0)):
        if case in ratios:
            targets.append(Target(f"{case}: {least:g} times faster", f"{ratios[case]:.1f}", ratios[case] >= least))
    for networks, most in ((0, 60.0), (1000, 120.0)):
        weight = ours.get(("memory, daemon rss", networks))
        if weight is not None:
            targets.append(Target(f"memory, {networks} networks: below {most:g} MiB", f"{weight:.1f}", weight < most))
    if {("create", 0), ("create", 10_000)} <= ours.keys():
        growth = ours["create", 10_000] / ours["create", 0]
        targets.append(Target("create, 10000 networks: at most 1.5 times", f"{growth:.2f}", growth <= 1.5))
    for (case, networks), rate in ours.items():
        if "clients" in case and networks >= 200:  # fewer are over before 16 clients have settled
            promise = f"{CLIENTS} clients, up to {networks} networks: 500 creates/s"
            targets.append(Target(promise, f"{rate:.0f}", rate >= 500))
    return targets


def table(report: Report) -> str:
    names = [name for name in (OURS, _PEER) if name in report.engines]
    heads = [f"{name + ' p50':>13} {'p95':>8}" for name in names]
    lines = ["  ".join([f"{'':30}", f"{'networks':>8}", *heads, "ratio"])]
    for row in report.rows:
        cells = [f"{row.case + ', ' + row.unit:30}", f"{row.networks:8}"]
        for name in names:
            summary = row.engines.get(name)
            cells.append(f"{_number(summary.p50):>13} {_number(summary.p95):>8}" if summary else f"{'-':>13} {'-':>8}")
        cells.append(f"{row.ratio:.1f}x" if row.ratio is not None else "-")
        lines.append("  ".join(cells))
    lines += ["", *(f"{'met   ' if t.met else 'MISSED'}  {t.promise}  ({t.figure})" for t in report.targets)]
    lines += ["", *(f"note: {text}" for text in report.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
