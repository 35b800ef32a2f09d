"""Docker's table of answers (docker facts 6.6), question by question, as dnspython reads them."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.reversename
import msgspec
import pytest

from tests.support.dns_lab import World, ask, keep_order, sandbox_id_of, texts
from towline.dns.answer import Forward, answer
from towline.dns.names import Directory
from towline.model.endpoint import EndpointConfig
from towline.model.sandbox import Sandbox
from towline.model.service import Service, ServicePort, VirtualIP
from towline.plan.endpoint import dns_names


@pytest.fixture
def world() -> World:
    """The network that Docker's answers were recorded in: web (alias al, hostname hweb), cli (link web:lnk)."""
    made = World()
    dn, dn4 = made.add_network("dn"), made.add_network("dn4", ipv6=False)
    made.join(dn, "web", ipv4="10.1.0.2", ipv6="fd00:1::2", aliases=["al"], hostname="hweb")
    made.join(dn, "cli", ipv4="10.1.0.3", ipv6="fd00:1::3", links=["web:lnk"])
    made.join(dn4, "cli", ipv4="10.2.0.3")
    made.join(dn4, "w4", ipv4="10.2.0.4", aliases=["x4"])
    return made


@pytest.mark.parametrize("name", ["web", "WEB", "al", "hweb", sandbox_id_of("web")[:12], "web.dn", "al.dn", "lnk"])
def test_known_names_have_both_families(world: World, name: str) -> None:
    assert texts(ask(world, "cli", name, "A")) == ["10.1.0.2"]
    assert texts(ask(world, "cli", name, "AAAA")) == ["fd00:1::2"]


def test_flags_ttl_and_case_are_dockers(world: World) -> None:
    reply = ask(world, "cli", "WeB")
    assert reply is not None
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert reply.answer[0].ttl == 600
    assert str(reply.answer[0].name) == "WeB."


def test_own_name_and_names_on_another_network(world: World) -> None:
    assert texts(ask(world, "cli", "cli")) == ["10.1.0.3"]
    for name in ("w4", "w4.dn4", "x4"):
        assert texts(ask(world, "cli", name)) == ["10.2.0.4"]
    assert texts(ask(world, "cli", "cli.dn4")) == ["10.2.0.3"]
    assert texts(ask(world, "web", "w4")) is None


@pytest.mark.parametrize(("name", "kind"), [("w4", "AAAA"), ("web", "MX"), ("w4", "MX"), ("lnk", "MX")])
def test_known_names_without_such_records_are_empty(world: World, name: str, kind: str) -> None:
    reply = ask(world, "cli", name, kind)
    assert reply is not None
    assert (reply.rcode(), reply.answer, reply.authority) == (dns.rcode.NOERROR, [], [])
    assert reply.flags & dns.flags.RA


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("web", kind) for kind in ("TXT", "ANY", "CNAME", "SOA", "HTTPS", "SRV", "NS", "PTR")),
        ("web.nonet", "A"),
        ("nope", "A"),
        ("nope", "MX"),
        ("localhost", "A"),
        (".", "A"),
        ("dn", "A"),
        ("_http._tcp.web", "SRV"),
        ("1.0.1.10.in-addr.arpa", "PTR"),
    ],
)
def test_everything_else_is_forwarded(world: World, name: str, kind: str) -> None:
    assert ask(world, "cli", name, kind) is None


def test_other_classes_are_forwarded(world: World) -> None:
    query = dns.message.make_query("web", "TXT", "CH").to_wire()
    assert isinstance(answer(query, world.directory.names(sandbox_id_of("cli")), keep_order), Forward)


def test_links_hold_for_their_sandbox_only(world: World) -> None:
    assert ask(world, "web", "lnk") is None


def test_a_link_hides_a_name_in_its_network() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "a", ipv4="10.1.0.2")
    world.join(network, "b", ipv4="10.1.0.3")
    world.join(network, "cli", ipv4="10.1.0.4", links=["a:b", "gone:a", "/b:/cli/Other"])
    assert texts(ask(world, "cli", "b")) == ["10.1.0.2"]
    assert texts(ask(world, "cli", "b.n")) == ["10.1.0.2"]
    assert ask(world, "cli", "a") is None
    assert texts(ask(world, "cli", "other")) == ["10.1.0.3"]


@pytest.mark.parametrize("address", ["10.1.0.2", "fd00:1::2"])
def test_reverse_names(world: World, address: str) -> None:
    reverse = str(dns.reversename.from_address(address))
    assert texts(ask(world, "cli", reverse, "PTR")) == ["web.dn."]
    assert texts(ask(world, "cli", reverse.upper(), "PTR")) == ["web.dn."]
    assert texts(ask(world, "w4", reverse, "PTR")) is None
    assert ask(world, "cli", reverse, "A") is None


def test_an_alias_cannot_pose_as_a_reverse_name() -> None:
    world = World()
    network = world.add_network("n")
    endpoint = world.join(network, "web", ipv4="10.1.0.2", aliases=["2.0.1.10.in-addr.arpa", "9.0.1.10.in-addr.arpa"])
    world.join(network, "cli", ipv4="10.1.0.3")
    assert texts(ask(world, "cli", "2.0.1.10.in-addr.arpa", "PTR")) == ["web.n."]
    assert ask(world, "cli", "9.0.1.10.in-addr.arpa", "PTR") is None
    world.leave(endpoint)
    assert ask(world, "cli", "2.0.1.10.in-addr.arpa", "PTR") is None


def test_single_labels_stay_with_ndots(world: World) -> None:
    for kind in ("A", "AAAA"):
        reply = ask(world, "cli", "nope", kind, ndots=True)
        assert reply is not None
        assert (reply.rcode(), reply.answer, bool(reply.flags & dns.flags.RA)) == (dns.rcode.NOERROR, [], True)
    assert ask(world, "cli", "nope.example", ndots=True) is None
    assert ask(world, "cli", "nope", "TXT", ndots=True) is None
    assert texts(ask(world, "cli", "web", ndots=True)) == ["10.1.0.2"]


def test_service_ports() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.3")
    world.set_service(
        Service(
            "s1",
            "svc",
            1,
            networks=(network,),
            vips=(VirtualIP(network, "10.1.0.8/16", "fd00:1::8/64"),),
            ports=(ServicePort(8080, 80, name="http"), ServicePort(53)),
        )
    )
    names = world.directory.names(sandbox_id_of("cli"))
    query = dns.message.make_query("_HTTP._tcp.svc", "SRV")
    said = answer(query.to_wire(), names, keep_order)
    assert isinstance(said, bytes)
    reply = dns.message.from_wire(said)
    assert texts(reply) == ["0 0 8080 svc."]
    assert isinstance(answer(dns.message.make_query("http.tcp.svc", "SRV").to_wire(), names, keep_order), bytes)
    assert [str(rrset[0]) for rrset in reply.additional] == ["10.1.0.8", "fd00:1::8"]
    assert isinstance(answer(dns.message.make_query("_ftp._tcp.svc", "SRV").to_wire(), names, keep_order), Forward)


def test_several_endpoints_share_an_alias_and_take_turns() -> None:
    world = World()
    network = world.add_network("n")
    for index in range(4):
        world.join(network, f"w{index}", ipv4=f"10.1.0.{index + 2}", aliases=["pool"])
    assert texts(ask(world, "w0", "pool")) == [f"10.1.0.{index + 2}" for index in range(4)]
    query = dns.message.make_query("pool", "A").to_wire()
    said = answer(query, world.directory.names(sandbox_id_of("w0")), lambda records: records.reverse())
    assert isinstance(said, bytes)
    assert next(str(item) for item in dns.message.from_wire(said).answer[0]) == "10.1.0.5"


def test_the_first_network_that_knows_the_name_answers() -> None:
    world = World()
    internal, low, high = world.add_network("a", internal=True), world.add_network("b"), world.add_network("c")
    for network, address in ((internal, "10.1.0.2"), (low, "10.2.0.2"), (high, "10.3.0.2")):
        world.join(network, "web", sandbox=sandbox_id_of(f"web-{address}"), ipv4=address)
        world.join(network, "cli", ipv4=f"{address}0", gw_priority=1 if network == high else 0)
    assert texts(ask(world, "cli", "web")) == ["10.3.0.2"]
    world.leave(next(e.id for e in world.endpoints_of(high) if e.name == "web"))
    assert texts(ask(world, "cli", "web")) == ["10.2.0.2"]
    world.leave(next(e.id for e in world.endpoints_of(low) if e.name == "web"))
    assert texts(ask(world, "cli", "web")) == ["10.1.0.2"]


def test_names_with_dots_are_split_at_every_dot() -> None:
    world = World()
    network = world.add_network("my.net")
    world.join(network, "web", ipv4="10.1.0.2", aliases=["a.b"])
    for name in ("a.b", "a.b.my.net", "web.my.net", "A.B.MY.NET"):
        assert texts(ask(world, "web", name)) == ["10.1.0.2"]
    for name in ("a.b.net", "a.my.net", "b.my.net", "web.net"):
        assert ask(world, "web", name) is None


@pytest.mark.parametrize("name", ["x" * 64, "double..dot", "", ".", "a b", "ünicode", "x" * 300])
def test_names_that_are_none_harm_nobody(name: str) -> None:
    world = World()
    network = world.add_network(name or "n")
    world.join(network, "web", ipv4="10.1.0.2", aliases=[name, f"{name}.x"])
    assert texts(ask(world, "web", "web")) == ["10.1.0.2"]
    reverse = texts(ask(world, "web", "2.0.1.10.in-addr.arpa", "PTR"))
    assert reverse is not None
    assert reverse[0].startswith("web.")


def test_stopped_endpoints_have_no_names() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.3")
    endpoint = world.join(network, "web", ipv4="10.1.0.2")
    assert texts(ask(world, "cli", "web")) == ["10.1.0.2"]
    world.stop(endpoint)
    assert ask(world, "cli", "web") is None
    assert ask(world, "cli", "2.0.1.10.in-addr.arpa", "PTR") is None


def test_connecting_to_another_network_is_seen_at_once() -> None:
    world = World()
    first, second = world.add_network("one"), world.add_network("two")
    world.join(second, "web", ipv4="10.2.0.2")
    world.join(first, "cli", ipv4="10.1.0.3")
    assert ask(world, "cli", "web") is None
    endpoint = world.join(second, "cli", ipv4="10.2.0.3")
    assert texts(ask(world, "cli", "web")) == ["10.2.0.2"]
    world.leave(endpoint)
    assert ask(world, "cli", "web") is None


def test_a_removed_network_is_forgotten() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "web", ipv4="10.1.0.2")
    assert texts(ask(world, "web", "web.n")) == ["10.1.0.2"]
    world.remove_network(network)
    assert ask(world, "web", "web") is None


def test_a_join_leaves_other_sandboxes_alone() -> None:
    world = World()
    network = world.add_network("n")
    world.join(network, "cli", ipv4="10.1.0.3")
    before = world.directory.names(sandbox_id_of("cli"))
    world.join(network, "web", ipv4="10.1.0.2")
    assert texts(ask(world, "cli", "web")) == ["10.1.0.2"]
    assert world.directory.names(sandbox_id_of("cli")) is before


@pytest.mark.parametrize(("internal", "external"), [(True, False), (False, True)])
def test_internal_networks_lead_nowhere(internal: bool, external: bool) -> None:
    world = World()
    world.join(world.add_network("n", internal=internal), "web", ipv4="10.1.0.2")
    assert world.directory.names(sandbox_id_of("web")).external is external
    world.join(world.add_network("m"), "web", ipv4="10.2.0.2")
    assert world.directory.names(sandbox_id_of("web")).external is True


def test_an_unknown_sandbox_sees_nothing() -> None:
    names = Directory(World()).names("nobody")
    assert (names.attached, names.external) == ((), False)


def test_dns_names_are_dockers_without_repetitions() -> None:
    web = Sandbox(id="0123456789abcdef", name="web", created=0, hostname="hweb")
    assert dns_names(web, EndpointConfig(aliases=("al", "web"))) == ("web", "al", "0123456789ab", "hweb")
    plain = msgspec.structs.replace(web, hostname="0123456789ab")
    assert dns_names(plain, EndpointConfig()) == ("web", "0123456789ab")


def test_a_replaced_endpoint_answers_as_it_is_now() -> None:
    world = World()
    network = world.add_network("n")
    endpoint = world.join(network, "web", ipv4="10.1.0.2", aliases=["old"])
    assert texts(ask(world, "web", "old")) == ["10.1.0.2"]
    record = next(item for item in world.endpoints_of(network) if item.id == endpoint)
    world.put(msgspec.structs.replace(record, ipv4="10.1.0.9/16", dns_names=("web", "new")))
    assert texts(ask(world, "web", "web")) == ["10.1.0.9"]
    assert texts(ask(world, "web", "new")) == ["10.1.0.9"]
    assert ask(world, "web", "old") is None
    assert ask(world, "web", "2.0.1.10.in-addr.arpa", "PTR") is None
