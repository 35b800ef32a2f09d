"""What a simple command costs in processor time, beside a bare Python of the same moment."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.server import answer, serving

ROUNDS = 9
MAIN = "import sys; from towline.cli.main import main; sys.exit(main())"
COSTLY = ("argparse", "asyncio", "dataclasses", "http.client", "json", "msgspec", "re", "socket", "typing", "urllib")
NETWORKS = [{"Name": f"net{number}", "Id": "ab" * 32, "Driver": "bridge", "Scope": "local"} for number in range(20)]
SANDBOXES = [
    {
        "id": "cd" * 32,
        "name": f"box{number}",
        "origin": "run",
        "state": "running",
        "created": "2026-01-02T03:04:05.6Z",
        "started": "2026-01-02T03:04:05.6Z",
        "command": ["sleep", "600"],
        "endpoints": [{"network_name": "web", "ipv4": "10.0.0.2/24", "published": []}],
    }
    for number in range(20)
]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Compiled modules are kept in a folder of the test, as an installed command has them."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(tmp_path / "pyc")}


def seconds(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(("words", "reply"), [("network ls", NETWORKS), ("ls", SANDBOXES)])
def test_a_simple_command_costs_at_most_two_and_a_half_bare_pythons(
    sockets: Path, environment: dict[str, str], words: str, reply: object
) -> None:
    bare = [sys.executable, "-I", "-c", "pass"]
    with serving(sockets / "s", *[answer(reply)] * (ROUNDS + 1)) as daemon:
        ls = [sys.executable, "-c", MAIN, "-H", f"unix://{daemon.path}", *words.split()]
        seconds(bare, environment)
        seconds(ls, environment)
        pairs = [(seconds(bare, environment), seconds(ls, environment)) for _ in range(ROUNDS)]
    python, towline = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert towline <= 2.5 * python, f"{towline * 1000:.1f} ms against {python * 1000:.1f} ms"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("network ls", NETWORKS),
        ("network ls --format {{.Name}}", NETWORKS),
        ("network rm a", {}),
        ("network inspect a", NETWORKS[0]),
        ("network create --subnet 10.0.0.0/24 --gateway 10.0.0.1 a", {"Id": "x"}),
        ("version", {}),
        ("info", {}),
        ("doctor", {"Findings": []}),
        ("ls", SANDBOXES),
        ("ls -q", SANDBOXES),
        ("ls --format {{.Name}}", SANDBOXES),
        ("stop a", {}),
        ("rm -f a", {}),
        ("start a", {}),
        ("run -d --network web,ip=10.0.0.2 -p 80:80 -- sleep 1", {"id": "ab"}),
        ("network connect web a", {}),
        ("network disconnect web a", {}),
    ],
)
def test_simple_commands_import_nothing_costly(sockets: Path, words: str, reply: object) -> None:
    """Nor any other room."""
    show = "import sys; from towline.cli.main import main; main(); print(*sys.modules, file=sys.stderr)"
    with serving(sockets / "s", answer(reply), answer({})) as daemon:
        command = [sys.executable, "-I", "-c", show, "-H", f"unix://{daemon.path}", *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(done.stderr.split())
    assert not imported & set(COSTLY)
    assert not [name for name in imported if name.startswith("towline.") and not name.startswith("towline.cli")]
