"""A manager's etcd without one: its command line, its log, and why it ended."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import msgspec
import pytest

from towline.cluster.member_flags import MemberConfig, Tls, command_line
from towline.cluster.member_log import LARGEST, MemberLog, removed, why_it_ended
from towline.cluster.member_verbs import Status

CONFIG = MemberConfig("n1", "/data/cluster", "192.0.2.1", 2378, 2379, Tls("/ca", "/cert", "/key"))

GONE = "the member has been permanently removed"


def flags(command: list[str]) -> dict[str, str]:
    return dict(each.removeprefix("--").split("=", 1) for each in command[1:])


def test_clients_are_on_the_loopback_and_everybody_shows_a_certificate() -> None:
    given = flags(command_line(CONFIG, "resume"))
    assert given["listen-client-urls"] == given["advertise-client-urls"] == "https://127.0.0.1:2379"
    assert given["listen-peer-urls"] == given["initial-advertise-peer-urls"] == "https://192.0.2.1:2378"
    assert given["data-dir"] == "/data/cluster/etcd"
    for prefix in ("", "peer-"):
        assert given[f"{prefix}client-cert-auth"] == "true"
        assert [given[f"{prefix}{name}-file"] for name in ("cert", "key", "trusted-ca")] == ["/cert", "/key", "/ca"]
    assert not {"initial-cluster", "initial-cluster-state", "force-new-cluster"} & set(given)


def test_how_it_begins() -> None:
    six = msgspec.structs.replace(CONFIG, advertise="2001:db8::1")
    new = flags(command_line(six, "new", token="word"))
    assert new["initial-cluster"] == "n1=https://[2001:db8::1]:2378"
    assert (new["initial-cluster-state"], new["initial-cluster-token"]) == ("new", "word")
    join = flags(command_line(CONFIG, "join", {"n2": "https://192.0.2.2:2378", "a": "https://192.0.2.3:2378"}))
    assert join["initial-cluster-state"] == "existing"
    assert join["initial-cluster"] == "a=https://192.0.2.3:2378,n1=https://192.0.2.1:2378,n2=https://192.0.2.2:2378"
    assert flags(command_line(CONFIG, "force-new"))["force-new-cluster"] == "true"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ('{"msg":"failed","error":"write /x: no space left on device"}', 1, "no space left on the disk of /d"),
        ('{"error":"listen tcp 127.0.0.1:2379: bind: address already in use"}', 1, "port taken: 127.0.0.1:2379"),
        ('{"error":"listen tcp 192.0.2.1:1: bind: cannot assign requested address"}', 1, "is not an address of this"),
        (f'{{"msg":"server error","error":"{GONE} from the cluster"}}', 0, "this member was removed"),
        ("panic: walpb: crc mismatch", 2, "is damaged"),
        ('{"error":"open /tls/etcd.pem: no such file or directory"}', 1, "its certificate file /tls/etcd.pem"),
        ('{"level":"fatal","msg":"of a new kind","error":"and why"}', 1, "of a new kind: and why"),
        ("panic: of a new kind", 2, "panic: of a new kind"),
        ("cannot run etcd: permission denied", 1, "no permission"),
        ("cannot run etcd: exec format error", 1, "cannot run etcd: exec format error"),
        ('{"level":"warn","msg":"slow"}\n{"level":"fatal"', -9, "ended by signal 9"),
        ("", 3, "it ended with status 3"),
    ],
)  # fmt: skip
def test_why_it_ended_is_named(said: str, code: int, words: str) -> None:
    assert words in why_it_ended(said.splitlines(), code, "/d")


def test_only_our_own_removal_is_one() -> None:
    other = '{"msg":"peer became inactive","error":"failed to dial x (the member has been permanently removed)"}'
    assert not removed(why_it_ended([other], 1, "/d"))
    said = '{"msg":"server error","error":"the member has been permanently removed from the cluster"}'
    assert removed(why_it_ended([said, other], 1, "/d"))


async def test_the_log_is_bounded_and_private(tmp_path: Path) -> None:
    log = MemberLog(str(tmp_path / "etcd.log"))
    reader = asyncio.StreamReader(limit=1 << 20)
    following = asyncio.create_task(log.follow(reader))
    for number in range(60):
        reader.feed_data(b"x" * 65_535 + b"\n" + b"line %d\n" % number)
        await asyncio.sleep(0)
    reader.feed_data(b"last words")
    reader.feed_eof()
    await following
    assert list(log.said)[-2:] == ["line 59", "last words"]
    assert max(map(len, log.said)) <= 4096
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == ["etcd.log", "etcd.log.1"]
    for each in files:
        assert each.stat().st_size <= LARGEST + 65_536
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert files[0].read_bytes().endswith(b"last words")


async def test_a_log_that_cannot_be_written_still_tells(tmp_path: Path) -> None:
    log = MemberLog(str(tmp_path / "none" / "etcd.log"))
    reader = asyncio.StreamReader()
    reader.feed_data(b"panic: no space left on device\n")
    reader.feed_eof()
    await log.follow(reader)
    assert "no space left" in why_it_ended(list(log.said), 2, "/d")


def test_problems_have_a_remedy() -> None:
    assert Status(leader=1).problem == ""
    assert "more than half" in Status().problem
    assert "must be compacted" in Status(leader=1, errors=("memberID:1 alarm:NOSPACE ",)).problem
    assert Status(leader=1, errors=("something else",)).problem == "something else"
