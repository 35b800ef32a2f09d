"""Bytes of records: what is written, what is refused, and how an older version would be read."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.store_conformance import block, endpoint, network, peer, service
from towline.model.errors import StoreCorrupt, StoreError
from towline.model.network import Network
from towline.store import codec


@pytest.mark.parametrize(
    "record", [network(1), endpoint(1, network(1)), peer(1, "n"), block(1, "n"), service(1), "text", "", 7]
)
def test_round_trip(record: codec.Stored) -> None:
    kind = codec.KINDS[type(record)]
    assert codec.decode(kind, "id", codec.encode("id", record)) == record


def test_version_1_stays_readable() -> None:
    """Bytes as the first release wrote them. If this fails, a new codec version is due, not new bytes here."""
    head = bytes.fromhex("01454bf211")
    payload = (
        b'{"id":"n","name":"web","created":5,"driver":"bridge","phase":"ready","pools":[{"subnet":"10.0.0.0/24"}]}'
    )
    record = codec.decode("network", "n", head + payload)
    assert isinstance(record, Network)
    assert (record.name, record.phase, record.pools[0].subnet) == ("web", "ready", "10.0.0.0/24")
    assert codec.encode("n", record) == head + payload


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    value = bytearray(codec.encode("n", network(1)))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StoreCorrupt, match="record 'network n' fails its checksum"):
        codec.decode("network", "n", bytes(value))


@pytest.mark.parametrize(("kind", "record_id"), [("endpoint", "n"), ("network", "m")])
def test_a_record_under_another_key_is_noticed(kind: str, record_id: str) -> None:
    with pytest.raises(StoreCorrupt):
        codec.decode(kind, record_id, codec.encode("n", network(1)))


@pytest.mark.parametrize("length", range(6))
def test_a_record_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(StoreCorrupt):
        codec.decode("network", "n", codec.encode("n", network(1))[:length])


def sealed(version: int, kind: str, payload: bytes) -> bytes:
    return struct.pack(">BI", version, crc32(payload, crc32(f"{version}\0{kind}\0n\0".encode()))) + payload


@pytest.mark.parametrize(("kind", "payload"), [("network", b"{"), ("network", b'{"id":"n"}'), ("sandbox", b"{}")])
def test_a_sound_checksum_over_an_undecodable_payload(kind: str, payload: bytes) -> None:
    with pytest.raises(StoreCorrupt, match=f"record '{kind} n' cannot be decoded"):
        codec.decode(kind, "n", sealed(1, kind, payload))


def test_another_release_s_version_is_refused_and_is_not_damage() -> None:
    with pytest.raises(
        StoreError, match=r"record 'network n' has encoding version 9, this release reads \[1\]"
    ) as caught:
        codec.decode("network", "n", sealed(9, "network", b"{}"))
    assert not isinstance(caught.value, StoreCorrupt)


def test_an_older_version_is_read_by_its_own_reader() -> None:
    def read_v0(kind: str, payload: bytes) -> codec.Stored:
        assert kind == "network"
        name, driver = payload.decode().split(",")
        return Network(id="n", name=name, created=0, driver=driver)

    readers = {0: read_v0, **codec.READERS}
    record = codec.decode("network", "n", sealed(0, "network", b"web,bridge"), readers)
    assert record == Network(id="n", name="web", created=0, driver="bridge")
