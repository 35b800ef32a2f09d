"""The macvlan and ipvlan drivers: options, texts, who may share a parent, and how endpoints are plugged in."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from towline.drivers.macvlan import IpvlanDriver, MacvlanDriver
from towline.drivers.parent import parent_of, why_absent
from towline.model.desired import Parent, Slave
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, InvalidParameter
from towline.model.network import Network, Pool
from towline.store.contract import Put
from towline.store.state import State

POOLS = (Pool("10.1.0.0/24", gateway="10.1.0.1"), Pool("10.2.0.0/24"), Pool("fd00:1::/64", gateway="fd00:1::1"))
ENDPOINT = Endpoint("e" * 64, "a", "n", mac="02:00:00:00:00:01", ipv4="10.1.0.7/24", ipv6="fd00:1::7/64", ifname="eth0")


def network(letter: str = "a", driver: str = "macvlan", **options: str) -> Network:
    return Network(letter * 64, letter, 1, driver, pools=POOLS, enable_ipv6=True, options=options)


def view(*networks: Network) -> State:
    state = State()
    for each in networks:
        driver = MacvlanDriver() if each.driver == "macvlan" else IpvlanDriver()
        state.apply(Put(driver.admit(each, state)))
    return state


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("", Parent("dm-aaaaaaaaaaaa", "dummy", "towline:parent:dm-aaaaaaaaaaaa")),
        ("eth0", Parent("eth0")),
        ("eth0.10", Parent("eth0.10", "vlan", "towline:parent:eth0.10", "eth0", 10)),
        ("eth0.4095", Parent("eth0.4095", lower="eth0")),
        ("eth0.0", Parent("eth0.0", lower="eth0")),
        ("eth0.x", Parent("eth0.x", lower="eth0")),
    ],
)
def test_parents(option: str, expected: Parent) -> None:
    assert parent_of(option, "dm", "a" * 64) == expected


@pytest.mark.parametrize(
    ("option", "there", "text"),
    [
        ("eth0", False, "invalid subinterface vlan name eth0, example formatting is eth0.10"),
        ("eth0.10", False, "-o parent interface was not found on the host: eth0"),
        ("eth0.70000", False, "-o parent interface was not found on the host: eth0"),
        ("eth0.5000", True, "vlan id must be between 1-4094, received: 5000"),
        ("eth0.-1", True, "vlan id must be between 1-4094, received: -1"),
        ("eth0.x", True, "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
        (".", True, "unable to parse a valid vlan id from:  (ex. eth0.10 for vlan 10)"),
    ],
)
def test_why_a_parent_is_absent(option: str, there: bool, text: str) -> None:
    assert str(why_absent(parent_of(option, "dm", ""), lower_there=there)) == text


def test_gateways_are_given_or_none() -> None:
    assert MacvlanDriver().check(network()) == (True, True)
    plugged = MacvlanDriver().attach(network(parent="eth0"), ENDPOINT)
    assert (plugged.gateway4, plugged.gateway6, plugged.rules) == ("10.1.0.1", "fd00:1::1", None)
    assert plugged.interface.slave == Slave("eth0", "macvlan", "bridge")
    other = MacvlanDriver().attach(network(parent="eth0"), replace(ENDPOINT, ipv4="10.2.0.7/24"))
    assert other.gateway4 is None


def test_without_a_parent_or_internal_there_is_no_way_out() -> None:
    for each in (network(), replace(network(parent="eth0"), internal=True)):
        plugged = MacvlanDriver().attach(each, ENDPOINT)
        assert (plugged.gateway4, plugged.gateway6) == (None, None)


def test_macvlans_share_a_parent_but_for_passthru() -> None:
    MacvlanDriver().admit(network("b", parent="eth0"), view(network(parent="eth0", macvlan_mode="private")))
    text = f"cannot use mode passthru, macvlan network {'a' * 64} is already using parent interface eth0"
    with pytest.raises(Failure, match=text):
        MacvlanDriver().admit(network("b", parent="eth0", macvlan_mode="passthru"), view(network(parent="eth0")))
    text = f"macvlan network {'a' * 64} is already using parent interface eth0 in mode passthru"
    with pytest.raises(Failure, match=text):
        MacvlanDriver().admit(network("b", parent="eth0"), view(network(parent="eth0", macvlan_mode="passthru")))


def test_an_ipvlan_shares_its_parent_with_nobody() -> None:
    text = "network di-aaaaaaaaaaaa is already using parent interface eth0"
    with pytest.raises(Failure, match=text):
        IpvlanDriver().admit(network("b", "ipvlan", parent="eth0"), view(network(driver="ipvlan", parent="eth0")))
    with pytest.raises(Failure, match="ipvlan network a* is already using parent interface eth0"):
        MacvlanDriver().admit(network("b", parent="eth0"), view(network(driver="ipvlan", parent="eth0")))


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        (
            MacvlanDriver(),
            {"macvlan_mode": "foo"},
            "requested macvlan mode 'foo' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (MacvlanDriver(), {"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        (
            IpvlanDriver(),
            {"ipvlan_mode": "foo"},
            "requested ipvlan mode 'foo' is not valid, 'l2' mode is the ipvlan driver default",
        ),
        (
            IpvlanDriver(),
            {"ipvlan_flag": "zz"},
            "requested ipvlan flag 'zz' is not valid, 'bridge' is the ipvlan driver default",
        ),
        (IpvlanDriver(), {"parent": "lo"}, "loopback interface is not a valid ipvlan parent link"),
    ],
)
def test_bad_options(driver: MacvlanDriver | IpvlanDriver, options: dict[str, str], text: str) -> None:
    with pytest.raises(Failure) as caught:
        driver.check(network(driver=driver.name, **options))
    assert str(caught.value) == text


def test_a_family_that_is_on_needs_a_pool() -> None:
    with pytest.raises(InvalidParameter, match="ipv6 pool is empty"):
        MacvlanDriver().admit(replace(network(), pools=POOLS[:2]), State())
    with pytest.raises(InvalidParameter, match="ipv4 pool is empty"):
        MacvlanDriver().admit(replace(network(), pools=POOLS[2:]), State())


def test_ipvlan_l3_routes_by_the_interface_itself() -> None:
    plugged = IpvlanDriver().attach(network(driver="ipvlan", parent="eth0", ipvlan_mode="l3"), ENDPOINT)
    assert (plugged.gateway4, plugged.gateway6) == ("", "")
    assert plugged.interface.slave == Slave("eth0", "ipvlan", "l3", "bridge")
    layer2 = IpvlanDriver().attach(network(driver="ipvlan", parent="eth0"), ENDPOINT)
    assert (layer2.gateway4, layer2.gateway6) == ("10.1.0.1", "fd00:1::1")
