"""Questions that are not ours: real upstream servers in the host's namespace, in the sandbox's, and behind a cable."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from tests.support.dns_lab import World, sandbox_id_of, texts
from tests.support.dns_servers import (
    RunningServers,
    StubServer,
    address,
    ask_tcp,
    ask_udp,
    client_socket,
    rcode,
    reply_with,
    running_servers,
    shuffled_names,
    silent,
    truncating,
)
from tests.support.netns import Namespace, namespace, veth
from tests.support.polling import eventually
from towline.dns import server_exchange
from towline.dns.config import ServerConfig, Upstream

CLI, OTHER = sandbox_id_of("cli"), sandbox_id_of("other")


def _host(*addresses: str) -> ServerConfig:
    return ServerConfig(tuple(Upstream(item, host=True) for item in addresses))


def _own(*addresses: str) -> ServerConfig:
    return ServerConfig(tuple(Upstream(item, host=False) for item in addresses))


@pytest.fixture
def world() -> World:
    made = World()
    network = made.add_network("dn")
    made.join(network, "cli", ipv4="10.1.0.3")
    made.join(network, "other", ipv4="10.1.0.4")
    return made


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def running(host: Namespace, world: World) -> Iterator[RunningServers]:
    with running_servers(host, world) as made:
        yield made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_exchange, "TIMEOUT", 0.5)


def test_servers_of_the_host_are_asked_from_the_host(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", address()) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        reply = ask_udp(ns, "WWW.example")
        assert texts(reply) == ["192.0.2.1"]
        assert str(reply.question[0].name) == "WWW.example."
        assert texts(ask_tcp(ns, "tcp.example")) == ["192.0.2.1"]
        assert stub.asked == [("WWW.example.", 1, False), ("tcp.example.", 1, True)]


def test_overrides_are_asked_from_the_sandbox(running: RunningServers, ns: Namespace) -> None:
    """Here over a cable that only the sandbox has, IPv4, IPv6 and link-local; and in the sandbox itself."""
    with namespace() as outside:
        veth(ns, "eth0", outside, "up0", a_address="198.51.100.2/24", b_address="198.51.100.1/24")
        outside.run(["ip", "address", "add", "fe80::53/64", "dev", "up0", "nodad"])
        ns.run(["ip", "address", "add", "fe80::2/64", "dev", "eth0", "nodad"])
        running.open(CLI, ns)
        for where, bind, asked in (
            (outside, "198.51.100.1", "198.51.100.1"),
            (outside, "fe80::53%up0", "fe80::53%eth0"),
            (ns, "127.0.0.53", "127.0.0.53"),
        ):
            running.run(running.servers.open(CLI, ns.path, _own(asked)))
            with StubServer(where, bind, address()) as stub:
                assert texts(ask_udp(ns, f"u.{asked.replace('%', '-')}")) == ["192.0.2.1"], asked
                assert texts(ask_tcp(ns, f"t.{asked.replace('%', '-')}")) == ["192.0.2.1"], asked
                assert len(stub.asked) == 2


def test_a_scope_that_does_not_exist_is_no_server(running: RunningServers, ns: Namespace) -> None:
    running.open(CLI, ns, _own("fe80::53%nothing"))
    for ask in (ask_udp, ask_tcp):
        assert ask(ns, "www.example").rcode() == dns.rcode.SERVFAIL


def test_internal_networks_ask_only_servers_they_can_reach(host: Namespace, ns: Namespace) -> None:
    world = World()
    world.join(world.add_network("in", internal=True), "cli", ipv4="10.1.0.3")
    with (
        running_servers(host, world) as running,
        StubServer(host, "127.0.0.53", address()) as stub,
        StubServer(ns, "127.0.0.54", address("192.0.2.2")),
    ):
        running.open(CLI, ns, _host("127.0.0.53"))
        assert ask_udp(ns, "www.example").rcode() == dns.rcode.SERVFAIL
        assert ask_tcp(ns, "www.example").rcode() == dns.rcode.SERVFAIL
        assert stub.asked == []
        running.open(CLI, ns, _own("127.0.0.54"))
        assert texts(ask_udp(ns, "www.example")) == ["192.0.2.2"]
        world.join(out := world.add_network("out"), "cli", ipv4="10.2.0.3")
        running.changed(out)
        running.open(CLI, ns, _host("127.0.0.53"))
        assert texts(ask_udp(ns, "www.example")) == ["192.0.2.1"]


@pytest.mark.usefixtures("hasty")
def test_the_next_server_is_asked_after_silence_refusal_and_failure(
    running: RunningServers, host: Namespace, ns: Namespace
) -> None:
    running.open(CLI, ns, _host("127.0.0.53", "127.0.0.54", "127.0.0.55", "127.0.0.56"))
    with StubServer(host, "127.0.0.54", silent) as second, StubServer(host, "127.0.0.55", address()) as third:
        for index, behave in enumerate((silent, rcode(dns.rcode.SERVFAIL), rcode(dns.rcode.REFUSED))):
            second.behave = behave
            assert texts(ask_udp(ns, f"u{index}.example")) == ["192.0.2.1"]
            assert texts(ask_tcp(ns, f"t{index}.example")) == ["192.0.2.1"]
        assert (len(second.asked), len(third.asked)) == (6, 6)
        third.behave = rcode(dns.rcode.SERVFAIL)
        with StubServer(host, "127.0.0.56", address()) as fourth:
            assert ask_udp(ns, "none.example").rcode() == dns.rcode.SERVFAIL
            assert fourth.asked == []


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.NOTIMP, dns.rcode.FORMERR])
def test_other_answers_are_final(
    running: RunningServers, host: Namespace, ns: Namespace, code: dns.rcode.Rcode
) -> None:
    with StubServer(host, "127.0.0.53", rcode(code)), StubServer(host, "127.0.0.54", address()) as second:
        running.open(CLI, ns, _host("127.0.0.53", "127.0.0.54"))
        assert ask_udp(ns, "www.example").rcode() == code
        assert second.asked == []


def test_silence_ends_after_four_seconds(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", silent):
        running.open(CLI, ns, _host("127.0.0.53"))
        began = time.monotonic()
        assert ask_udp(ns, "www.example").rcode() == dns.rcode.SERVFAIL
        assert 3.9 < time.monotonic() - began < 6


def test_a_truncated_answer_is_fetched_over_tcp(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", truncating(20)) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        reply = ask_udp(ns, "some.example", edns=4096)
        assert (len(reply.answer[0]), bool(reply.flags & dns.flags.TC)) == (20, False)
        assert [tcp for _, _, tcp in stub.asked] == [False, True]


def test_what_the_client_cannot_take_stays_truncated(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", truncating(60)) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        first = ask_udp(ns, "many.example")
        assert (len(first.answer[0]), bool(first.flags & dns.flags.TC)) == (1, True)
        assert len(ask_tcp(ns, "many.example").answer[0]) == 60
        again = ask_udp(ns, "many.example")
        assert (again.answer, bool(again.flags & dns.flags.TC)) == ([], True)
        assert len(stub.asked) == 2


def test_the_cache_answers_with_less_time_to_live(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", address(ttl=2)) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        assert ask_udp(ns, "www.example").answer[0].ttl == 2
        deadline = time.monotonic() + 10
        seen = {2}
        while len(stub.asked) == 1 and time.monotonic() < deadline:
            seen.add(ask_udp(ns, "WWW.example").answer[0].ttl)
        assert seen == {2, 1}
        assert len(stub.asked) == 2
        assert running.servers.counters.cached > 1


def test_servers_in_different_sandboxes_share_no_cache(running: RunningServers, ns: Namespace) -> None:
    with (
        namespace() as other,
        StubServer(ns, "127.0.0.53", address("192.0.2.1")),
        StubServer(other, "127.0.0.53", address("192.0.2.2")),
    ):
        running.open(CLI, ns, _own("127.0.0.53"))
        running.open(OTHER, other, _own("127.0.0.53"))
        for _ in range(2):
            assert texts(ask_udp(ns, "www.example")) == ["192.0.2.1"]
            assert texts(ask_udp(other, "www.example")) == ["192.0.2.2"]


def test_ports_and_ids_cannot_be_guessed(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", address()) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        for name in shuffled_names(200):
            ask_udp(ns, name)
        assert len(set(stub.peers)) > 190
        assert len(set(stub.idents)) > 190
        steps = {b - a for (_, a), (_, b) in zip(stub.peers, stub.peers[1:], strict=False)}
        assert len(steps) > 150


@pytest.mark.usefixtures("hasty")
def test_forged_answers_are_not_believed(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    """Wrong id, wrong question, rubbish, a question instead of an answer: the real one, behind them, counts."""

    def forge(query: dns.message.Message, tcp: bool) -> bytes:
        name = str(query.question[0].name)
        other_id = reply_with(query, (name, 60, "A", "203.0.113.1"))
        other_id.id ^= 1
        wrong = dns.message.make_query("wrong.example", "A", id=query.id)
        target = stub.peers[-1]
        for forged in (other_id, reply_with(wrong, ("wrong.example.", 60, "A", "203.0.113.1")), query):
            stub.send_udp(forged.to_wire(), target)
        stub.send_udp(b"rubbish", target)
        with host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(reply_with(query, (name, 60, "A", "203.0.113.2")).to_wire(), target)
        return reply_with(query, (name, 60, "A", "192.0.2.1")).to_wire()

    with StubServer(host, "127.0.0.53", forge) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        assert texts(ask_udp(ns, "www.example")) == ["192.0.2.1"]


def test_the_same_question_is_asked_once_at_a_time(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", silent) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        with client_socket(ns) as client:
            for ident in range(50):
                client.send(dns.message.make_query("www.example", "A", id=ident).to_wire())
            stub_answers = address()
            eventually(lambda: stub.expect(1))
            query = dns.message.make_query("www.example", "A", id=stub.idents[0])
            stub.send_udp(stub_answers(query, False) or b"", stub.peers[0])
            idents = {dns.message.from_wire(client.recv(4096)).id for _ in range(50)}
        assert idents == set(range(50))
        assert len(stub.asked) == 1


@pytest.mark.usefixtures("hasty")
def test_one_sandbox_cannot_lock_out_the_others(host: Namespace, ns: Namespace, world: World) -> None:
    def slow(query: dns.message.Message, tcp: bool) -> bytes | None:
        return None if str(query.question[0].name).startswith("slow") else address()(query, tcp)

    with (
        namespace() as other,
        running_servers(host, world, capacity=300) as running,
        StubServer(host, "127.0.0.53", slow),
        client_socket(ns) as flood,
    ):
        running.open(CLI, ns, _host("127.0.0.53"))
        running.open(OTHER, other, _host("127.0.0.53"))
        for index in range(400):
            flood.send(dns.message.make_query(f"slow{index}.example", "A").to_wire())
        codes = [dns.message.from_wire(flood.recv(4096)).rcode() for _ in range(200)]
        assert codes.count(dns.rcode.REFUSED) == 200
        assert texts(ask_udp(other, "www.example")) == ["192.0.2.1"]
        for _ in range(200):
            codes.append(dns.message.from_wire(flood.recv(4096)).rcode())
        assert codes.count(dns.rcode.SERVFAIL) == 150
        assert running.servers.counters.refused == 250


def test_two_thousand_questions_leave_no_descriptor_behind(
    running: RunningServers, host: Namespace, ns: Namespace
) -> None:
    with StubServer(host, "127.0.0.53", address()), client_socket(ns) as client:
        running.open(CLI, ns, _host("127.0.0.53"))
        ask_udp(ns, "first.example")
        before = len(os.listdir("/proc/self/fd"))
        for start in range(0, 2000, 100):
            for index in range(start, start + 100):
                client.send(dns.message.make_query(f"n{index}.example", "A").to_wire())
            for _ in range(100):
                assert dns.message.from_wire(client.recv(4096)).answer
        assert len(os.listdir("/proc/self/fd")) == before


def test_closing_ends_questions_thateventually(running: RunningServers, host: Namespace, ns: Namespace) -> None:
    with StubServer(host, "127.0.0.53", silent) as stub:
        running.open(CLI, ns, _host("127.0.0.53"))
        with client_socket(ns) as client, client_socket(ns, socket.SOCK_STREAM) as stream:
            query = dns.message.make_query("www.example", "A")
            client.send(query.to_wire())
            dns.query.send_tcp(stream, query)
            eventually(lambda: stub.expect(2))
            began = time.monotonic()
            running.close(CLI)
            assert time.monotonic() - began < 1
            assert _ended(stream)


def _ended(stream: socket.socket) -> bool:
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True
