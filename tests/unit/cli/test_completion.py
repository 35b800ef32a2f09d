"""The completion scripts: the shipped files are what the command prints; bash's is run for real."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from towline.cli.catalog import COMMANDS
from towline.cli.completion import SHELLS, script

SHIPPED = Path(__file__).resolve().parents[3] / "contrib" / "completion"
FILES = {"bash": "towline.bash", "zsh": "_towline", "fish": "towline.fish"}


@pytest.mark.parametrize("shell", SHELLS)
def test_shipped_scripts_are_current(shell: str) -> None:
    """If this fails: `towline completion SHELL > contrib/completion/FILE`."""
    assert (SHIPPED / FILES[shell]).read_text() == script(shell)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_flag_is_offered(shell: str) -> None:
    text = script(shell)
    for command in COMMANDS:
        assert command.path.rpartition(" ")[2] in text
        assert all(flag.long in text for flag in command.flags)


def complete(tmp_path: Path, *words: str, networks: str = "web\nweb-2\nback end\n") -> list[str]:
    """What bash offers for the last of `words`, with a `towline` that lists these networks and two sandboxes."""
    (tmp_path / "network").write_text(networks)
    (tmp_path / "ls").write_text("shop\nw1\n")
    lines = [
        f"towline() {{ cat {tmp_path}/$1; }}",
        script("bash"),
        f"COMP_WORDS=({' '.join(f'{word!r}' for word in words)})",
        f"COMP_CWORD={len(words) - 1}",
        '_towline; printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        ["bash", "--norc"], input="\n".join(lines), capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (["towline", "net"], ["network"]),
        (["towline", "network", ""], ["create", "ls", "inspect", "rm", "prune", "connect", "disconnect"]),
        (["towline", "-H", "network", "network", "p"], ["prune"]),
        (["towline", "network", "rm", "w"], ["web", "web-2"]),
        (["towline", "network", "remove", "b"], ["back\\ end"]),
        (["towline", "network", "create", "--la"], ["--label"]),
        (["towline", "network", "create", "--config-from", "w"], ["web", "web-2"]),
        (["towline", "network", "create", "-d", ""], ["bridge", "host", "null", "overlay"]),
        (["towline", "network", "create", "--label", "w"], [""]),
        (["towline", "doctor", "--f"], ["--fix"]),
        (["towline", "rm", ""], ["shop", "w1"]),
        (["towline", "remove", "s"], ["shop"]),
        (["towline", "exec", "s"], ["shop"]),
        (["towline", "network", "connect", "w"], ["web", "web-2", "w1"]),
        (["towline", "network", "connect", "--link", "w"], ["w1"]),
        (["towline", "run", "--network", "b"], ["back\\ end"]),
        (["towline", "run", "--restart", "u"], ["unless-stopped"]),
        (["towline", "completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_bash_offers(tmp_path: Path, words: list[str], want: list[str]) -> None:
    assert complete(tmp_path, *words) == want


def test_bash_offers_programs_to_run(tmp_path: Path) -> None:
    assert set(complete(tmp_path, "towline", "run", "--rm", "basenam")) == {"basename"}


def test_a_networks_name_is_never_run(tmp_path: Path) -> None:
    hostile = "$(touch pwned)\n`touch pwned`\nx;touch pwned\n"
    assert complete(tmp_path, "towline", "network", "rm", "", networks=hostile) == [
        "\\$\\(touch\\ pwned\\)",
        "\\`touch\\ pwned\\`",
        "x\\;touch\\ pwned",
    ]
    assert not (tmp_path / "pwned").exists()
