"""Whole networks: what Docker shows for them, what it refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from towline.ipam.contract import AddressQuery, AddressSpaces, Capabilities, PoolGrant, PoolQuery
from towline.ipam.default import DefaultIpam
from towline.ipam.errors import AddressTaken, PoolOverlap, UnknownPool
from towline.ipam.networks import (
    allocate_network,
    leases,
    release_endpoint_address,
    release_network,
    request_endpoint_address,
    restore_network,
    subnet_status,
)
from towline.ipam.null import NullIpam
from towline.ipam.prefixes import PrefixSet
from towline.ipam.registry import builtin_drivers
from towline.model.config import AddressPool
from towline.model.endpoint import Endpoint
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, NotFound
from towline.model.network import Lease, Network, Pool, SubnetStatus
from towline.model.requests import PoolRequest

UINT64_MAX = 2**64 - 1
POOLS = (AddressPool("10.0.0.0/8", 24), AddressPool("fd7a:65b3:b3df::/48", 64))
Ask = PoolRequest


@pytest.fixture
def driver() -> DefaultIpam:
    """As the recorded Docker: its default bridge has the first subnet."""
    driver = DefaultIpam(POOLS)
    create(driver, "bridge")
    return driver


def create(driver: Any, name: str, *requests: Ask, **how: Any) -> Network:
    settings: dict[str, Any] = {
        "ipv4": True,
        "ipv6": False,
        "scope": "local",
        "in_use": PrefixSet(),
        "options": None,
        "skip_gateway4": False,
        "skip_gateway6": False,
        **how,
    }
    pools = allocate_network(driver, network_id=f"id-{name}", requests=requests, **settings)
    return Network(
        id=f"id-{name}",
        name=name,
        created=0,
        driver="bridge",
        scope=settings["scope"],
        pools=pools,
        ipam_options=settings["options"],
    )


def snapshot(driver: DefaultIpam, *networks: str) -> list[list[Lease]]:
    return [driver.leases(f"id-{name}") for name in networks]


RECORDED: list[tuple[list[Ask], dict[str, bool], list[Pool], list[tuple[int, int]]]] = [
    ([], {}, [Pool("10.0.1.0/24", gateway="10.0.1.1")], [(3, 253)]),
    ([Ask("10.60.0.0/16")], {}, [Pool("10.60.0.0/16", gateway="10.60.0.1")], [(3, 65533)]),
    (
        [Ask("10.61.0.0/24", "10.61.0.64/26")],
        {},
        [Pool("10.61.0.0/24", "10.61.0.64/26", "10.61.0.64")],
        [(3, 63)],
    ),
    (
        [Ask("fd00:77::/64"), Ask("10.62.0.0/24")],
        {"ipv6": True},
        [Pool("10.62.0.0/24", gateway="10.62.0.1"), Pool("fd00:77::/64", gateway="fd00:77::1")],
        [(3, 253), (2, UINT64_MAX - 1)],
    ),
    ([Ask("fd00:78::/64")], {}, [Pool("10.0.1.0/24", gateway="10.0.1.1")], [(3, 253)]),
    ([Ask("0.0.0.0/26")], {}, [Pool("10.0.1.0/26", gateway="10.0.1.1")], [(3, 61)]),
    ([Ask("10.63.0.0/30")], {}, [Pool("10.63.0.0/30", gateway="10.63.0.1")], [(3, 1)]),
    ([Ask("10.5.0.0/32")], {}, [Pool("10.5.0.0/32", gateway="10.5.0.0")], [(1, 0)]),
    ([Ask("10.5.0.0/31")], {}, [Pool("10.5.0.0/31", gateway="10.5.0.0")], [(1, 1)]),
    ([Ask("10.8.0.0/24", "10.8.0.5/32")], {}, [Pool("10.8.0.0/24", "10.8.0.5/32", "10.8.0.5")], [(3, 0)]),
    (
        [],
        {"ipv6": True},
        [Pool("10.0.1.0/24", gateway="10.0.1.1"), Pool("fd7a:65b3:b3df::/64", gateway="fd7a:65b3:b3df::1")],
        [(3, 253), (2, UINT64_MAX - 1)],
    ),
    (
        [],
        {"ipv4": False, "ipv6": True},
        [Pool("fd7a:65b3:b3df::/64", gateway="fd7a:65b3:b3df::1")],
        [(2, UINT64_MAX - 1)],
    ),
    (
        [Ask("fd00:77::/64")],
        {"ipv6": True},
        [Pool("fd00:77::/64", gateway="fd00:77::1"), Pool("10.0.1.0/24", gateway="10.0.1.1")],
        [(2, UINT64_MAX - 1), (3, 253)],
    ),
]


@pytest.mark.parametrize(("requests", "families", "pools", "status"), RECORDED)
def test_pools_and_status_as_docker_shows_them(
    driver: DefaultIpam,
    requests: list[Ask],
    families: dict[str, bool],
    pools: list[Pool],
    status: list[tuple[int, int]],
) -> None:
    network = create(driver, "a", *requests, **families)
    assert list(network.pools) == pools
    assert list(subnet_status(driver, network).items()) == [
        (pool.subnet, SubnetStatus(*counts)) for pool, counts in zip(pools, status, strict=True)
    ]


OVERLAP = "invalid pool request: Pool overlaps with other one on this address space"
REFUSED: list[tuple[list[Ask], type[Exception], str]] = [
    ([Ask("10.60.0.0/24")], Forbidden, OVERLAP),
    ([Ask("10.0.0.0/8")], Forbidden, OVERLAP),
    ([Ask("10.5.0.0/24"), Ask("10.5.0.0/25")], Forbidden, OVERLAP),
    (
        [Ask("10.5.0.0/24", gateway="10.5.0.0")],
        Failure,
        "failed to allocate gateway (10.5.0.0): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24", gateway="10.5.0.255")],
        Failure,
        "failed to allocate gateway (10.5.0.255): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24", aux={"a": "10.5.0.1"})],
        Failure,
        "failed to allocate secondary ip address (a:10.5.0.1): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24", aux={"a": "10.5.0.9", "b": "10.5.0.9"})],
        Failure,
        "failed to allocate secondary ip address (b:10.5.0.9): Address already in use",
    ),
    (
        [Ask("10.5.0.0/24"), Ask("10.6.0.0/24", aux={"a": "10.7.0.1"})],
        Forbidden,
        "auxiliary address: (a:10.7.0.1) must belong to the master pool: 10.6.0.0/24",
    ),
    ([Ask("fd00:5::/128")], Failure, "failed to allocate gateway (): no available addresses on this pool"),
    (
        [Ask("0.0.0.0/24", "10.0.0.0/25")],
        Failure,
        'failed to parse pool request for address space "LocalDefault" pool "" subpool "10.0.0.0/25": '
        "invalid address subpool",
    ),
    (
        [Ask("10.5.0.0/24", "fd00::/80")],
        InvalidParameter,
        "pool and subpool are of incompatible address families",
    ),
]


@pytest.mark.parametrize(("requests", "kind", "text"), REFUSED, ids=[text for _, _, text in REFUSED])
def test_a_refusal_says_what_docker_says_and_leaves_nothing(
    driver: DefaultIpam, requests: list[Ask], kind: type[Exception], text: str
) -> None:
    create(driver, "a", Ask("10.60.0.0/16"))
    before = snapshot(driver, "bridge", "a")
    with pytest.raises(kind) as refused:
        create(driver, "x", Ask("10.99.0.0/24"), *requests, ipv6=True)
    assert str(refused.value) == text
    assert snapshot(driver, "bridge", "a", "x") == [*before, []]
    create(driver, "y", Ask("10.99.0.0/24", gateway="10.99.0.9"), Ask("10.5.0.0/24"), Ask("10.6.0.0/24"))


def test_given_back_pools_are_the_next_to_go() -> None:
    driver = DefaultIpam(POOLS)
    networks = [create(driver, str(number)) for number in range(5)]
    release_network(driver, networks[2], ())
    assert [create(driver, name).pools[0].subnet for name in ("p", "q")] == ["10.0.2.0/24", "10.0.5.0/24"]


def test_automatic_pools_of_this_host_avoid_its_prefixes_those_of_the_cluster_do_not() -> None:
    driver, in_use = DefaultIpam(POOLS), PrefixSet(["10.0.0.0/16"])
    assert create(driver, "a", in_use=in_use).pools[0].subnet == "10.1.0.0/24"
    assert create(driver, "b", in_use=in_use, scope="global").pools[0].subnet == "10.0.0.0/24"
    assert create(driver, "c", Ask("10.0.5.0/24"), in_use=in_use).pools[0].subnet == "10.0.5.0/24"


def test_a_skipped_gateway_is_taken_only_when_given(driver: DefaultIpam) -> None:
    network = create(driver, "a", skip_gateway4=True)
    assert network.pools[0].gateway == ""
    assert subnet_status(driver, network)["10.0.1.0/24"].used == 2
    assert (
        create(driver, "b", Ask("10.9.0.0/24", gateway="10.9.0.7"), skip_gateway4=True).pools[0].gateway == "10.9.0.7"
    )


def test_exhausted_predefined_pools_are_named_with_their_fill() -> None:
    driver = DefaultIpam((AddressPool("10.0.0.0/23", 24),))
    create(driver, "a")
    create(driver, "b")
    with pytest.raises(InvalidParameter) as refused:
        create(driver, "c")
    assert str(refused.value) == (
        "all predefined address pools have been fully subnetted: 10.0.0.0/23 in /24: 2 of 2 taken"
    )


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


def test_null_driver() -> None:
    driver = NullIpam()
    network = create(driver, "a", ipv6=True)
    assert network.pools == (Pool("0.0.0.0/0"), Pool("::/0"))
    assert request_endpoint_address(driver, network, endpoint_id="e", name="e", v6=False) == ""
    assert subnet_status(driver, network) == {}
    assert leases(driver, network.id) == []
    restore_network(driver, network, ())
    release_network(driver, network, ())
    for query, text in (
        (PoolQuery("null", False, "n", pool="10.0.0.0/8"), "does not handle specific address pool requests"),
        (PoolQuery("null", False, "n", subpool="10.0.0.0/8"), "does not handle specific address subpool requests"),
        (PoolQuery("default", False, "n"), "^unknown address space: default$"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            driver.request_pool(query)
    with pytest.raises(InvalidParameter, match="^unknown pool id: x$"):
        driver.request_address(AddressQuery("x", "n", "gateway"))


def test_drivers_by_name() -> None:
    drivers = builtin_drivers((), "id")
    assert [drivers.get(name).name for name in ("default", "null")] == ["default", "null"]
    for unknown in ("nope", "Default", ""):
        with pytest.raises(NotFound) as refused:
            drivers.get(unknown)
        assert str(refused.value) == f'plugin "{unknown}" not found'


def test_default_driver_knows_its_spaces_and_pools(driver: DefaultIpam) -> None:
    with pytest.raises(InvalidParameter, match="^cannot find address space nope$"):
        driver.request_pool(PoolQuery("nope", False, "n"))
    with pytest.raises(UnknownPool, match="^cannot find address pool for poolID:x$"):
        driver.request_address(AddressQuery("x", "n", "gateway"))


class Plugin:
    """A remote driver as the contract allows it: opaque pool ids, a gateway of its own, no books we can read."""

    name = "plugin"
    capabilities = Capabilities(requires_mac=True)
    address_spaces = AddressSpaces("here", "everywhere")

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def request_pool(self, query: PoolQuery) -> PoolGrant:
        self.calls.append(("pool", query.space, query.pool, query.options))
        return PoolGrant("p-1", "192.0.2.0/24", gateway="192.0.2.254")

    def release_pool(self, pool_id: str, owner: str) -> None:
        self.calls.append(("release", pool_id))

    def request_address(self, query: AddressQuery) -> str:
        self.calls.append(("address", query.pool_id, query.address, query.options))
        return f"{query.address or '192.0.2.1'}/24"

    def release_address(self, pool_id: str, address: str, owner: str) -> None:
        self.calls.append(("free", pool_id, address))
        raise Failure("remote: away")


def test_a_remote_driver_sees_dockers_calls() -> None:
    plugin = Plugin()
    network = create(plugin, "a", Ask(aux={"x": "192.0.2.3"}), scope="global", options={"k": "v"})
    assert network.pools == (Pool("192.0.2.0/24", gateway="192.0.2.254", aux={"x": "192.0.2.3"}, handle="p-1"),)
    request_endpoint_address(plugin, network, endpoint_id="e", name="web", v6=False, mac="02:00:00:00:00:01")
    options = {
        "com.docker.network.endpoint.name": "web",
        "com.docker.network.endpoint.macaddress": "02:00:00:00:00:01",
    }
    assert plugin.calls == [
        ("pool", "everywhere", "", {"k": "v"}),
        ("address", "p-1", "192.0.2.3", {}),
        ("address", "p-1", "", options),
    ]
    plugin.calls.clear()
    with pytest.raises(ExceptionGroup, match="could not release all addresses of network a") as left:
        release_network(plugin, network, [Endpoint("e", "web", network.id, ipv4="192.0.2.1/24")])
    assert len(left.value.exceptions) == 3
    assert plugin.calls == [
        ("free", "p-1", "192.0.2.254"),
        ("free", "p-1", "192.0.2.3"),
        ("free", "p-1", "192.0.2.1"),
        ("release", "p-1"),
    ]


def test_a_gateway_request_says_what_it_is_for() -> None:
    plugin = Plugin()
    create(plugin, "a", Ask("192.0.2.0/24", gateway="192.0.2.9"))
    assert plugin.calls[-1] == (
        "address",
        "p-1",
        "192.0.2.9",
        {"RequestAddressType": "com.docker.network.gateway"},
    )
