"""The netlink socket against the kernel."""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.support.netns import Namespace
from towline.kernel import rtnl_codec as codec
from towline.kernel.netlink import NLM_F_CREATE, Ack, Message, NetlinkSocket, Overrun, attr

NETFILTER = 12
_GENMSG = struct.Struct(">BBH")
BEGIN = Message(16, 0, _GENMSG.pack(0, 0, 10))
END = Message(17, 0, _GENMSG.pack(0, 0, 10))


def new_table(name: str) -> Message:
    return Message(10 << 8, NLM_F_CREATE, _GENMSG.pack(1, 0, 0) + attr(1, name.encode() + b"\0"))


@pytest.fixture
def route(ns: Namespace) -> Iterator[NetlinkSocket]:
    made = ns.call(NetlinkSocket, 0)
    yield made
    made.close()


@pytest.fixture
def netfilter(ns: Namespace) -> Iterator[NetlinkSocket]:
    made = ns.call(NetlinkSocket, NETFILTER)
    yield made
    made.close()


def test_every_message_gets_its_own_acknowledgement(route: NetlinkSocket) -> None:
    messages = [
        codec.new_bridge(0, "a", ""),
        codec.new_bridge(0, "a", ""),
        codec.new_bridge(0, "n" * 16, ""),
        codec.new_bridge(0, "b", ""),
    ]
    acks = route.transact(messages)
    assert [ack.errno for ack in acks] == [0, errno.EEXIST, errno.ERANGE, 0]
    assert acks[2].text == "Attribute failed policy validation, attribute at offset 32"
    assert route.transact([]) == []


def test_more_than_one_send_can_carry(route: NetlinkSocket) -> None:
    messages = [codec.get_link("lo"), *(codec.get_link(f"nosuch{i}") for i in range(10_000)), codec.get_link("lo")]
    acks = route.transact(messages)
    assert [ack.errno for ack in acks] == [0, *[errno.ENODEV] * 10_000, 0]


def test_sequence_numbers_start_again(route: NetlinkSocket) -> None:
    route._sequence = (1 << 32) - 3
    assert [ack.errno for ack in route.transact([codec.get_link("lo")] * 8)] == [0] * 8
    assert route.get(codec.get_link("lo"))


def test_answers_to_an_abandoned_request_are_dropped(route: NetlinkSocket) -> None:
    route._socket.send(struct.pack("=IHHII", 32, 18, 5, 77_000, 0) + codec.IFINFOMSG.pack(0, 0, 99, 0, 0))
    assert route.transact([codec.get_link("lo")]) == [Ack(0, "")]


def test_lost_answers_are_an_error_of_their_own(route: NetlinkSocket) -> None:
    route._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with pytest.raises(Overrun) as caught:
        route.transact([codec.get_link("nosuch")] * 1000)
    assert caught.value.errno == errno.ENOBUFS


def test_a_dump_ends_with_the_last_part(ns: Namespace, route: NetlinkSocket) -> None:
    route.transact([codec.new_bridge(0, f"br{i}", "") for i in range(60)])
    parts = route.dump(codec.get_link())
    names = {info.link.name for _, body in parts if (info := codec.parse_link(body))}
    assert {kind for kind, _ in parts} == {codec.RTM_NEWLINK}
    assert names == {"lo", *(f"br{i}" for i in range(60))}


def test_a_refused_dump_has_the_kernels_reason(route: NetlinkSocket) -> None:
    with pytest.raises(OSError, match="Invalid header for link dump") as caught:
        route.dump(Message(codec.RTM_GETLINK, 0, b"abc"))
    assert caught.value.errno == errno.EINVAL


def test_a_transaction_is_all_or_nothing(ns: Namespace, netfilter: NetlinkSocket) -> None:
    acks = netfilter.batch(BEGIN, [new_table("one"), new_table("x" * 300), new_table("two")], END)
    assert [ack.errno for ack in acks] == [0, errno.ERANGE, 0]
    assert ns.run(["nft", "list", "tables"]) == ""
    assert netfilter.batch(BEGIN, [new_table("one"), new_table("two")], END) == [Ack(0, "")] * 2
    assert ns.run(["nft", "list", "tables"]).split("\n")[:-1] == ["table inet one", "table inet two"]


def test_a_transaction_refused_as_a_whole_raises(netfilter: NetlinkSocket) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        netfilter.batch(Message(16, 0, _GENMSG.pack(0, 0, 99)), [new_table("one")], END)
    assert netfilter.batch(BEGIN, [new_table("one")], END) == [Ack(0, "")]
