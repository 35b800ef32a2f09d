"""Messages of sandboxes and flows, and announcement frames: what is encoded parses back, no input breaks a parser."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from towline.kernel import announce, veth_codec
from towline.kernel import conntrack_codec as conntrack
from towline.kernel import rtnl_codec as rtnl
from towline.kernel.netlink import attr, iter_attrs, nest, parse_attrs
from towline.model.desired import Interface

NAMES = st.text("abcdefgh0123456789-.", min_size=1, max_size=15).filter(lambda name: name not in (".", ".."))
MACS = st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":"))
INDEXES = st.integers(1, 2**31 - 1)
V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
PACKED = st.one_of(V4, V6).map(lambda address: address.packed)


def decoded(kind: type, body: bytes, message_type: int) -> object:
    """As pyroute2 understands it."""
    message = kind(struct.pack("=IHHII", 16 + len(body), message_type, 0, 0, 0) + body)
    message.decode()
    return message


@given(NAMES, NAMES, MACS, st.integers(0, 65535), INDEXES, INDEXES, st.integers(3, 1000))
def test_a_new_pair_is_what_pyroute2_reads(
    host: str, name: str, mac: str, mtu: int, index: int, bridge: int, fd: int
) -> None:
    wanted = Interface(host, "alias", "br", name, mac, mtu)
    message = veth_codec.new_veth(index, wanted, bridge, fd)
    seen: ifinfmsg = decoded(ifinfmsg, message.body, message.type)  # type: ignore[assignment]
    assert (seen["index"], seen["flags"] & 1, seen.get_attr("IFLA_IFNAME")) == (index, 1, host)
    assert (seen.get_attr("IFLA_MASTER"), seen.get_attr("IFLA_MTU")) == (bridge, mtu or None)
    info = seen.get_attr("IFLA_LINKINFO")
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    assert (peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_ADDRESS")) == (name, mac)
    assert (peer.get_attr("IFLA_MTU"), peer.get_attr("IFLA_NET_NS_FD")) == (mtu or None, fd)
    assert (peer["flags"], peer["index"]) == (0, 0)


def test_a_changed_port_is_what_pyroute2_reads() -> None:
    message = veth_codec.change_port(7, rtnl.alias_attr("towline:endpoint:7"))
    seen: ifinfmsg = decoded(ifinfmsg, message.body, message.type)  # type: ignore[assignment]
    info = seen.get_attr("IFLA_LINKINFO")
    assert (seen["index"], seen.get_attr("IFLA_IFALIAS")) == (7, "towline:endpoint:7")
    assert info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    assert info.get_attr("IFLA_INFO_SLAVE_DATA").get_attr("IFLA_BRPORT_MODE") == 1


@st.composite
def routes(draw: st.DrawFn) -> tuple[str, str]:
    version = draw(st.sampled_from([4, 6]))
    prefix = draw(st.integers(0, 32 if version == 4 else 128))
    network = ip_interface(f"{draw(st.ip_addresses(v=version))}/{prefix}").network
    return str(network), draw(st.one_of(st.just(""), st.ip_addresses(v=version).map(str)))


@given(routes(), INDEXES, st.integers(0, 2**32 - 1))
def test_routes_parse_back_and_are_what_pyroute2_reads(route: tuple[str, str], index: int, metric: int) -> None:
    destination, gateway = route
    message = rtnl.add_route(index, destination, gateway, metric)
    found = rtnl.parse_route(message.body)
    assert found is not None
    prefix = "" if destination.endswith("/0") else destination
    # Compared as addresses: inet_ntop and ipaddress write IPv4-mapped ones differently.
    assert [ip_network(text) for text in filter(None, (found.prefix, prefix))].count(ip_network(destination)) in (0, 2)
    assert (found.prefix == "", _address(found.gateway), found.link) == (prefix == "", _address(gateway), index)
    assert (found.metric, found.on_link, found.protocol) == (metric, not gateway, rtnl.RTPROT_TOWLINE)
    seen: rtmsg = decoded(rtmsg, message.body, message.type)  # type: ignore[assignment]
    assert (seen["table"], seen["proto"], seen["type"], seen.get_attr("RTA_OIF")) == (254, 116, 1, index)
    assert (_address(seen.get_attr("RTA_GATEWAY")), seen.get_attr("RTA_PRIORITY") or 0) == (_address(gateway), metric)
    deleted = rtnl.parse_route(rtnl.delete_route(index, destination, gateway, metric).body)
    assert deleted == found._replace(protocol=0)


def _address(text: str | None) -> object:
    return ip_address(text) if text else None


@given(MACS)
def test_link_local_addresses(mac: str) -> None:
    address = ip_interface(veth_codec.link_local(mac))
    assert address.ip.is_link_local
    assert address.network.prefixlen == 64
    host = address.ip.packed[8:]
    assert (host[3:5], host[5:].hex(":"), host[1:3].hex(":")) == (b"\xff\xfe", mac[9:], mac[3:8])
    assert host[0] ^ int(mac[:2], 16) == 2


def test_a_link_local_address_from_rfc_4291() -> None:
    assert veth_codec.link_local("34:56:78:9a:bc:de") == "fe80::3656:78ff:fe9a:bcde/64"


@given(st.binary(max_size=400))
def test_no_garbage_breaks_a_parser(data: bytes) -> None:
    conntrack.parse_flow(data)
    conntrack.parse_count(data)
    rtnl.parse_local(data)
    rtnl.parse_route(data)


@given(V6)
def test_local_routes_are_told_from_others(address: IPv6Address) -> None:
    body = struct.pack("=BBBBBBBBI", socket.AF_INET6, 128, 0, 0, 255, 2, 0, 2, 0) + attr(1, address.packed)
    assert rtnl.parse_local(body) == address.packed
    assert rtnl.parse_local(body[:7] + b"\1" + body[8:]) == b""


def _tuple(kind: int, family: int, source: bytes, destination: bytes, protocol: int, port: int) -> bytes:
    first = 1 if family == socket.AF_INET else 3
    ip = nest(1, attr(first, source), attr(first + 1, destination))
    return nest(kind, ip, nest(2, attr(1, bytes([protocol])), attr(2, b"\x12\x67"), attr(3, struct.pack("!H", port))))


@given(PACKED, PACKED, PACKED, st.integers(0, 255), st.integers(0, 65535), st.binary(min_size=4, max_size=4))
def test_a_flow_parses_back_and_its_key_names_it(
    client: bytes, to: bytes, answers: bytes, protocol: int, port: int, number: bytes
) -> None:
    family = socket.AF_INET if len(client) == 4 else socket.AF_INET6
    ends = [each if len(each) == len(client) else client for each in (to, answers)]
    original = _tuple(1, family, client, ends[0], protocol, port)
    reply = _tuple(2, family, ends[1], client, protocol, 7)
    body = bytes([family, 0, 0, 0]) + original + reply + attr(3, b"\0\0\0\1") + attr(18, b"\0\5") + attr(12, number)
    flow = conntrack.parse_flow(body)
    assert flow is not None
    assert flow.original == (client, ends[0], protocol, port)
    assert flow.reply == (ends[1], client, protocol, 7)
    assert flow.ends() == {client, *ends}
    deletion = conntrack.delete_flow(flow)
    assert deletion.body == bytes([family, 0, 0, 0]) + original + attr(18, b"\0\5") + attr(12, number)
    assert conntrack.parse_flow(body[: 4 + len(original)]) is None


def test_a_question_without_conditions_has_no_filter() -> None:
    assert conntrack.get_flows(socket.AF_INET).body == bytes([socket.AF_INET, 0, 0, 0])


@pytest.mark.parametrize(
    ("protocol", "port", "place", "flags"),
    [
        (17, 0, None, (0b001000, 0)),
        (17, 53, None, (0b101000, 0)),
        (0, 0, conntrack.Place("original", "source", b"\1\2\3\4"), (0b1, 0)),
        (0, 0, conntrack.Place("reply", "destination", b"\1\2\3\4"), (0, 0b10)),
        (6, 80, conntrack.Place("original", "destination", b"\1\2\3\4"), (0b101010, 0)),
    ],
)
def test_a_filter_names_what_it_compares(
    protocol: int, port: int, place: conntrack.Place | None, flags: tuple[int, int]
) -> None:
    body = conntrack.get_flows(socket.AF_INET, protocol=protocol, port=port, place=place).body
    attrs = parse_attrs(body[4:])
    wanted = dict(iter_attrs(attrs[25]))
    assert tuple(struct.unpack("=I", wanted[kind])[0] for kind in (1, 2)) == flags
    if place:
        inner = parse_attrs(parse_attrs(attrs[1 if place.direction == "original" else 2])[1])
        assert inner == {1 if place.end == "source" else 2: b"\1\2\3\4"}


@given(MACS, st.lists(st.one_of(V4, V6), max_size=5), st.booleans())
def test_every_address_is_announced(mac: str, addresses: list[object], off: bool) -> None:
    cidrs = tuple(f"{address}/24" for address in addresses)
    frames = announce.frames(Interface("v", "", "br", "eth0", mac, addresses=cidrs, ipv6_off=off))
    told: list[str] = []
    for frame in frames:
        source = frame[6:12]
        assert source.hex(":") == mac
        if frame[12:14] == b"\x08\x06":
            assert (frame[:6], frame[22:28], frame[28:32]) == (b"\xff" * 6, source, frame[38:42])
            told.append(str(ip_address(frame[28:32])))
        else:
            assert (frame[:6].hex(), frame[21], frame[54], frame[58]) == ("333300000001", 255, 136, 0x20)
            assert (frame[38:54], frame[22:38]) == (IPv6Address("ff02::1").packed, frame[62:78])
            assert frame[78:] == b"\2\1" + source
            pseudo = frame[22:54] + struct.pack("!II", len(frame) - 54, 58)
            assert announce.checksum(pseudo + frame[54:]) == 0
            told.append(str(ip_address(frame[62:78])))
    expected = {str(address) for address in addresses} | (set() if off else {veth_codec.link_local(mac)[:-3]})
    assert set(told) == expected
    assert all(told.count(each) == (1 if ":" in each else 2) for each in told)


def test_a_checksum_from_rfc_1071() -> None:
    assert announce.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
