"""What encryption costs: the same two hosts talk through an encrypted network, a plain one, and WireGuard by itself.

One implementation of WireGuard encrypts both (the kernel's, or wireguard-go); the bare one is set up by `ip` and `wg`,
without VXLAN, bridges and rules of networks.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from statistics import median

from bench import load
from bench.boxes import Box
from bench.inside import LoadFailed, run_load, start_server
from bench.pairs import NETWORK, Pair, create_overlay
from bench.peers import OURS, Engine, towlined
from bench.recorder import Recorder, progress

SAFE = "safe"
_ENCRYPTED, _PLAIN, _BARE = "encrypted overlay", "plain overlay", "WireGuard by itself"
_STREAM, _REQUESTS = "TCP", "TCP requests"
_LINKS = ("rawbench-a", "rawbench-b")
_INSIDE = ("10.99.0.1", "10.99.0.2")
_OUTSIDE = ("192.0.2.1", "192.0.2.2")
_PORT = "51900"
_MTU = "1440"
_PATIENCE = 10.0


def measure(engines: Sequence[Engine], recorder: Recorder, *, rounds: int, seconds: float) -> None:
    """rounds of everything, in turns. Nothing where our engine does not take part."""
    ours = next((engine for engine in engines if engine.name == OURS), None)
    if ours is None:
        return
    progress("two hosts with an encrypted network, a plain one, and WireGuard by itself")
    with contextlib.ExitStack() as stack:
        ways = _ways(Pair(towlined, ours.directory, stack), stack)
        for number in range(rounds + 1):
            for name, client, address in ways:
                length = seconds if number else 0.2
                stream = run_load(client, "throughput", address, str(load.STREAM), str(length))[0]
                requests = run_load(client, "transactions", address, str(load.ECHO), str(length))[0]
                if number:
                    recorder.add(f"{_STREAM}, {name}", 0, OURS, stream, "Gbit/s")
                    recorder.add(f"{_REQUESTS}, {name}", 0, OURS, requests, "1/s")
            ways.reverse()
    for kind in (_STREAM, _REQUESTS):
        medians = {name: median(recorder.samples[f"{kind}, {name}", 0][OURS]) for name, _, _ in ways}
        for other in (_BARE, _PLAIN):
            share = medians[_ENCRYPTED] / medians[other]
            recorder.note(f"{kind}, encrypted overlay against {other}: {share:.2f} (medians of rounds in turns)")


def _ways(pair: Pair, stack: contextlib.ExitStack) -> list[tuple[str, str, str]]:
    here, there = pair.hosts
    create_overlay(here.client, SAFE, encrypted="")
    found = []
    for name, network in ((_ENCRYPTED, SAFE), (_PLAIN, NETWORK)):
        here.run([Box(f"{network}-client", network)])
        there.run([Box(f"{network}-server", network)])
        stack.callback(_end, start_server(there.namespace(f"{network}-server")))
        found.append((name, here.namespace(f"{network}-client"), there.address(f"{network}-server", network)))
    found.append((_BARE, *_bare(pair, stack)))
    return found


def _bare(pair: Pair, stack: contextlib.ExitStack) -> tuple[str, str]:
    """Path of the client's namespace, which is a host's own; address of the server in the other host's."""
    keys = [_run(["wg", "genkey"]) for _ in _LINKS]
    for side, engine in enumerate(pair.engines):
        _bare_end(engine, side, keys, stack)
    client, server = (f"/proc/{engine.sandbox.first}/ns/net" for engine in pair.engines)
    stack.callback(_end, start_server(server))
    return client, _INSIDE[1]


def _bare_end(engine: Engine, side: int, keys: Sequence[str], stack: contextlib.ExitStack) -> None:
    link, other = _LINKS[side], 1 - side

    def inside(*words: str, text: str = "") -> str:
        return _run(engine.sandbox.entering(list(words)), text)

    try:
        inside("ip", "link", "add", link, "type", "wireguard")
    except LoadFailed:
        program = engine.sandbox.spawn(["wireguard-go", "-f", link], engine.directory / "wireguard-go.log")
        stack.callback(program.signal, 9)
        _until_it_serves(lambda: inside("wg", "show", link))
    inside("wg", "set", link, "listen-port", _PORT, "private-key", "/dev/stdin", text=keys[side])
    endpoint = ["endpoint", f"{_OUTSIDE[other]}:{_PORT}", "allowed-ips", f"{_INSIDE[other]}/32"]
    inside("wg", "set", link, "peer", _run(["wg", "pubkey"], keys[other]), *endpoint)
    inside("ip", "address", "add", f"{_INSIDE[side]}/24", "dev", link)
    inside("ip", "link", "set", link, "mtu", _MTU, "up")


def _until_it_serves(ask: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            ask()
            return
        except LoadFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _run(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise LoadFailed(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
