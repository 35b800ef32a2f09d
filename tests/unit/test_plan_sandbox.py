"""Gateways, interface names and transitions, as values."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from towline.drivers.endpoint import SYSCTLS, interface_sysctls
from towline.drivers.registry import builtin_drivers
from towline.model.endpoint import Endpoint, EndpointConfig, Published
from towline.model.network import Network, Pool
from towline.model.sandbox import Sandbox
from towline.plan.endpoint import name_interfaces
from towline.plan.gateways import choose
from towline.plan.published import place
from towline.plan.sandbox import NOTHING, members_of, realise, transition
from towline.store.contract import Put
from towline.store.memory import MemoryStore

BOX = Sandbox(id="b" * 64, name="box", created=1, state="running", netns="/netns/b")
DRIVERS = builtin_drivers()


def network(name: str, *, v6: bool = False, **fields: object) -> Network:
    number = ord(name[0])
    pools = [Pool(f"10.{number}.0.0/24", gateway=f"10.{number}.0.1")]
    if v6:
        pools.append(Pool(f"fd00:{number}::/64", gateway=f"fd00:{number}::1"))
    made = Network(id=name * 64, name=name, created=1, driver="bridge", link=f"br-{name}", pools=tuple(pools))
    return replace(made, enable_ipv6=v6, **fields)


def endpoint(of: Network, *, priority: int = 0) -> Endpoint:
    number = ord(of.name[0])
    return Endpoint(
        id=f"e{of.name}" * 32,
        name="box",
        network=of.id,
        sandbox=BOX.id,
        mac="02:00:00:00:00:01",
        ipv4=f"10.{number}.0.2/24",
        ipv6=f"fd00:{number}::2/64" if of.enable_ipv6 else "",
        ifname=f"eth{number % 10}",
        host_link=f"veth{of.name}",
        config=EndpointConfig(gw_priority=priority),
    )


def store(*pairs: tuple[Network, Endpoint]) -> MemoryStore:
    made = MemoryStore()
    made.update([Put(BOX), *(Put(record) for pair in pairs for record in pair)])
    return made


def gateways(*pairs: tuple[Network, Endpoint]) -> tuple[str | None, str | None]:
    chosen = choose(members_of(BOX, store(*pairs).view(), DRIVERS))
    return tuple(member.network.name if member else None for member in chosen)  # type: ignore[return-value]


def joined(name: str, *, priority: int = 0, v6: bool = False, **fields: object) -> tuple[Network, Endpoint]:
    of = network(name, v6=v6, **fields)
    return of, endpoint(of, priority=priority)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([joined("b"), joined("a")], ("a", None)),
        ([joined("a"), joined("b", priority=1)], ("b", None)),
        ([joined("a", internal=True), joined("b")], ("b", None)),
        ([joined("a", internal=True)], (None, None)),
        ([joined("a"), joined("b", v6=True)], ("b", "b")),
        ([joined("a", priority=9), joined("b", v6=True)], ("a", "b")),
    ],
)
def test_the_gateway_is_chosen_as_docker_does(
    pairs: list[tuple[Network, Endpoint]], expected: tuple[str | None, str | None]
) -> None:
    assert gateways(*pairs) == expected


def test_an_auxiliary_address_overrides_the_gateway() -> None:
    of = network("a")
    of = replace(of, pools=(replace(of.pools[0], aux={"DefaultGatewayIPv4": "10.97.0.9"}),))
    will = realise(BOX, store((of, endpoint(of))).view(), DRIVERS)
    assert will.defaults.ipv4 == ("eth7", "10.97.0.9")


def test_ports_are_on_the_gateway_of_their_family() -> None:
    four, both = joined("a", priority=1), joined("b", v6=True)
    members = members_of(BOX, store(four, both).view(), DRIVERS)
    ports = [Published("tcp", "0.0.0.0", 8080, 80), Published("tcp", "::", 8080, 80)]
    placed = {e.network[0]: [p.host_ip for p in e.published] for e in place(members, ports)}
    assert placed == {"a": ["0.0.0.0"], "b": ["::"]}


def test_a_routed_gateway_takes_no_host_port() -> None:
    pair = joined("a", options={"com.docker.network.bridge.gateway_mode_ipv4": "routed"})
    members = members_of(BOX, store(pair).view(), DRIVERS)
    assert place(members, [Published("tcp", "0.0.0.0", 8080, 80)])[0].published[0].host_port == 0


def test_interfaces_are_named_in_order_around_what_is_taken() -> None:
    a, b, c = (replace(joined(name)[1], ifname="") for name in "abc")
    b = replace(b, config=EndpointConfig(driver_opts={"com.docker.network.endpoint.ifname": "web0"}))
    prefixes = {e.network: "eth" for e in (a, b, c)}
    assert [e.ifname for e in name_interfaces([a, b, c], prefixes, ["lo", "eth1"])] == ["eth0", "web0", "eth2"]


def test_what_does_not_run_needs_nothing() -> None:
    pair = joined("a")
    assert realise(replace(BOX, state="exited"), store(pair).view(), DRIVERS) == NOTHING


def test_a_transition_is_the_difference() -> None:
    a, b = joined("a"), joined("b")
    one = realise(BOX, store(a).view(), DRIVERS)
    two = realise(BOX, store(a, b).view(), DRIVERS)
    more = transition(one, two)
    assert [i.host_name for i in more.joins] == ["vethb"]
    assert (more.leaves, more.losses, more.defaults) == ((), (), None)
    assert more.gains
    less = transition(two, one)
    assert [i.host_name for i in less.leaves] == ["vethb"]
    assert set(less.losses) == set(more.gains)
    gone = transition(one, NOTHING)
    assert (gone.netns, gone.defaults, len(gone.leaves)) == ("/netns/b", None, 1)
    assert transition(one, one).joins == ()


def test_sysctls_name_the_interface() -> None:
    options = {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=0"}
    assert interface_sysctls(options, "eth1") == (
        ("net/ipv4/conf/eth1/log_martians", "1"),
        ("net/ipv6/conf/eth1/accept_ra", "0"),
    )
