"""IPAM drivers as the core sees them: default, null, by name, and a remote one."""

from __future__ import annotations

import pytest

from tests.support.ipam import POOLS, Ask, create
from towline.ipam.contract import AddressQuery, AddressSpaces, Capabilities, PoolGrant, PoolQuery
from towline.ipam.default import DefaultIpam
from towline.ipam.errors import AddressTaken, BlockNeeded, UnknownPool
from towline.ipam.networks import (
    leases,
    release_network,
    request_endpoint_address,
    restore_network,
    subnet_status,
)
from towline.ipam.null import NullIpam
from towline.ipam.registry import builtin_drivers
from towline.model.cluster import Block
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, InvalidParameter, NotFound
from towline.model.network import Network, Pool


@pytest.fixture
def driver() -> DefaultIpam:
    """As the recorded Docker: its default bridge has the first subnet."""
    driver = DefaultIpam(POOLS)
    create(driver, "bridge")
    return driver


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


def shared_network() -> Network:
    return Network(
        id="n" * 25,
        name="ov",
        created=0,
        driver="overlay",
        scope="swarm",
        pools=(Pool("10.0.0.0/24", gateway="10.0.0.1"), Pool("10.0.1.0/24"), Pool("fd00:1::/64")),
    )


def block(prefix: str, subnet: str = "10.0.0.0/24") -> Block:
    return Block(network="n" * 25, subnet=subnet, prefix=prefix, node="n1")


def test_addresses_of_a_global_network_are_of_the_given_blocks_in_turn() -> None:
    driver, network = DefaultIpam(POOLS), shared_network()
    restore_network(driver, network, ())
    blocks = [block("10.0.0.0/30"), block("10.0.0.16/31"), block("10.0.1.128/31", "10.0.1.0/24")]

    def ask(number: int, **more: str) -> str:
        owner = f"e{number}"
        return request_endpoint_address(driver, network, endpoint_id=owner, name=owner, v6=False, blocks=blocks, **more)

    assert [ask(n) for n in range(4)] == ["10.0.0.2/24", "10.0.0.3/24", "10.0.0.16/24", "10.0.0.17/24"]
    assert ask(4) == "10.0.1.128/24"
    driver.release_address("SwarmDefault/10.0.0.0/24", "10.0.0.16", "e2")
    assert driver.endpoints_in("SwarmDefault/10.0.0.0/24", "10.0.0.16/31") == 1
    assert [ask(n) for n in (5, 6)] == ["10.0.0.16/24", "10.0.1.129/24"]
    with pytest.raises(BlockNeeded) as full:
        ask(7)
    assert (full.value.subnets, full.value.address) == (("10.0.0.0/24", "10.0.1.0/24"), "")
    with pytest.raises(BlockNeeded) as elsewhere:
        ask(8, address="10.0.1.7")
    assert (elsewhere.value.subnets, elsewhere.value.address) == (("10.0.1.0/24",), "10.0.1.7")
    with pytest.raises(AddressTaken):
        ask(9, address="10.0.0.2")
    assert driver.endpoints_in("SwarmDefault/10.0.0.0/24", "10.0.0.0/30") == 2  # not the gateway, not the network


def test_the_cluster_s_subnets_may_be_those_of_this_host_too() -> None:
    driver, network = DefaultIpam(POOLS), shared_network()
    create(driver, "here", Ask("10.0.0.0/24"))
    restore_network(driver, network, ())
    release_network(driver, network, ())
    restore_network(driver, network, ())
