"""May a sandbox join or leave a network? The tables of docker-api facts 1.5, 1.6, 3.1."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from towline.drivers.endpoint import IFNAME, SYSCTLS
from towline.model.endpoint import ANYTHING, Endpoint, EndpointConfig
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, TowlineError
from towline.model.network import Network, Pool
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.policy.endpoint import check_connect, check_disconnect, check_joinable, check_settings, live_endpoints
from towline.store.contract import Put
from towline.store.memory import MemoryStore

POOLS = (Pool("10.80.0.0/24", gateway="10.80.0.1"), Pool("fd00:80::/64", gateway="fd00:80::1"))
WEB = Network("w" * 64, "web", 1, "bridge", phase="ready", enable_ipv6=True, pools=POOLS)
BACK = Network("b" * 64, "back", 1, "bridge", phase="ready")
BRIDGE = Network("d" * 64, "bridge", 1, "bridge", phase="ready", pools=(Pool("172.17.0.0/16"),))
HOST = Network("h" * 64, "host", 1, "host", phase="ready")
NONE = Network("0" * 64, "none", 1, "null", phase="ready")
CONFIG = Network("c" * 64, "cfg", 1, "null", phase="ready", config_only=True)

PREFIX = "invalid endpoint settings:\n"
SYSCTL = (
    "unrecognised network interface sysctl '{}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', "
    "'X' must be 'ipv4', 'ipv6' or 'mpls'"
)
S1 = Sandbox("1" * 64, "s1", 1, state="running")
S2 = Sandbox("2" * 64, "s2", 1)


def end(sandbox: Sandbox, network: Network, **fields: object) -> Endpoint:
    made = Endpoint(sandbox.id[:32] + network.id[:32], sandbox.name, network.id, sandbox.id)
    return replace(made, **fields)


def view(*records: Endpoint | Sandbox) -> View:
    store = MemoryStore()
    store.update([Put(record) for record in (WEB, BACK, BRIDGE, HOST, NONE, CONFIG, S1, S2, *records)])
    return store.view()


@pytest.mark.parametrize(
    "config",
    [
        ANYTHING,
        EndpointConfig(ipv4="10.80.0.50", ipv6="fd00:80::50"),
        EndpointConfig(ipv4="10.80.0.1"),
        EndpointConfig(link_local=("169.254.8.8", "fe80::77")),
        EndpointConfig(mac="02:aa:bb:cc:dd:01", aliases=("al", "a_b.c", "ünïcode"), links=("c1:x", "c1")),
        EndpointConfig(driver_opts={IFNAME: "fifteen-letters", "x": "y"}),
        EndpointConfig(driver_opts={SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.mtu=1400"}),
        EndpointConfig(driver_opts={SYSCTLS: ""}),
    ],
)
def test_settings_that_are_right(config: EndpointConfig) -> None:
    check_settings(config, WEB)


@pytest.mark.parametrize(
    ("config", "texts"),
    [
        (EndpointConfig(ipv4="10.99.0.1"), ["no configured subnet contains IP address 10.99.0.1"]),
        (
            EndpointConfig(ipv4="fd00:80::1"),
            ["invalid IPv4 address: fd00:80::1", "no configured subnet contains IP address fd00:80::1"],
        ),
        (
            EndpointConfig(ipv6="10.80.0.5"),
            ["invalid IPv6 address: 10.80.0.5", "no configured subnet contains IP address 10.80.0.5"],
        ),
        (
            EndpointConfig(ipv6="::ffff:10.80.0.5"),
            ["invalid IPv6 address: ::ffff:10.80.0.5", "no configured subnet contains IP address ::ffff:10.80.0.5"],
        ),
        (EndpointConfig(link_local=("0.0.0.0",)), ["invalid link-local IP address: 0.0.0.0"]),
        (EndpointConfig(link_local=("fe80::1", "fe80::1")), ["link-local IP address fe80::1 is given twice"]),
        (EndpointConfig(driver_opts={SYSCTLS: "bogus"}), [SYSCTL.format("bogus")]),
        (EndpointConfig(driver_opts={SYSCTLS: "a,b"}), [SYSCTL.format("a"), SYSCTL.format("b")]),
        (
            EndpointConfig(driver_opts={SYSCTLS: "net.ipv4.conf.IFNAME.../x=1"}),
            [SYSCTL.format("net.ipv4.conf.IFNAME.../x=1")],
        ),
        (
            EndpointConfig(driver_opts={SYSCTLS: "net.ipv4.conf.eth0.mtu=1"}),
            [SYSCTL.format("net.ipv4.conf.eth0.mtu=1")],
        ),
        (
            EndpointConfig(driver_opts={IFNAME: "averyverylongname"}),
            [f"invalid interface name 'averyverylongname' ({IFNAME}): it is longer than 15 bytes"],
        ),
        (
            EndpointConfig(driver_opts={IFNAME: "x" * 14 + "ü"}),
            [f"invalid interface name '{'x' * 14}ü' ({IFNAME}): it is longer than 15 bytes"],
        ),
        (EndpointConfig(driver_opts={IFNAME: ""}), [f"invalid interface name '' ({IFNAME}): it is empty"]),
        (
            EndpointConfig(driver_opts={IFNAME: "lo"}),
            [f"invalid interface name 'lo' ({IFNAME}): the loopback interface has this name"],
        ),
        (
            EndpointConfig(mac="01:00:5e:00:00:01"),
            ["invalid MAC address: 01:00:5e:00:00:01: it is a multicast address; the first octet must be even"],
        ),
        (
            EndpointConfig(mac="00:00:00:00:00:00"),
            ["invalid MAC address: 00:00:00:00:00:00: it is all zero, which no interface can have"],
        ),
        (
            EndpointConfig(mac="02:42:00:00:00:00:00:01"),
            [
                "invalid MAC address: 02:42:00:00:00:00:00:01: an interface's address has six octets, "
                "as 02:42:ac:11:00:02"
            ],
        ),
        (
            EndpointConfig(mac="zz:zz"),
            ["invalid MAC address: zz:zz: an interface's address has six octets, as 02:42:ac:11:00:02"],
        ),
        (EndpointConfig(aliases=("",)), ["invalid network-scoped alias '': it is empty"]),
        (
            EndpointConfig(aliases=("a\nb", "c d")),
            [
                "invalid network-scoped alias 'a\\nb': blanks and control characters are not allowed in names",
                "invalid network-scoped alias 'c d': blanks and control characters are not allowed in names",
            ],
        ),
        (
            EndpointConfig(aliases=("x" * 256,)),
            [f"invalid network-scoped alias '{'x' * 97}...': it is longer than 255 bytes"],
        ),
        (
            EndpointConfig(links=("c1:",)),
            ["invalid link 'c1:': write NAME or NAME:ALIAS; it is empty"],
        ),
    ],
)
def test_settings_that_are_wrong(config: EndpointConfig, texts: list[str]) -> None:
    expected = texts[0] if len(texts) == 1 else "\n".join(f"* {text}" for text in texts)
    with pytest.raises(InvalidParameter) as refusal:
        check_settings(config, WEB)
    assert str(refusal.value) == PREFIX + expected


@pytest.mark.parametrize(
    "ifname", ["a/b", "a:b", "a b", ".", "..", "a%d", "a\0b", "a\tb"], ids=lambda name: name.encode().hex()
)
def test_interface_names_that_the_kernel_refuses(ifname: str) -> None:
    with pytest.raises(InvalidParameter, match="it may not hold"):
        check_settings(EndpointConfig(driver_opts={IFNAME: ifname}), WEB)


def test_only_user_defined_networks_take_addresses_and_aliases() -> None:
    with pytest.raises(InvalidParameter) as refusal:
        check_settings(EndpointConfig(ipv4="172.17.0.9", aliases=("x",)), BRIDGE)
    assert str(refusal.value) == (
        f"{PREFIX}* user-specified IP address is supported on user-defined networks only\n"
        "* network-scoped aliases are only supported for user-defined networks"
    )


def test_a_link_local_address_must_be_one() -> None:
    with pytest.raises(InvalidParameter) as refusal:
        check_settings(EndpointConfig(link_local=("10.1.1.1",)), WEB)
    assert str(refusal.value) == "invalid link local IP address: 10.1.1.1"


ON_HOST = "cannot connect container to host network - container must be created in host network mode"
SHARING = "container sharing network namespace with another container or host cannot be connected to any other network"
PRIVATE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


@pytest.mark.parametrize(
    ("present", "network", "error", "text"),
    [
        ([], HOST, InvalidParameter, ON_HOST),
        ([end(S1, WEB)], HOST, InvalidParameter, ON_HOST),
        ([end(S1, HOST)], WEB, InvalidParameter, SHARING),
        ([end(S1, NONE)], WEB, InvalidParameter, PRIVATE),
        ([end(S1, WEB)], NONE, InvalidParameter, PRIVATE),
        ([end(S1, WEB)], WEB, Forbidden, "endpoint with name s1 already exists in network web"),
        ([], CONFIG, Forbidden, "cannot create endpoint on configuration-only network"),
        ([end(S1, NONE)], NONE, Forbidden, "endpoint with name s1 already exists in network none"),
    ],
)
def test_connections_that_are_refused(
    present: list[Endpoint], network: Network, error: type[TowlineError], text: str
) -> None:
    with pytest.raises(error) as refusal:
        check_connect(view(*present), S1, network, ANYTHING)
    assert str(refusal.value) == text


def test_connections_that_are_right() -> None:
    check_connect(view(), S1, WEB, ANYTHING)
    check_connect(view(end(S1, BACK)), S1, WEB, ANYTHING)
    check_connect(view(end(S2, WEB)), S1, WEB, EndpointConfig(mac="02:00:00:00:00:01"))
    check_connect(view(), S1, NONE, ANYTHING)


@pytest.mark.parametrize(
    ("other", "config", "error", "text"),
    [
        (
            end(S2, WEB, mac="02:00:00:00:00:01"),
            EndpointConfig(mac="02:00:00:00:00:01"),
            Conflict,
            "MAC address 02:00:00:00:00:01 is in use in network web by s2",
        ),
        (
            end(S2, WEB, config=EndpointConfig(link_local=("fe80::7",))),
            EndpointConfig(link_local=("fe80::7",)),
            Forbidden,
            "Address already in use: fe80::7 is a link-local address of s2 in network web",
        ),
        (
            end(S1, BACK, ifname="eth0"),
            EndpointConfig(driver_opts={IFNAME: "eth0"}),
            Conflict,
            "interface name eth0 is taken in s1",
        ),
        (
            end(S1, BACK, config=EndpointConfig(driver_opts={IFNAME: "web0"})),
            EndpointConfig(driver_opts={IFNAME: "web0"}),
            Conflict,
            "interface name web0 is taken in s1",
        ),
    ],
)
def test_what_another_endpoint_has(
    other: Endpoint, config: EndpointConfig, error: type[TowlineError], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)):
        check_connect(view(other), S1, WEB, config)


def test_leaving() -> None:
    joined = end(S1, WEB)
    assert check_disconnect(view(joined), S1, WEB) == joined
    with pytest.raises(Failure, match=f"^container {S1.id} is not connected to network back$"):
        check_disconnect(view(joined), S1, BACK)
    with pytest.raises(Failure, match=f"^container {S2.id} is not connected to the network web$"):
        check_disconnect(view(joined), S2, WEB)
    with pytest.raises(
        InvalidParameter, match="^cannot disconnect container from host network - container was created"
    ):
        check_disconnect(view(end(S1, HOST)), S1, HOST)


def test_only_endpoints_of_running_sandboxes_are_live() -> None:
    live, idle, nobody, orphan = end(S1, WEB), end(S2, WEB), Endpoint("n" * 64, "gw", WEB.id), end(S1, WEB)
    orphan = replace(orphan, id="o" * 64, sandbox="9" * 64)
    found = live_endpoints(view(live, idle, nobody, orphan), WEB.id)
    assert {endpoint.id for endpoint in found} == {live.id, nobody.id}


def test_what_the_cluster_has_is_joined_if_it_is_attachable() -> None:
    wide = Network("g" * 64, "wide", 1, "overlay", phase="ready", scope="swarm", attachable=True)
    check_joinable(wide)
    check_joinable(replace(wide, driver="macvlan", config_from="cfg"))
    with pytest.raises(Forbidden, match='only one instance of "host" network is allowed'):
        check_joinable(replace(wide, driver="host"))
    with pytest.raises(Failure, match="not manually attachable"):
        check_joinable(replace(wide, driver="macvlan", attachable=False))
