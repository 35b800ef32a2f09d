"""`towline cluster backup`, `restore` and `managers`, against canned answers."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import EMPTY, answer, run

Capture = pytest.CaptureFixture[str]
_HEADER = json.dumps({"towline-backup": 1, "cluster": "c" * 25, "records": 1}).encode() + b'\n["a","b"]\n'
BACKUP = _HEADER + json.dumps({"sha256": hashlib.sha256(_HEADER).hexdigest()}).encode() + b"\n"


def blob(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def test_a_backup_is_its_owners_alone_and_replaces_one_that_is_there(
    serve: Serve, capsys: Capture, tmp_path: Path
) -> None:
    file = tmp_path / "a.backup"
    file.write_text("old")
    file.chmod(0o644)
    assert run(serve(blob(BACKUP)), "cluster", "backup", str(file)) == 0
    assert file.read_bytes() == BACKUP
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"1 records of cluster {'c' * 25}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("a*")] == ["a.backup"]


@pytest.mark.parametrize("linked", [False, True])
def test_who_waits_where_it_is_written_gets_nothing(serve: Serve, tmp_path: Path, *, linked: bool) -> None:
    file, part, stolen = tmp_path / "a.backup", tmp_path / "a.backup.part", tmp_path / "stolen"
    stolen.touch(mode=0o644)
    (part.symlink_to if linked else part.hardlink_to)(stolen)
    assert run(serve(blob(BACKUP)), "cluster", "backup", str(file)) == 0
    assert stolen.read_bytes() == b""
    assert not file.is_symlink()
    assert file.read_bytes() == BACKUP


@pytest.mark.parametrize("sent", [b"", b"{}", BACKUP[:-9], BACKUP.replace(b'"b"', b'"d"')])
def test_what_is_not_whole_is_not_kept(serve: Serve, capsys: Capture, tmp_path: Path, sent: bytes) -> None:
    file = tmp_path / "a.backup"
    file.write_text("old")
    assert run(serve(blob(sent)), "cluster", "backup", str(file)) != 0
    assert file.read_text() == "old"
    assert "what the daemon sent is" in capsys.readouterr().err


def test_a_restore_sends_the_file_as_it_is(serve: Serve, capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    file.write_bytes(BACKUP)
    daemon = serve(answer({"node": "n" * 25}))
    assert run(daemon, "cluster", "restore", "--advertise-addr", "192.0.2.1", "--force", str(file)) == 0
    assert daemon.requests[0].line == "POST /towline/v1/cluster/restore?advertise-addr=192.0.2.1&force=1 HTTP/1.1"
    assert daemon.requests[0].body == BACKUP
    assert daemon.requests[0].headers["content-type"] == "application/octet-stream"
    assert f"({'n' * 25}) is the only manager of cluster {'c' * 25}" in capsys.readouterr().out


def test_a_file_that_is_none_is_not_sent(serve: Serve, capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    daemon = serve()
    assert run(daemon, "cluster", "restore", str(file)) == 1
    file.write_bytes(BACKUP[:-4])
    assert run(daemon, "cluster", "restore", str(file)) == 1
    file.write_bytes(b"anything")
    assert run(daemon, "cluster", "restore", str(file)) == 2
    assert not daemon.requests
    said = capsys.readouterr().err
    assert "cannot read" in said
    assert "its checksum is another" in said
    assert "is no backup of a cluster" in said


def test_managers(serve: Serve) -> None:
    daemon = serve(EMPTY)
    assert run(daemon, "cluster", "managers", "192.0.2.1", "host2:2377") == 0
    assert daemon.requests[0].json == {"managers": ["192.0.2.1", "host2:2377"]}
