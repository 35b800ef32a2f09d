"""Who has which address, and how addresses are taken back from the records after a restart."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.ipam import POOLS, Ask, create, snapshot
from towline.ipam.default import DefaultIpam
from towline.ipam.errors import AddressTaken, PoolOverlap
from towline.ipam.networks import (
    leases,
    release_endpoint_address,
    release_network,
    request_endpoint_address,
    restore_network,
    subnet_status,
)
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, Failure, InvalidParameter
from towline.model.network import Lease, Network, Pool, SubnetStatus


@pytest.fixture
def driver() -> DefaultIpam:
    """As the recorded Docker: its default bridge has the first subnet."""
    driver = DefaultIpam(POOLS)
    create(driver, "bridge")
    return driver


def test_leases_name_owner_and_reason_in_address_order(driver: DefaultIpam) -> None:
    network = create(driver, "a", Ask("10.5.0.0/29", gateway="10.5.0.6", aux={"printer": "10.5.0.3"}))
    request_endpoint_address(driver, network, endpoint_id="e1", name="web", v6=False)
    assert leases(driver, network.id) == [
        Lease("10.5.0.0", "id-a", "network"),
        Lease("10.5.0.1", "e1", "endpoint"),
        Lease("10.5.0.3", "id-a", "auxiliary"),
        Lease("10.5.0.6", "id-a", "gateway"),
        Lease("10.5.0.7", "id-a", "broadcast"),
    ]


def test_networks_that_share_a_subnet_share_its_addresses(driver: DefaultIpam) -> None:
    first = create(driver, "a", Ask("10.5.0.0/24", "10.5.0.0/26"))
    second = create(driver, "b", Ask("10.5.0.0/24", "10.5.0.0/25"), skip_gateway4=True)
    with pytest.raises(PoolOverlap):
        create(driver, "c", Ask("10.5.0.0/24", "10.5.0.0/26"))
    assert request_endpoint_address(driver, second, endpoint_id="e", name="e", v6=False) == "10.5.0.2/24"
    assert subnet_status(driver, first) == {"10.5.0.0/24": SubnetStatus(used=4, free=61)}
    release_network(driver, first, ())
    assert subnet_status(driver, second) == {"10.5.0.0/24": SubnetStatus(used=3, free=126)}


def test_a_refusal_on_a_shared_subnet_gives_its_addresses_back(driver: DefaultIpam) -> None:
    first = create(driver, "a", Ask("10.5.0.0/24", "10.5.0.0/26"))
    before = leases(driver, first.id)
    with pytest.raises(Failure):
        create(driver, "b", Ask("10.5.0.0/24", "10.5.0.64/26", aux={"x": "10.5.0.9", "y": "10.5.0.1"}))
    stored = replace(first, id="id-c", pools=(Pool("10.5.0.0/24", "10.5.0.128/25", "10.5.0.129"),))
    endpoints = [Endpoint("e1", "e1", "id-c", ipv4="10.5.0.130/24"), Endpoint("e2", "e2", "id-c", ipv4="10.5.0.0/24")]
    with pytest.raises(Conflict, match=r"is held by the subnet itself \(network\)$"):
        restore_network(driver, stored, endpoints)
    assert leases(driver, first.id) == before


def test_a_subnet_starts_afresh_after_its_network(driver: DefaultIpam) -> None:
    network = create(driver, "a", Ask("10.5.0.0/24"))
    request_endpoint_address(driver, network, endpoint_id="e", name="e", v6=False)
    release_network(driver, network, ())
    assert subnet_status(driver, create(driver, "b", Ask("10.5.0.0/24")))["10.5.0.0/24"].used == 3


def test_several_ranges_of_one_subnet_add_up(driver: DefaultIpam) -> None:
    network = create(driver, "a", Ask("10.5.0.0/24", "10.5.0.64/26"), Ask("10.5.0.0/24", "10.5.0.128/26"))
    assert subnet_status(driver, network) == {"10.5.0.0/24": SubnetStatus(used=4, free=126)}


def test_endpoint_addresses(driver: DefaultIpam) -> None:
    network = create(driver, "tiny", Ask("10.81.0.0/30"), Ask("10.82.0.0/24", "10.82.0.8/31"))

    def request(address: str = "", v6: bool = False) -> str:
        return request_endpoint_address(driver, network, endpoint_id="e1", name="web", v6=v6, address=address)

    assert request("10.82.0.99") == "10.82.0.99/24"
    assert [request() for _ in range(2)] == ["10.81.0.2/30", "10.82.0.9/24"]
    for reserved in ("10.81.0.0", "10.81.0.1", "10.81.0.3", "10.82.0.99"):
        with pytest.raises(AddressTaken, match="^Address already in use$"):
            request(reserved)
    for foreign in ("10.99.0.1", "fd00::1"):
        with pytest.raises(InvalidParameter) as outside:
            request(foreign)
        assert str(outside.value) == (f"invalid address {foreign}: It does not belong to any of this network's subnets")
    with pytest.raises(Failure) as full:
        request()
    assert str(full.value) == (
        "no available IPv4 addresses on this network's address pools: tiny (id-tiny): "
        "10.81.0.0/30: 4 of 4 taken, 10.82.0.8/31 of 10.82.0.0/24: 2 of 2 taken"
    )
    with pytest.raises(Failure, match="^no IPv6 information available for endpoint web$"):
        request(v6=True)
    release_endpoint_address(driver, network, "10.81.0.2/30", "somebody else")
    release_endpoint_address(driver, network, "10.82.0.9/24", "e1")
    assert request() == "10.82.0.9/24"


def test_the_serial_option_of_a_network_reaches_its_addresses(driver: DefaultIpam) -> None:
    network = create(driver, "a", options={"com.docker.network.ipam.serial": "true", "x": "y"})

    def request() -> str:
        return request_endpoint_address(driver, network, endpoint_id="e", name="e", v6=False)

    assert [request(), request()] == ["10.0.1.2/24", "10.0.1.3/24"]
    release_endpoint_address(driver, network, "10.0.1.2", "e")
    assert request() == "10.0.1.4/24"


@pytest.fixture
def stored(driver: DefaultIpam) -> tuple[list[Network], list[Endpoint]]:
    """Networks in order of creation, and the endpoints of the last one."""
    networks = [
        create(driver, "plain", Ask("10.60.1.0/24", aux={"a": "10.60.1.9"})),
        create(driver, "wide", Ask("10.60.0.0/16", "10.60.1.0/25")),
        create(driver, "auto", ipv6=True),
    ]
    network = networks[-1]
    v4, v6 = (request_endpoint_address(driver, network, endpoint_id="e1", name="e1", v6=v6) for v6 in (False, True))
    return networks, [Endpoint("e1", "web", network.id, ipv4=v4, ipv6=v6)]


def test_restore_takes_exactly_what_was_taken(
    driver: DefaultIpam, stored: tuple[list[Network], list[Endpoint]]
) -> None:
    networks, endpoints = stored
    names = [network.name for network in networks]
    after = DefaultIpam(POOLS)
    for network in networks:
        restore_network(after, network, endpoints if network is networks[-1] else ())
    assert snapshot(after, *names) == snapshot(driver, *names)
    for network in networks:
        release_network(after, network, endpoints if network is networks[-1] else ())
    assert snapshot(after, *names) == [[], [], []]
    assert create(after, "first").pools[0].subnet == "10.0.0.0/24"


def test_restore_names_both_holders_of_a_subnet_and_takes_nothing(driver: DefaultIpam) -> None:
    network = create(driver, "a", Ask("10.5.0.0/24"), Ask("10.6.0.0/24"))
    after = DefaultIpam(POOLS)
    create(after, "b", Ask("10.6.0.0/16"))
    with pytest.raises(Conflict) as refused:
        restore_network(after, network, ())
    assert str(refused.value) == "network a (id-a): subnet 10.6.0.0/24 overlaps 10.6.0.0/16 of network id-b"
    assert snapshot(after, "a") == [[]]
    create(after, "c", Ask("10.5.0.0/24"))


def test_restore_names_both_holders_of_an_address(driver: DefaultIpam) -> None:
    network = create(driver, "a", Ask("10.5.0.0/24"))
    after = DefaultIpam(POOLS)
    twins = [Endpoint(f"e{n}", f"web{n}", network.id, ipv4="10.5.0.2/24") for n in (1, 2)]
    with pytest.raises(Conflict) as refused:
        restore_network(after, network, twins)
    assert str(refused.value) == ("endpoint address 10.5.0.2 of endpoint web2 of network a (e2) is held by endpoint e1")
    stray = Endpoint("e3", "web3", network.id, ipv4="10.7.0.2/24")
    with pytest.raises(Conflict, match="10.7.0.2 of endpoint web3 of network a .e3. is in none of"):
        restore_network(after, network, [stray])
    assert snapshot(after, "a") == [[]]


def test_releasing_a_network_that_could_not_be_restored_leaves_the_other_alone(driver: DefaultIpam) -> None:
    ours = create(driver, "a", Ask("10.5.0.0/24"))
    twin = replace(ours, id="id-twin", name="twin")
    with pytest.raises(Conflict):
        restore_network(driver, twin, ())
    before = snapshot(driver, "a")
    release_network(driver, twin, ())
    assert snapshot(driver, "a") == before
    with pytest.raises(PoolOverlap):
        create(driver, "b", Ask("10.5.0.0/24"))


def test_moving_a_lease_through_the_driver(driver: DefaultIpam) -> None:
    network = create(driver, "a")
    request_endpoint_address(driver, network, endpoint_id="e1", name="e1", v6=False)
    moved = driver.move("LocalDefault/10.0.1.0/24", "10.0.1.2", "e2", 1)
    assert moved == Lease("10.0.1.2", "e2", "endpoint", epoch=2)
    with pytest.raises(Conflict):
        driver.move("LocalDefault/10.0.1.0/24", "10.0.1.2", "e3", 1)
