from __future__ import annotations

import json
from pathlib import Path

from bench.cases import Recorder
from bench.report import build, table, write

BOTH = {"towline": "0.1.0", "dockerd": "20.10"}


def recorder(figures: dict[tuple[str, int], dict[str, list[float]]]) -> Recorder:
    made = Recorder()
    for (case, level), engines in figures.items():
        for engine, samples in engines.items():
            for sample in samples:
                made.add(case, level, engine, sample)
    return made


def met(figures: dict[tuple[str, int], dict[str, list[float]]]) -> dict[str, bool]:
    return {target.promise: target.met for target in build(recorder(figures), BOTH).targets}


def test_ratio_says_how_many_times_better_ours_is() -> None:
    report = build(
        recorder(
            {
                ("create", 0): {"towline": [2.0], "dockerd": [60.0]},
                ("16 clients, filling to", 200): {"towline": [900.0], "dockerd": [15.0]},
                ("list", 10_000): {"towline": [9.0]},
            }
        ),
        BOTH,
    )
    assert [row.ratio for row in report.rows] == [30.0, 60.0, None]
    assert [row.unit for row in report.rows] == ["ms", "1/s", "ms"]


def test_promises_are_judged_by_the_medians() -> None:
    kept = {("create", 0): {"towline": [3.0, 3.0, 99.0], "dockerd": [60.0]}, ("create", 10_000): {"towline": [4.5]}}
    broken = {("create", 0): {"towline": [3.1], "dockerd": [60.0]}, ("create", 10_000): {"towline": [4.7]}}
    assert met(kept) == {"create: 20 times faster": True, "create, 10000 networks: at most 1.5 times": True}
    assert met(broken) == {"create: 20 times faster": False, "create, 10000 networks: at most 1.5 times": False}


def test_promises_without_figures_are_not_judged() -> None:
    assert met({("create", 0): {"dockerd": [60.0]}}) == {}


def test_table_and_json_show_figures_gaps_and_notes(tmp_path: Path) -> None:
    made = recorder({("create", 0): {"towline": [2.0], "dockerd": [60.0]}, ("list", 10_000): {"towline": [123.4]}})
    made.notes.append("dockerd got to 640")
    report = build(made, BOTH)
    lines = table(report).splitlines()
    assert lines[1].split() == ["create,", "ms", "0", "2.00", "2.00", "60.0", "60.0", "30.0x"]
    assert lines[2].split() == ["list,", "ms", "10000", "123", "123", "-", "-", "-"]
    assert lines[-1] == "note: dockerd got to 640"
    write(report, tmp_path / "out" / "bench.json")
    read = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert read["rows"][0]["engines"]["dockerd"]["p50"] == 60.0
    assert read["engines"] == BOTH
