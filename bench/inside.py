"""Running `bench.load` in a namespace. It gets the network namespace only; files and processes are the machine's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")


class LoadFailed(Exception):
    """The message has its last words."""


def run_load(namespace: str, *words: str, timeout: float = 60.0) -> list[float]:
    """The figures that a client prints. namespace: a path."""
    done = subprocess.run(_command(namespace, *words), cwd=_ROOT, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise LoadFailed(f"{' '.join(words)}: {done.stderr.strip()[-300:]}")
    return [float(figure) for figure in json.loads(done.stdout)]


def start_server(namespace: str) -> subprocess.Popen[str]:
    """A server that is ready. The caller kills it."""
    server = subprocess.Popen(_command(namespace, "serve"), cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    if server.stdout.readline() != "ready\n":
        raise LoadFailed(f"the server in {namespace} did not start")
    return server


def start_reacher(namespace: str) -> subprocess.Popen[str]:
    """`bench.load.reach`, by its streams. The caller kills it."""
    command = _command(namespace, "reach")
    return subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _command(namespace: str, *words: str) -> list[str]:
    return [*_DIE_WITH_US, "nsenter", f"--net={namespace}", "--", sys.executable, "-S", "-m", "bench.load", *words]
