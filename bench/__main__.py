"""`python -m bench`: one interleaved run of Towline and a Docker daemon, each in its own namespaces. Takes root."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import encrypted, endpoints, names, networks, overlay, ports, report, traffic
from bench.client import BadReply
from bench.inside import LoadFailed
from bench.networks import Limits
from bench.peers import Engine, EngineFailed, TooSlow, dockerd, towlined
from bench.plugins import Plugin, PluginFailed, installed, version
from bench.recorder import Recorder, progress

_CASES = ("networks", "endpoints", "ports", "names", "traffic")
_MORE_CASES = (*_CASES, "overlay", "encrypted")  # what is measured when it is asked for
_RESTART_LEVEL = 1000  # start-up and memory are measured again with this many networks
_FULL = Limits(rounds=40, seconds=60.0, fill_seconds=400.0, starts=5, start_seconds=300.0)
_QUICK = Limits(rounds=10, seconds=20.0, fill_seconds=30.0, starts=2, start_seconds=60.0)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    if os.geteuid() != 0:
        print("bench: network namespaces take root: run it as root (sudo make bench)", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    limits = _limits(options)
    recorder = Recorder()
    with contextlib.ExitStack() as stack:
        engines = _engines(options.engines.split(","), stack)
        if not engines:
            print("bench: nothing to measure: no engine found", file=sys.stderr)
            return 2
        failure = None
        plugins = installed(options.engines.split(",")) if "endpoints" in options.cases else []
        try:
            _run(engines, plugins, options, recorder, limits)
        except (EngineFailed, TooSlow, BadReply, LoadFailed, PluginFailed, OSError) as error:
            failure = error
            print(f"bench: {type(error).__name__}: {error}", file=sys.stderr)
            recorder.note("the run ended early by an error: what follows is missing")
        versions = {engine.name: engine.version for engine in engines}
        result = report.build(recorder, {**versions, **{plugin.name: version(plugin) for plugin in plugins}})
        report.write(result, options.out)
        print("\n" + report.table(result) + f"\nJSON: {options.out}", flush=True)
        progress("taking it down (the kernel needs about 20 ms a bridge)")
    return 0 if failure is None else 1


def _run(
    engines: list[Engine], plugins: list[Plugin], options: argparse.Namespace, recorder: Recorder, limits: Limits
) -> None:
    progress(f"start-up of {', '.join(engine.name for engine in engines)}")
    for engine in engines:  # the first start makes files and predefined networks: it is not in the figures
        engine.start(limits.start_seconds)
    quick: bool = options.quick
    if "endpoints" in options.cases:
        endpoints.measure(engines, plugins, recorder, endpoints.QUICK if quick else endpoints.FULL)
    if "ports" in options.cases:
        ports.measure(engines, recorder, ports=200 if quick else 10_000, rounds=3 if quick else 20)
    if "names" in options.cases:
        progress("names, from inside")
        names.measure(engines, recorder, rounds=2 if quick else 10, seconds=0.5 if quick else 1.0)
    if "traffic" in options.cases:
        progress("traffic, between two and through a published port")
        traffic.measure(engines, recorder, rounds=2 if quick else 10, seconds=0.5 if quick else 1.0)
    if "overlay" in options.cases:
        overlay.measure(engines, recorder, rounds=3 if quick else 20, seconds=0.5 if quick else 1.0)
    if "encrypted" in options.cases:
        encrypted.measure(engines, recorder, rounds=3 if quick else 20, seconds=0.5 if quick else 1.0)
    if "networks" in options.cases:
        _networks(engines, options.levels, recorder, limits)


def _networks(engines: list[Engine], levels: Sequence[int], recorder: Recorder, limits: Limits) -> None:
    progress("start-up, restart and memory")
    running = networks.start_up(engines, recorder, limits, level=0)
    networks.memory(running, recorder, level=0)
    for level in levels:
        progress(f"filling to {level} networks")
        running = networks.fill(running, level, recorder, limits)
        progress(f"operations with {level} networks: {', '.join(engine.name for engine in running)}")
        networks.operations(running, level, recorder, limits)
        if level == _RESTART_LEVEL:
            progress(f"start-up with {level} networks")
            networks.memory(running, recorder, level=level)
            running = networks.start_up(running, recorder, limits, level=level)


def _engines(names: Sequence[str], stack: contextlib.ExitStack) -> list[Engine]:
    base = Path(tempfile.mkdtemp(prefix="towline-bench-", dir=os.environ.get("TOWLINE_BENCH_DIR", "/var/tmp")))
    stack.callback(shutil.rmtree, base, ignore_errors=True)
    engines = []
    for name, make in (("towline", towlined), ("dockerd", dockerd)):
        if name not in names:
            continue
        engine = make(base / name)
        if engine is None:
            print(f"bench: no {name} here, measuring without it", file=sys.stderr)
            continue
        stack.callback(engine.close)
        engines.append(engine)
    return engines


def _limits(options: argparse.Namespace) -> Limits:
    base = _QUICK if options.quick else _FULL
    return Limits(
        rounds=options.rounds or base.rounds,
        seconds=base.seconds,
        fill_seconds=options.fill_seconds or base.fill_seconds,
        starts=base.starts,
        start_seconds=options.start_seconds or base.start_seconds,
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, few endpoints, 0 and 50 networks; a minute")
    parser.add_argument(
        "--cases", type=_parse_cases, default=_CASES, help="what to measure, of " + ",".join(_MORE_CASES)
    )
    parser.add_argument(
        "--levels", type=_parse_levels, help="numbers of existing networks, ascending (0,200,1000,10000)"
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds per level (40; quick 10)")
    parser.add_argument("--fill-seconds", type=float, default=0.0, help="time an engine has to reach a level (400)")
    parser.add_argument("--start-seconds", type=float, default=0.0, help="time an engine has to get ready (300)")
    parser.add_argument("--engines", default="towline,dockerd,netavark,cni", help="which to run (all)")
    parser.add_argument("--out", type=Path, default=Path("bench/out/bench.json"), help="where the JSON goes")
    options = parser.parse_args(argv)
    options.levels = options.levels or ([0, 50] if options.quick else [0, 200, 1000, 10_000])
    return options


def _parse_cases(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(_MORE_CASES):
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(_MORE_CASES)}")
    return chosen


def _parse_levels(text: str) -> list[int]:
    parts = text.split(",")
    levels = [int(part) for part in parts if part.isdecimal()]
    if len(levels) != len(parts) or levels != sorted(set(levels)):
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers in ascending order, such as 0,200")
    return levels


if __name__ == "__main__":
    sys.exit(main())
