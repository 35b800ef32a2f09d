from __future__ import annotations

import json
from pathlib import Path

from bench.recorder import Recorder
from bench.report import build, table, write

BOTH = {"towline": "0.1.0", "dockerd": "20.10"}
UNITS = {"16 clients, filling to": "1/s", "names, answers": "1/s", "TCP, published port": "Gbit/s"}


def recorder(figures: dict[tuple[str, int], dict[str, list[float]]]) -> Recorder:
    made = Recorder()
    for (case, level), engines in figures.items():
        for engine, samples in engines.items():
            for sample in samples:
                made.add(case, level, engine, sample, UNITS.get(case, "ms"))
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
                ("TCP, published port", 0): {"towline": [9.0], "dockerd": [18.0]},
            }
        ),
        BOTH,
    )
    assert [row.ratio for row in report.rows] == [30.0, 60.0, None, 0.5]
    assert [row.unit for row in report.rows] == ["ms", "1/s", "ms", "Gbit/s"]


def test_promises_are_judged_by_the_medians() -> None:
    kept = {("create", 0): {"towline": [3.0, 3.0, 99.0], "dockerd": [60.0]}, ("create", 10_000): {"towline": [4.5]}}
    broken = {("create", 0): {"towline": [3.1], "dockerd": [60.0]}, ("create", 10_000): {"towline": [4.7]}}
    assert met(kept) == {"create: 20 times better": True, "create, 10000 networks: at most 1.5 times": True}
    assert met(broken) == {"create: 20 times better": False, "create, 10000 networks: at most 1.5 times": False}


def test_promises_about_endpoints() -> None:
    up_to = "connect, one after another, up to"
    kept = {
        ("connect", 0): {"towline": [5.0], "dockerd": [35.0]},
        ("names, answers", 0): {"towline": [60_000.0], "dockerd": [30_000.0]},
        ("50 connects at once", 50): {"towline": [175.0]},
        ("50 disconnects at once", 50): {"towline": [999.0]},
        (up_to, 150): {"towline": [5.0]},
        (up_to, 1000): {"towline": [7.5]},
    }
    broken = {
        ("connect", 0): {"towline": [5.1], "dockerd": [35.0]},
        ("names, answers", 0): {"towline": [59_000.0], "dockerd": [30_000.0]},
        ("50 connects at once", 50): {"towline": [176.0]},
        (up_to, 150): {"towline": [5.0]},
        (up_to, 1000): {"towline": [7.6]},
    }
    assert list(met(kept).values()) == [True] * 4
    assert met(broken) == dict.fromkeys(met(kept), False)


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
