"""Which addresses a node listens on and is known by; texts of moby daemon/cluster/listen_addr.go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.model.cluster import HostInterface
from towline.model.errors import Failure, InvalidParameter
from towline.policy import swarm_address as address
from towline.policy.swarm_address import (
    HostPort,
    local_address,
    remote_address,
    resolve_advertise,
    resolve_data_path,
    resolve_listen,
)

LO = HostInterface("lo", True, ("127.0.0.1/8", "::1/128"))
ETH0 = HostInterface("eth0", True, ("192.0.2.5/24", "2001:db8::5/64"))
ETH1 = HostInterface("eth1", True, ("198.51.100.5/24",))
SIX = HostInterface("six", True, ("2001:db8:6::5/64",))
TWO = HostInterface("two", True, ("192.0.2.6/24", "192.0.2.7/24"))
TWO_SIX = HostInterface("twosix", True, ("2001:db8::6/64", "2001:db8::7/64"))
BARE = HostInterface("bare", True, ())
DOWN = HostInterface("down", False, ("203.0.113.9/24",))
BRIDGE = HostInterface("virbr0", True, ("10.9.0.1/16",), "bridge")
OURS = HostInterface("br-0123", True, ("172.18.0.1/16",), "bridge", own=True)
VETH = HostInterface("eth0", True, ("10.1.2.3/24",), "veth")
LOCAL = HostInterface("eth2", True, ("169.254.3.4/16",))
ALL = (LO, ETH0, SIX, TWO, TWO_SIX, BARE)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:2377", "0.0.0.0", 2377),
        ("127.0.0.1", "127.0.0.1", 2377),
        ("127.0.0.1:", "127.0.0.1", 2377),
        (":4000", "0.0.0.0", 4000),
        ("tcp://192.0.2.9:4000", "192.0.2.9", 4000),
        ("[::]:2377", "::", 2377),
        ("[2001:DB8::9]", "2001:db8::9", 2377),
        ("[::ffff:192.0.2.9]:1", "192.0.2.9", 1),
        ("eth0", "192.0.2.5", 2377),
        ("eth0:4000", "192.0.2.5", 4000),
        ("six", "2001:db8:6::5", 2377),
    ],
)
def test_listen_address(text: str, host: str, port: int) -> None:
    assert resolve_listen(text, ALL) == HostPort(host, port)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("x", InvalidParameter(address.BAD_LISTEN)),
        ("::1", InvalidParameter(address.BAD_LISTEN)),
        ("fe80::1%eth0", InvalidParameter(address.BAD_LISTEN)),
        ("[fe80::1%eth0]:1", InvalidParameter(address.BAD_LISTEN)),
        ("192.0.2.1:abc", InvalidParameter(address.BAD_LISTEN)),
        ("\0", InvalidParameter(address.BAD_LISTEN)),
        ("two", InvalidParameter("interface two has more than one IPv4 address (192.0.2.6 and 192.0.2.7)")),
        ("twosix", InvalidParameter("interface twosix has more than one IPv6 address (2001:db8::6 and 2001:db8::7)")),
        ("bare", InvalidParameter("interface bare has no usable IPv4 or IPv6 address")),
        ("a/b", Failure("could not parse listen address a/b")),
        ("192.0.2.1:٣", InvalidParameter(address.BAD_LISTEN)),
        ("[::1", Failure("could not parse listen address [::1")),
    ],
)
def test_refused_listen_address(text: str, refusal: Exception) -> None:
    with pytest.raises(type(refusal)) as refused:
        resolve_listen(text, ALL)
    assert str(refused.value).startswith(str(refusal))


@pytest.mark.parametrize("port", ["0", "65534", "65536", "99999999"])
def test_a_port_must_leave_room_for_two_more(port: str) -> None:
    with pytest.raises(InvalidParameter, match="from 1 to 65533"):
        resolve_listen(f"192.0.2.1:{port}", ALL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.9", HostPort("192.0.2.9", 99)),
        ("192.0.2.9:7", HostPort("192.0.2.9", 7)),
        ("eth0", HostPort("192.0.2.5", 99)),
        ("eth0:7", HostPort("192.0.2.5", 7)),
        ("2001:db8::9", HostPort("2001:db8::9", 99)),
        ("[2001:db8::9]:7", HostPort("2001:db8::9", 7)),
        ("", HostPort("192.0.2.5", 99)),
    ],
)
def test_advertised_address(text: str, expected: HostPort) -> None:
    assert resolve_advertise(text, 99, (LO, ETH0, OURS, DOWN, LOCAL)) == expected


@pytest.mark.parametrize("text", ["9.9.9.9.9", "0.0.0.0", "::", "0.0.0.0:7", "nosuch", "[fe80::1%eth0]:1"])
def test_refused_advertised_address(text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        resolve_advertise(text, 99, ALL)
    assert str(refused.value) == address.BAD_ADVERTISE


def test_the_daemons_default_is_used_without_its_own_port() -> None:
    assert resolve_advertise("", 99, ALL, "eth0") == HostPort("192.0.2.5", 99)
    with pytest.raises(InvalidParameter) as refused:
        resolve_advertise("", 99, ALL, "0.0.0.0")
    assert str(refused.value) == address.BAD_DEFAULT


_SEVERAL = "could not choose an IP address to advertise since this system has multiple addresses on "


@pytest.mark.parametrize(
    ("interfaces", "text"),
    [
        ((LO, ETH0, ETH1), f"{_SEVERAL}different interfaces (192.0.2.5 on eth0 and 198.51.100.5 on eth1)"),
        ((LO, TWO), f"{_SEVERAL}interface two (192.0.2.6 and 192.0.2.7)"),
        ((LO, TWO_SIX), f"{_SEVERAL}interface twosix (2001:db8::6 and 2001:db8::7)"),
        ((LO, VETH, BRIDGE), f"{_SEVERAL}different interfaces (10.1.2.3 on eth0 and 10.9.0.1 on virbr0)"),
        ((LO, OURS, DOWN, LOCAL, BARE), "could not find the system's IP address"),
        ((), "could not find the system's IP address"),
    ],
)
def test_no_address_to_advertise(interfaces: tuple[HostInterface, ...], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        resolve_advertise("", 99, interfaces)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("interfaces", "chosen"),
    [
        ((LO, ETH0, BRIDGE, OURS), "192.0.2.5"),
        ((LO, SIX), "2001:db8:6::5"),
        ((LO, VETH, OURS), "10.1.2.3"),
    ],
)
def test_the_only_address_is_advertised(interfaces: tuple[HostInterface, ...], chosen: str) -> None:
    assert resolve_advertise("", 99, interfaces).host == chosen


def test_data_path_address() -> None:
    assert resolve_data_path("", ALL) == ""
    assert resolve_data_path("eth0", ALL) == "192.0.2.5"
    for text in ("192.0.2.5:7", "0.0.0.0", "nosuch"):
        with pytest.raises(InvalidParameter) as refused:
            resolve_data_path(text, ALL)
        assert str(refused.value) == address.BAD_DATA_PATH


def test_the_local_address_is_one_of_this_host() -> None:
    assert local_address("127.0.0.1", "192.0.2.5", ALL) == "127.0.0.1"
    assert local_address("0.0.0.0", "192.0.2.5", ALL) == "192.0.2.5"
    assert local_address("0.0.0.0", "203.0.113.7", (LO, ETH0)) == "192.0.2.5"
    with pytest.raises(InvalidParameter) as refused:
        local_address("::", "203.0.113.7", (LO, ETH0, ETH1))
    assert str(refused.value) == address.MUST_LISTEN


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.9:2377", "192.0.2.9", 2377),
        ("manager.example", "manager.example", 2377),
        ("manager.example:1", "manager.example", 1),
        ("[2001:db8::9]:2377", "2001:db8::9", 2377),
    ],
)
def test_remote_address(text: str, host: str, port: int) -> None:
    assert remote_address(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "text", ["", ":1", "a b", "a/b:1", "user@host:1", "h:0", "h:x", "2001:db8::9", "h:65536", "a\n"]
)
def test_refused_remote_address(text: str) -> None:
    with pytest.raises(InvalidParameter, match="^invalid remoteAddr "):
        remote_address(text)


def test_shown_with_brackets_where_they_are_needed() -> None:
    assert [str(HostPort(host, 1)) for host in ("192.0.2.1", "::1")] == ["192.0.2.1:1", "[::1]:1"]


@given(
    st.text(max_size=40) | st.from_regex(r"[\[\]:.0-9a-f%/]{0,30}", fullmatch=True),
    st.sampled_from(
        [
            lambda text: resolve_listen(text, ALL),
            lambda text: resolve_advertise(text, 99, (LO, ETH0)),
            remote_address,
        ]
    ),
)
def test_any_text_is_an_address_or_refused(text: str, resolve: Callable[[str], HostPort]) -> None:
    try:
        found = resolve(text)
    except (InvalidParameter, Failure):
        return
    assert 0 < found.port < 65534
    assert found.host
