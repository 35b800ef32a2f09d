"""Names kept up to date step by step are the names made from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dns_lab import World, ask, keep_order, sandbox_id_of, texts
from towline.dns.answer import answer
from towline.dns.names import Directory
from towline.dns.zone import Service

_NAMES = ("a", "b", "c")
_steps = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "stop", "ask", "rename"]),
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
        elif verb == "ask":
            _compare(world)
    _compare(world)


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
