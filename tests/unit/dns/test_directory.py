"""Names kept up to date step by step are the names made from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.dns_lab import World, ask, keep_order, sandbox_id_of, texts
from towline.dns.answer import answer
from towline.dns.names import Directory
from towline.dns.zone import Service
from towline.model.cluster import Peer

_NAMES = ("a", "b", "c")
_steps = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "stop", "ask", "rename", "peer", "peer gone"]),
        st.integers(0, 2),
        st.sampled_from(_NAMES),
        st.sampled_from([(), ("x",), ("x", "a"), ("1.0.1.10.in-addr.arpa",)]),
        st.sampled_from([(), ("b:x",), ("a",)]),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(_steps)
def test_step_by_step_is_from_scratch(
    steps: list[tuple[str, int, str, tuple[str, ...], tuple[str, ...]]],
) -> None:
    world = World()
    networks = [world.add_network(name) for name in ("n", "m.n", "o")]
    endpoints: list[str] = []
    for number, (verb, index, name, aliases, links) in enumerate(steps):
        if verb == "join":
            address = f"10.{index}.1.{number + 1}"
            endpoints.append(world.join(networks[index], name, ipv4=address, aliases=aliases, links=links))
        elif verb == "rename" and not world.endpoints_of(networks[index]):
            world.remove_network(networks[index])
            networks[index] = world.add_network(f"new{number}")
        elif verb in ("leave", "stop") and endpoints:
            (world.leave if verb == "leave" else world.stop)(endpoints.pop(index % len(endpoints)))
        elif verb == "peer":
            world.set_peer(_peer(index, networks[index % len(networks)], name, number, aliases))
        elif verb == "peer gone" and (peer := world.peer(f"p{index}")) is not None:
            world.drop_peer(peer)
        elif verb == "ask":
            _compare(world)
    _compare(world)


def _peer(index: int, network_id: str, name: str, number: int, aliases: tuple[str, ...]) -> Peer:
    return Peer(
        id=f"p{index}",
        network=network_id,
        node="n2",
        vtep="192.0.2.2",
        mac="02:00:00:00:00:01",
        ipv4=f"10.{index}.2.{number + 1}/16",
        dns_names=(name, *aliases),
    )


def test_an_endpoint_on_another_node_is_found_by_name_and_address() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    assert texts(ask(world, "cli", "far")) is None
    far = replace(_peer(1, network, "far", 4, ("www",)), ipv6="fd00:1::9/64")
    world.set_peer(far)
    assert texts(ask(world, "cli", "far")) == texts(ask(world, "cli", "WWW.n")) == ["10.1.2.5"]
    assert texts(ask(world, "cli", "far", "AAAA")) == ["fd00:1::9"]
    assert texts(ask(world, "cli", "5.2.1.10.in-addr.arpa", "PTR")) == ["far.n."]
    world.set_peer(replace(far, ipv4="10.1.2.6/16", dns_names=("far",)))
    assert (texts(ask(world, "cli", "far")), texts(ask(world, "cli", "www"))) == (["10.1.2.6"], None)
    world.drop_peer(far)
    assert texts(ask(world, "cli", "far")) is None


def test_what_moves_here_is_known_on_both_sides_for_a_moment() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    moved = world.join(network, "web", ipv4="10.1.0.3")
    peer = replace(_peer(1, network, "web", 4, ()), id=moved, ipv4="10.1.0.3/16")
    world.set_peer(peer)
    assert texts(ask(world, "cli", "web")) == ["10.1.0.3"]
    world.drop_peer(peer)
    assert texts(ask(world, "cli", "web")) == ["10.1.0.3"]


def test_a_change_elsewhere_costs_what_it_changes() -> None:
    """Not a look at every endpoint of the network."""
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    for number in range(50):
        world.set_peer(replace(_peer(number, network, f"far{number}", 4, ()), ipv4=f"10.1.3.{number}/16"))
    ask(world, "cli", "far0")
    world.peers_of = world.endpoints_of = None  # type: ignore[method-assign,assignment]
    world.set_peer(replace(_peer(7, network, "far7", 4, ()), ipv4="10.1.4.7/16"))
    assert texts(ask(world, "cli", "far7")) == ["10.1.4.7"]


def _compare(world: World) -> None:
    kept = world.directory
    for sandbox in _NAMES:
        for name in (*_NAMES, "x", "x.n", "a.m.n", "b.o", "1.0.1.10.in-addr.arpa"):
            for kind in ("A", "PTR"):
                world.directory = kept
                found = texts(ask(world, sandbox, name, kind))
                world.directory = Directory(world)
                assert found == texts(ask(world, sandbox, name, kind))
    world.directory = kept


def test_services_of_a_network_are_offered() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.3")
    ports = [8080]

    def services(network_id: str) -> Sequence[Service]:
        return [Service("web", "_http", "_tcp", port, "web", "10.1.0.2") for port in ports]

    directory = Directory(world, services)
    query = dns.message.make_query("_http._tcp.web", "SRV").to_wire()
    for expected in (["0 0 8080 web."], ["0 0 9090 web."]):
        said = answer(query, directory.names(sandbox_id_of("cli")), keep_order)
        assert isinstance(said, bytes)
        assert texts(dns.message.from_wire(said)) == expected
        ports[:] = [9090]
        directory.changed(network)
