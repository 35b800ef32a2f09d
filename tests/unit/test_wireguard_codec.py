"""The kernel's WireGuard messages and wireguard-go's text, byte for byte; hostile answers; keys and addresses."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from towline.kernel import wireguard_codec as codec
from towline.kernel import wireguard_routes as routes
from towline.kernel import wireguard_uapi as uapi
from towline.kernel.genetlink import HEADER, get_family, parse_family
from towline.kernel.netlink import attr, nest
from towline.kernel.wireguard_contract import WgPeer, WgPeerState
from towline.kernel.wireguard_keys import new_private_key, public_key
from towline.model.secure import (
    SecureKey,
    device_name,
    is_key,
    key_address,
    key_bytes,
    key_text,
    node_address,
    secure_port,
    secure_prefix,
    what_is_wrong_with_keys,
)

ONE, TWO = key_text(bytes(range(32))), key_text(b"\7" * 32)
PEER = WgPeer(ONE, ("192.0.2.7", 51820), ("fd00::1/128", "10.0.0.0/24"), 25)


def test_the_family_is_asked_for_by_name() -> None:
    message = get_family("wireguard")
    assert (message.type, message.body.hex()) == (0x10, "03010000" + "0e000200" + b"wireguard\0".hex() + "0000")
    assert parse_family(HEADER.pack(1, 2) + attr(2, b"wireguard\0") + attr(1, struct.pack("=H", 29))) == 29
    assert parse_family(b"") == 0


def test_a_device_gets_key_and_port() -> None:
    message = codec.set_device(29, "wg-1", ONE, 51820)
    assert message.type == 29
    assert message.body.hex() == (
        "01010000"
        "09000200" + b"wg-1\0".hex() + "000000"
        "24000300" + bytes(range(32)).hex() + "06000600" + struct.pack("=H", 51820).hex() + "0000"
    )


def test_a_peer_is_put_without_a_moment_without_addresses() -> None:
    (message,) = codec.set_peers(29, "wg-1", [PEER], [TWO])
    body = message.body.hex()
    endpoint = "14000400" + struct.pack("=H", 2).hex() + "ca6c" + "c0000207" + "00" * 8
    assert endpoint in body
    assert "06000500" + struct.pack("=H", 25).hex() in body
    v6 = "06000100" + struct.pack("=H", 10).hex() + "0000" + "14000200" + "fd" + "00" * 14 + "01" + "05000300" + "80"
    assert v6 in body
    removal = "24000100" + "07" * 32 + "08000300" + struct.pack("=I", 1).hex()
    assert body.endswith(removal)
    assert body.count("08000300") == 1, "no flags but the removal's"


def test_many_peers_take_several_messages() -> None:
    peers = [WgPeer(key_text(i.to_bytes(32, "big")), None, ("fd00::1/128",)) for i in range(1, 200)]
    messages = codec.set_peers(29, "wg-1", peers, [])
    assert len(messages) == 4
    assert all(len(message.body) < 60_000 for message in messages)


def test_what_the_kernel_tells_is_read_in_parts() -> None:
    def allowed(address: str, bits: int) -> bytes:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = attr(2, socket.inet_pton(family, address))
        return nest(0, attr(1, struct.pack("=H", family)), packed, attr(3, bytes((bits,))))

    head = HEADER.pack(0, 1)
    first = head + attr(2, b"wg-1\0") + attr(4, bytes(range(32))) + attr(6, struct.pack("=H", 51820))
    first += nest(
        8,
        nest(
            0,
            attr(1, b"\7" * 32),
            attr(4, codec.pack_endpoint("2001:db8::7", 51821)),
            attr(5, struct.pack("=H", 25)),
            attr(6, struct.pack("=qq", 1_700_000_000, 500_000_000)),
            attr(7, struct.pack("=Q", 148)),
            attr(8, struct.pack("=Q", 92)),
            nest(9, allowed("fd00::1", 128)),
        ),
    )
    second = head + attr(2, b"wg-1\0") + nest(8, nest(0, attr(1, b"\7" * 32), nest(9, allowed("10.0.0.0", 24))))
    found = codec.parse_device([first, second])
    peer = WgPeer(TWO, ("2001:db8::7", 51821), ("fd00::1/128", "10.0.0.0/24"), 25)
    assert found == codec.Dump("wg-1", ONE, 51820, (WgPeerState(peer, 1_700_000_000.5, 148, 92),))
    for cut in range(len(first)):
        codec.parse_device([first[:cut]])  # whatever comes, no exception
    assert codec.parse_device([]) is None


def test_wireguard_go_is_told_the_same() -> None:
    assert uapi.set_device(ONE, 51820) == f"set=1\nprivate_key={bytes(range(32)).hex()}\nlisten_port=51820\n\n"
    assert uapi.set_peers([PEER], [TWO]) == (
        f"set=1\npublic_key={bytes(range(32)).hex()}\nendpoint=192.0.2.7:51820\npersistent_keepalive_interval=25\n"
        f"allowed_ip=fd00::1/128\nallowed_ip=10.0.0.0/24\npublic_key={'07' * 32}\nremove=true\n\n"
    )
    told = (
        f"private_key={'07' * 32}\nlisten_port=51820\npublic_key={bytes(range(32)).hex()}\nendpoint=[2001:db8::7]:9\n"
        "allowed_ip=fd00::1/128\nlast_handshake_time_sec=7\nlast_handshake_time_nsec=500000000\nrx_bytes=1\ntx_bytes=2\n"
        "persistent_keepalive_interval=25\nprotocol_version=1\nerrno=0\n\n"
    )
    peer = WgPeer(ONE, ("2001:db8::7", 9), ("fd00::1/128",), 25)
    assert uapi.parse_device("wg-1", told, {"07" * 32: TWO}) == codec.Dump(
        "wg-1", TWO, 51820, (WgPeerState(peer, 7.5, 1, 2),)
    )
    assert uapi.parse_errno("errno=-98\n\n") == errno.EADDRINUSE
    assert uapi.parse_errno("nonsense") == errno.EBADMSG


def test_keys_are_those_of_wireguard() -> None:
    private = new_private_key()
    assert private != new_private_key()
    data = key_bytes(private)
    assert (data[0] & 7, data[31] & 0xC0) == (0, 0x40)
    assert key_bytes(public_key(private)) == X25519PrivateKey.from_private_bytes(data).public_key().public_bytes_raw()


def test_addresses_follow_from_cluster_node_and_key() -> None:
    prefix = secure_prefix("c" * 25)
    assert prefix.endswith("::/48")
    assert prefix.startswith("fd")
    addresses = [
        node_address(prefix, "a"),
        node_address(prefix, "b"),
        key_address(prefix, "a"),
        key_address(prefix, ONE),
    ]
    assert len(set(addresses)) == 4
    assert secure_prefix("d" * 25) != prefix
    assert len(device_name(ONE)) == 15
    assert (secure_port(4789), secure_port(65535)) == (4790, 65534)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 44,
        ONE[:-1],
        ONE + "=",
        key_text(bytes(32)),
        "é" * 44,
        ONE[:20] + "\n" + ONE[21:],
        ONE[:42] + chr(ord(ONE[42]) + 1) + "=",  # the same bytes as ONE
    ],
)
def test_what_is_no_key_is_known(text: str) -> None:
    assert not is_key(text)
    assert what_is_wrong_with_keys((SecureKey(text, 1),))


def test_a_nodes_keys_are_few_and_different() -> None:
    assert what_is_wrong_with_keys((SecureKey(ONE, 1), SecureKey(TWO, 2))) == ""
    assert what_is_wrong_with_keys((SecureKey(ONE, 1), SecureKey(ONE, 2)))
    assert what_is_wrong_with_keys((SecureKey(ONE, 0),))
    assert what_is_wrong_with_keys(tuple(SecureKey(key_text(bytes([i]) * 32), 1) for i in range(1, 4)))


def test_routes_are_ours_and_name_their_source() -> None:
    put = routes.put_route(7, "fd00::1", "fd00::2")
    assert routes.parse_route(put.body) == routes.SecureRoute("fd00::1", 7, "fd00::2")
    assert routes.parse_route(routes.block_route("fd00::/48").body) is None
    for cut in range(len(put.body)):
        routes.parse_route(put.body[:cut])
