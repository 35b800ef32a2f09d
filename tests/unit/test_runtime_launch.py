"""What may be started: hostile values are refused by name before anything is touched; what is allowed arrives whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import towline
from towline.model.errors import InvalidParameter
from towline.runtime.check import check_launch, complete_environment, data_directory, run_directory
from towline.runtime.launch import Launch, decode_launch, read_launch

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
many = st.lists(texts).map(tuple)


def launch(**changes: Any) -> Launch:
    values: dict[str, Any] = {"sandbox": "ab12", "netns": "/n", "hostname": "box", "command": ("true",), "state": "/s"}
    return Launch(**(values | changes))


def values(made: Launch) -> list[object]:
    return [getattr(made, name) for name in Launch.__slots__]


@given(texts, many, many, st.lists(st.tuples(texts, texts)).map(tuple))
def test_a_launch_arrives_as_it_was_sent(
    text: str, command: tuple[str, ...], environment: tuple[str, ...], files: tuple[tuple[str, str], ...]
) -> None:
    more = {"command": command, "environment": environment, "files": files, "sysctls": files[::-1], "hidden": command}
    sent = launch(hostname=text, directory=text, log=text, **more)
    assert values(decode_launch(sent.encode()[10:])) == values(sent)


def test_a_writer_that_dies_in_the_middle_is_noticed() -> None:
    whole = launch().encode()
    for size in range(len(whole)):
        reader, writer = os.pipe()
        os.write(writer, whole[:size])
        os.close(writer)
        assert read_launch(reader) is None
        os.close(reader)


@pytest.mark.parametrize("sandbox", ["", "../x", "a/b", ".", "..", "a\0", "a\n", "é", "a" * 65])
def test_an_id_never_leads_elsewhere(sandbox: str) -> None:
    for directory in (run_directory, data_directory):
        with pytest.raises(InvalidParameter, match="sandbox id .* is not made of 1 to 64 letters and digits"):
            directory("/root", sandbox)
    with pytest.raises(InvalidParameter, match="sandbox id"):
        check_launch(launch(sandbox=sandbox))


def test_a_shim_imports_little() -> None:
    """Each detached sandbox keeps one: what it imports is paid for by every sandbox, at its start and for its life."""
    program = "import sys; sys.path.append(sys.argv[1]); import towline.runtime.shim; print(*sys.modules)"
    root = str(Path(towline.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", program, root]
    modules = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "towline.runtime.life" in modules
    heavy = {"msgspec", "json", "typing", "re", "enum", "signal", "socket", "asyncio", "subprocess", "collections"}
    assert modules & heavy == set()


def test_places() -> None:
    assert run_directory("/run/towline", "ab12") == "/run/towline/sandboxes/ab12"
    assert data_directory("/var/lib/towline", "ab12") == "/var/lib/towline/sandboxes/ab12"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": ()}, "the command is empty: give a program to run after --"),
        ({"command": ("",)}, "the command is empty"),
        ({"command": ("a", "b\0c")}, r"argument 'b\\x00c' contains a NUL byte"),
        ({"command": ("a", "\ud800")}, r"argument '\\ud800' is no valid Unicode"),
        ({"environment": ("A=b\0",)}, r"environment variable 'A=b\\x00' contains a NUL byte"),
        ({"environment": ("A",)}, "environment variable 'A' has no name and value: write KEY=VALUE"),
        ({"environment": ("=b",)}, "environment variable '=b' has no name"),
        ({"directory": "/no/such"}, "directory '/no/such': no such file or directory: create it or choose another"),
        ({"directory": "etc"}, "directory 'etc' is relative: give an absolute path"),
        ({"directory": "/etc/passwd"}, "directory '/etc/passwd' is not a directory"),
        ({"directory": "/etc\0"}, "directory .* contains a NUL byte"),
        ({"hostname": ""}, "hostname '' is not 1 to 64 visible characters"),
        ({"hostname": "a" * 65}, "hostname 'aaa.*' is not 1 to 64"),
        ({"hostname": "é" * 33}, "hostname .* is not 1 to 64"),
        ({"hostname": "a\nb"}, r"hostname 'a\\nb' is not"),
        ({"hostname": "a b"}, "hostname 'a b' is not"),
        ({"files": (("/no/such", "/etc/hosts"),)}, "file '/no/such': no such file .*: its generated file is missing"),
        ({"files": (("/etc", "/etc/hosts"),)}, "file '/etc' is no regular file"),
        ({"files": (("/a\nb", "/etc/hosts"),)}, r"file '/a\\nb' is not an absolute path in one line"),
        ({"files": (("etc/hosts", "/etc/hosts"),)}, "file 'etc/hosts' is not an absolute path"),
        ({"files": (("/etc/passwd", "/etc/no.such"),)}, "file '/etc/no.such': .*: the host has no such file .*create"),
    ],
)
def test_hostile_launches_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message) as caught:
        check_launch(launch(**changes))
    assert str(caught.value).startswith("sandbox ab12: ")
    assert len(str(caught.value)) < 300


def test_a_sound_launch_passes(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("")
    files = ((str(tmp_path / "hosts"), "/etc/passwd"),)
    check_launch(launch(environment=("A=", "B=c=d"), directory=str(tmp_path), files=files, hostname="a.b-c_d"))


def test_environment_is_completed_not_changed() -> None:
    assert complete_environment(("A=b", "PATH=/x"), "box") == ("HOSTNAME=box", "A=b", "PATH=/x")
    assert complete_environment((), "box")[0].startswith("PATH=/usr/local/sbin:")
