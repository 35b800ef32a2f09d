"""Names kept up to date step by step are the names made from scratch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.dns_lab import World, ask, texts
from towline.dns.names import Directory
from towline.model.cluster import Peer
from towline.model.service import EndpointMode, Service, ServicePort, VirtualIP

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


def _service(at: int, network: str, mode: EndpointMode = "vip", **fields: object) -> Service:
    vips = (VirtualIP(network, f"10.1.9.{at}/16", f"fd00:1::9:{at}/64"),) if mode == "vip" else ()
    return Service(f"s{at}", f"svc{at}", 1, mode=mode, networks=(network,), vips=vips, **fields)  # type: ignore[arg-type]


def _members(world: World, network: str, service: str) -> tuple[str, str]:
    """One here, one on another node; the first one's id."""
    here = world.join(network, "one", ipv4="10.1.0.4", ipv6="fd00:1::4")
    world.put(replace(world.endpoints_of(network)[-1], service=service))
    world.set_peer(replace(_peer(1, network, "two", 4, ()), service=service))
    return here, "p1"


def test_a_service_is_its_address_and_its_tasks_are_its_members() -> None:
    world = World()
    network, other = world.add_network("n"), world.add_network("o")
    world.join(network, "cli", ipv4="10.1.0.2")
    world.join(other, "far", ipv4="10.1.0.3")
    here, _ = _members(world, network, "s1")
    assert texts(ask(world, "cli", "svc1")) is None
    service = _service(1, network)
    world.set_service(service)
    assert texts(ask(world, "cli", "SVC1")) == texts(ask(world, "cli", "svc1.n")) == ["10.1.9.1"]
    assert texts(ask(world, "cli", "svc1", "AAAA")) == ["fd00:1::9:1"]
    assert (
        texts(ask(world, "cli", "tasks.svc1")) == texts(ask(world, "cli", "tasks.svc1.n")) == ["10.1.0.4", "10.1.2.5"]
    )
    assert texts(ask(world, "cli", "1.9.1.10.in-addr.arpa", "PTR")) == ["svc1.n."]
    assert texts(ask(world, "cli", "4.0.1.10.in-addr.arpa", "PTR")) == ["one.n."]
    assert texts(ask(world, "far", "svc1")) is texts(ask(world, "far", "tasks.svc1")) is None
    world.stop(here)
    assert (texts(ask(world, "cli", "svc1")), texts(ask(world, "cli", "tasks.svc1"))) == (["10.1.9.1"], ["10.1.2.5"])
    world.set_service(replace(service, mode="dnsrr", vips=()))
    assert texts(ask(world, "cli", "svc1")) == ["10.1.2.5"]
    assert texts(ask(world, "cli", "1.9.1.10.in-addr.arpa", "PTR")) is None
    world.drop_service(service)
    assert texts(ask(world, "cli", "svc1")) is texts(ask(world, "cli", "tasks.svc1")) is None


def test_a_record_that_cannot_be_takes_no_other_service_along() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    world.set_service(replace(_service(1, network), vips=(VirtualIP(network, "nowhere/16", "fd00::1%lo/64"),)))
    world.set_service(_service(2, network, ports=(ServicePort(80, name="web"), ServicePort(1 << 16, name="odd"))))
    assert texts(ask(world, "cli", "svc1")) == texts(ask(world, "cli", "svc1", "AAAA")) == []
    assert texts(ask(world, "cli", "svc2")) == ["10.1.9.2"]
    assert texts(ask(world, "cli", "_web._tcp.svc2", "SRV")) == ["0 0 80 svc2."]
    assert texts(ask(world, "cli", "odd.tcp.svc2", "SRV")) is None


def test_members_on_nodes_that_are_down_are_left_out() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    _, there = _members(world, network, "s1")
    world.set_service(_service(1, network, "dnsrr", ports=(ServicePort(80, name="web"),)))
    assert texts(ask(world, "cli", "svc1")) == ["10.1.0.4", "10.1.2.5"]
    assert texts(ask(world, "cli", "web.tcp.svc1", "SRV")) == ["0 0 80 one.", "0 0 80 two."]
    world.directory.set_down({"n2"})
    world.directory.changed(network, [there])
    assert texts(ask(world, "cli", "svc1")) == texts(ask(world, "cli", "tasks.svc1")) == ["10.1.0.4"]
    assert texts(ask(world, "cli", "two")) == ["10.1.2.5"]
    world.directory.set_down(())
    world.directory.changed(network, [there])
    assert texts(ask(world, "cli", "svc1")) == ["10.1.0.4", "10.1.2.5"]


def test_a_service_without_members_is_known_and_has_no_address() -> None:
    """So that its name is asked of nobody outside."""
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    world.set_service(_service(1, network, "dnsrr"))
    assert (texts(ask(world, "cli", "svc1")), texts(ask(world, "cli", "tasks.svc1"))) == ([], None)


def test_an_endpoint_with_a_service_s_name_does_not_answer_for_it() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "svc1", ipv4="10.1.0.2")
    assert texts(ask(world, "svc1", "svc1")) == ["10.1.0.2"]
    service = _service(1, network)
    world.set_service(service)
    assert texts(ask(world, "svc1", "svc1")) == ["10.1.9.1"]
    world.drop_service(service)
    assert texts(ask(world, "svc1", "svc1")) == ["10.1.0.2"]


_service_steps = st.lists(
    st.tuples(
        st.sampled_from(["service", "no service", "member", "leave", "peer", "peer gone", "down", "ask"]),
        st.integers(1, 2),
        st.sampled_from(["vip", "dnsrr"]),
    ),
    max_size=20,
)


@settings(max_examples=100)
@given(_service_steps)
def test_services_step_by_step_are_those_from_scratch(steps: list[tuple[str, int, EndpointMode]]) -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.2")
    down: set[str] = set()
    here: list[str] = []
    for number, (verb, at, mode) in enumerate(steps):
        if verb == "service":
            world.set_service(_service(at, network, mode))
        elif verb == "no service" and (known := [s for s in world.services_on(network) if s.id == f"s{at}"]):
            world.drop_service(known[0])
        elif verb == "member":
            here.append(world.join(network, f"m{number}", ipv4=f"10.1.3.{number}"))
            world.put(replace(world.endpoints_of(network)[-1], service=f"s{at}"))
        elif verb == "leave" and here:
            world.leave(here.pop())
        elif verb == "peer":
            world.set_peer(replace(_peer(at, network, f"p{at}", number, ()), service=f"s{number % 2 + 1}"))
        elif verb == "peer gone" and (peer := world.peer(f"p{at}")) is not None:
            world.drop_peer(peer)
        elif verb == "down":
            down ^= {"n2"}
            world.directory.set_down(down)
            world.directory.changed(network, [peer.id for peer in world.peers_of(network)])
        else:
            _compare_services(world, down)
    _compare_services(world, down)


def _compare_services(world: World, down: set[str]) -> None:
    kept = world.directory
    for name in ("svc1", "svc2", "tasks.svc1", "tasks.svc2", "p1", "1.9.1.10.in-addr.arpa"):
        kind = "PTR" if name.endswith("arpa") else "A"
        world.directory = kept
        found = texts(ask(world, "cli", name, kind))
        world.directory = Directory(world)
        world.directory.set_down(down)
        fresh = texts(ask(world, "cli", name, kind))
        assert (found is None, sorted(found or ())) == (fresh is None, sorted(fresh or ()))
    world.directory = kept
