"""Messages about VXLAN devices and rows: what is malformed is nothing, and no exception."""

from __future__ import annotations

import random

import pytest

from towline.kernel.contract import ELSEWHERE, VxlanState
from towline.kernel.netlink import Part, attr
from towline.kernel.rows_notice import device_touched
from towline.kernel.vxlan_codec import (
    AF_BRIDGE,
    NDMSG,
    NTF_MASTER,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    RTM_DELNEIGH,
    RTM_NEWNEIGH,
    Fdb,
    Neighbour,
    delete_fdb,
    link_of,
    parse_row,
    put_fdb,
    put_neighbour,
)
from towline.kernel.vxlan_info import local_option, parse_vxlan, vxlan_options
from towline.kernel.vxlan_known import KnownRows
from towline.model.desired import Vxlan

MAC = "02:00:00:00:00:0a"
FDB = Fdb(7, MAC, "192.0.2.2")
REACHABLE = 0x02


@pytest.mark.parametrize("row", [FDB, Fdb(7, MAC, "2001:db8::2")])
def test_an_fdb_row_is_read_as_it_was_written(row: Fdb) -> None:
    assert parse_row(put_fdb(row).body) == row
    assert parse_row(delete_fdb(row).body, gone=True) == row


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_a_neighbour_row_is_read_as_it_was_written(address: str) -> None:
    row = Neighbour(7, address, MAC)
    assert parse_row(put_neighbour(row).body) == row


@pytest.mark.parametrize("local", ["192.0.2.1", "2001:db8::1"])
def test_a_devices_options_are_read_as_they_were_written(local: str) -> None:
    vxlan = Vxlan("vx-a", "", MAC, 4097, 4789, local, 1450, "br-a")
    assert parse_vxlan(vxlan_options(vxlan)) == VxlanState(4097, 4789, local)


@pytest.mark.parametrize(
    ("kind", "value"), [(7, b"\1"), (11, b"\0"), (13, b"\1"), (14, b"\1"), (18, b"\0"), (25, b"\1"), (2, bytes(4))]
)
def test_any_other_option_is_seen(kind: int, value: bytes) -> None:
    vxlan = Vxlan("vx-a", "", MAC, 4097, 4789, "192.0.2.1", 1450, "br-a")
    assert not parse_vxlan(vxlan_options(vxlan) + attr(kind, value)).plain


def row(family: int, state: int, flags: int, *attrs: bytes) -> bytes:
    return NDMSG.pack(family, 7, state, flags, 0) + b"".join(attrs)


LLADDR, DST4 = attr(2, bytes.fromhex(MAC.replace(":", ""))), attr(1, bytes((192, 0, 2, 2)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (row(AF_BRIDGE, NUD_NOARP, NTF_SELF, LLADDR, DST4), FDB),
        (row(AF_BRIDGE, NUD_PERMANENT, NTF_SELF, LLADDR), FDB._replace(vtep=ELSEWHERE)),
        (row(AF_BRIDGE, NUD_PERMANENT, NTF_SELF, LLADDR, DST4, attr(6, b"\0\t")), FDB._replace(vtep=ELSEWHERE)),
        (row(AF_BRIDGE, NUD_PERMANENT, NTF_SELF, LLADDR, DST4, attr(7, bytes(4))), FDB._replace(vtep=ELSEWHERE)),
        (row(AF_BRIDGE, REACHABLE, NTF_SELF, LLADDR, DST4), None),
        (row(AF_BRIDGE, NUD_PERMANENT, NTF_MASTER, LLADDR), None),
        (row(AF_BRIDGE, NUD_PERMANENT, NTF_SELF, attr(2, bytes(5)), DST4), None),
        (row(2, REACHABLE, 0, LLADDR, DST4), None),
        (row(2, NUD_PERMANENT, 0, LLADDR), None),
        (row(2, NUD_PERMANENT, 0, LLADDR, attr(1, bytes(3))), None),
        (row(99, NUD_PERMANENT, 0, LLADDR, DST4), None),
        (row(2, NUD_PERMANENT, 0, DST4), Neighbour(7, "192.0.2.2", "")),
        (b"", None),
        (bytes(11), None),
    ],
)
def test_rows(body: bytes, expected: Fdb | Neighbour | None) -> None:
    assert parse_row(body) == expected


def test_noise_is_no_exception() -> None:
    noise = random.Random(1)
    known = KnownRows()
    known.learn(7, "vx-a")
    sound = [put_fdb(FDB).body, put_neighbour(Neighbour(7, "fd00::2", MAC)).body]
    for _ in range(5000):
        data = bytearray(noise.choice(sound))
        for _ in range(noise.randrange(4)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        body = bytes(data[: noise.randrange(len(data) + 1)])
        for kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
            assert device_touched(Part(kind, 0, 0, 0, body), known) in ("", "vx-a")
        link_of(body)
        parse_vxlan(body)


@pytest.mark.parametrize("address", ["", "x", "10.0.0", "::g", "192.0.2.1/24"])
def test_what_is_no_address_is_refused(address: str) -> None:
    for build in (
        lambda: local_option(address),
        lambda: put_fdb(Fdb(7, MAC, address)),
        lambda: put_neighbour(Neighbour(7, address, MAC)),
    ):
        with pytest.raises(ValueError, match="not an address"):
            build()


def test_whose_change_it_was() -> None:
    known = KnownRows()
    known.learn(7, "vx-a", [FDB, Fdb(7, "00:00:00:00:00:00", "192.0.2.9"), Neighbour(7, "10.0.0.2", MAC)])
    assert not known.drift(FDB, gone=False)
    assert known.drift(FDB, gone=True)
    assert known.drift(FDB._replace(vtep="192.0.2.3"), gone=False)
    assert known.drift(FDB._replace(mac="02:00:00:00:00:99"), gone=False)
    assert not known.drift(FDB._replace(mac="02:00:00:00:00:99"), gone=True)
    assert known.drift(Fdb(7, "00:00:00:00:00:00", "192.0.2.9"), gone=False)
    assert not known.drift(Neighbour(7, "10.0.0.2", MAC), gone=False)
    assert not known.drift(FDB._replace(link=8), gone=True)
    known.learn(9, "vx-a")
    assert not known.drift(FDB, gone=True)
    known.vanished(7)
    assert known.device(9) is not None
    known.forget("vx-a")
    assert known.device(9) is None
