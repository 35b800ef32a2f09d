"""The server of a sandbox on real sockets: names, port 53, restarts, floods."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.support.dns_lab import World, sandbox_id_of, texts
from tests.support.dns_servers import (
    RESOLVER,
    RunningServers,
    ask_tcp,
    ask_udp,
    client_socket,
    frame,
    running_servers,
)
from tests.support.netns import Namespace, namespace
from towline.dns.config import ServerConfig
from towline.model.errors import KernelError, TowlineError

WEB, CLI = sandbox_id_of("web"), sandbox_id_of("cli")


@pytest.fixture
def world() -> World:
    made = World()
    network = made.add_network("dn")
    made.join(network, "web", ipv4="10.1.0.2", ipv6="fd00:1::2", aliases=["pool"])
    made.join(network, "cli", ipv4="10.1.0.3", ipv6="fd00:1::3", aliases=["pool"], links=["web:lnk"])
    return made


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def running(host: Namespace, ns: Namespace, world: World) -> Iterator[RunningServers]:
    with running_servers(host, world) as made:
        made.open(CLI, ns)
        yield made


def test_names_by_udp_and_tcp(running: RunningServers, ns: Namespace) -> None:
    for ask in (ask_udp, ask_tcp):
        assert texts(ask(ns, "web")) == ["10.1.0.2"]
        assert texts(ask(ns, "lnk.dn", "AAAA")) == ["fd00:1::2"]
        assert texts(ask(ns, "2.0.1.10.in-addr.arpa", "PTR")) == ["web.dn."]


def test_the_libc_resolver_finds_both_families(running: RunningServers, ns: Namespace, tmp_path: Path) -> None:
    script = "import socket;print(sorted({item[4][0] for item in socket.getaddrinfo('web.dn.', None)}))"
    mount = f"printf 'nameserver {RESOLVER}\\noptions ndots:0\\n' >$1; mount --bind $1 /etc/resolv.conf"
    out = ns.run(["unshare", "-m", "sh", "-ec", f'{mount}; python3 -c "{script}"', "sh", str(tmp_path / "resolv.conf")])
    assert out.strip() == "['10.1.0.2', 'fd00:1::2']"


def test_a_server_of_the_sandbox_may_own_port_53(running: RunningServers, ns: Namespace) -> None:
    def bind(kind: socket.SocketKind) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.bind(("0.0.0.0", 53))
        return made

    with ns.call(bind, socket.SOCK_DGRAM), ns.call(bind, socket.SOCK_STREAM):
        assert texts(ask_udp(ns, "web")) == ["10.1.0.2"]
        assert texts(ask_tcp(ns, "web")) == ["10.1.0.2"]


def test_aliases_take_turns(running: RunningServers, ns: Namespace) -> None:
    firsts = {str(ask_udp(ns, "pool").answer[0][0]) for _ in range(64)}
    assert firsts == {"10.1.0.2", "10.1.0.3"}


def test_records_change_under_open_sockets(running: RunningServers, ns: Namespace, world: World) -> None:
    network = next(iter(world.endpoints_in(CLI))).network
    with client_socket(ns) as client:
        before = _sockets(ns)
        assert _first(client, "new") is None
        endpoint = world.join(network, "new", ipv4="10.1.0.9")
        running.changed(network)
        assert _first(client, "new") == "10.1.0.9"
        world.leave(endpoint)
        running.changed(network)
        assert _first(client, "new") is None
        assert _sockets(ns) == before


def test_our_table_is_read_by_nft_and_can_be_loaded_again(running: RunningServers, ns: Namespace) -> None:
    text = ns.run(["nft", "list", "table", "ip", "towline-dns"])
    udp, tcp = _sockets(ns)
    assert f"ip daddr 127.0.0.11 udp dport 53 counter packets 0 bytes 0 udp dport set {udp}" in text
    assert f"ip daddr 127.0.0.11 tcp dport 53 counter packets 0 bytes 0 tcp dport set {tcp}" in text
    assert f"ip saddr 127.0.0.11 udp sport {udp} counter packets 0 bytes 0 udp sport set 53" in text
    assert f"ip saddr 127.0.0.11 tcp sport {tcp} counter packets 0 bytes 0 tcp sport set 53" in text
    assert "type filter hook output priority raw; policy accept;" in text
    assert "type filter hook output priority -100; policy accept;" in text
    ns.run(["nft", "-f", "-"], input=f"flush ruleset\n{text}")
    assert [texts(ask(ns, "web")) for ask in (ask_udp, ask_tcp)] == [["10.1.0.2"]] * 2


CONNTRACK_ONLY = """
table ip operators {
    chain out {
        type filter hook output priority 0; policy drop;
        ct state established accept
        ct state new ip daddr 127.0.0.11 accept
    }
    chain in {
        type filter hook input priority 0; policy drop;
        ct state established accept
        ct state new ip daddr 127.0.0.11 accept
    }
}
"""


def test_a_question_and_its_answer_are_one_connection(running: RunningServers, ns: Namespace) -> None:
    """For a sandbox whose own rules track connections."""
    ns.run(["nft", "-f", "-"], input=CONNTRACK_ONLY)
    for name in ("web", "lnk.dn"):
        assert texts(ask_udp(ns, name)) == texts(ask_tcp(ns, name)) == ["10.1.0.2"]


def test_connections_of_a_sandbox_are_not_tracked(running: RunningServers, ns: Namespace) -> None:
    """It would cost each packet more than our rules on the host do."""
    assert texts(ask_udp(ns, "web")) == texts(ask_tcp(ns, "web")) == ["10.1.0.2"]
    assert ns.run(["conntrack", "-L"]) == ""


NAT = """
table ip towline-dns {
    chain output { comment "towline"; type nat hook output priority -100;
        ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:5353 comment "udp to port 5353"
        ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:5353 comment "tcp to port 5353"
    }
    chain postrouting { comment "towline"; type nat hook postrouting priority srcnat;
        ip saddr 127.0.0.11 udp sport 5353 snat to :53 comment "udp from port 5353"
        ip saddr 127.0.0.11 tcp sport 5353 snat to :53 comment "tcp from port 5353"
    }
}
"""


def test_the_table_of_an_older_version_is_replaced(host: Namespace, ns: Namespace, world: World) -> None:
    ns.run(["nft", "-f", "-"], input=NAT)
    with client_socket(ns) as client, running_servers(host, world) as running:
        client.send(dns.message.make_query("web", "A").to_wire())
        running.open(CLI, ns)
        assert "dnat" not in _table(ns)
        assert texts(ask_udp(ns, "web")) == texts(ask_tcp(ns, "web")) == ["10.1.0.2"]
        with suppress(ConnectionRefusedError):
            client.recv(100)
        assert _first(client, "web") == "10.1.0.2"


def test_without_a_daemon_questions_are_refused_at_once(host: Namespace, ns: Namespace, world: World) -> None:
    with running_servers(host, world) as running:
        running.open(CLI, ns)
        running.run(running.servers.stop())
    with client_socket(ns) as client:
        client.send(dns.message.make_query("web", "A").to_wire())
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
    with pytest.raises(ConnectionRefusedError):
        client_socket(ns, socket.SOCK_STREAM)


def test_a_restart_takes_the_same_ports_and_writes_nothing(host: Namespace, ns: Namespace, world: World) -> None:
    with running_servers(host, world) as first:
        first.open(CLI, ns)
        ports, handles = _sockets(ns), _table(ns)
        with client_socket(ns) as client:
            assert _first(client, "web") == "10.1.0.2"
            first.run(first.servers.stop())
            assert _table(ns) == handles
            with running_servers(host, world) as second:
                began = time.monotonic()
                second.open(CLI, ns)
                assert _first(client, "web") == "10.1.0.2"
                assert time.monotonic() - began < 0.1
                assert (_sockets(ns), _table(ns)) == (ports, handles)


def test_a_port_that_was_taken_meanwhile_is_replaced(host: Namespace, ns: Namespace, world: World) -> None:
    with running_servers(host, world) as first:
        first.open(CLI, ns)
        udp, _ = _sockets(ns)
        first.run(first.servers.stop())
    thief = ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with thief:
        thief.bind((RESOLVER, udp))
        with running_servers(host, world) as second:
            second.open(CLI, ns)
            assert texts(ask_udp(ns, "web")) == ["10.1.0.2"]
            assert texts(ask_tcp(ns, "web")) == ["10.1.0.2"]


def test_a_foreign_table_of_our_name_is_replaced(host: Namespace, ns: Namespace, world: World) -> None:
    ns.run(["nft", "-f", "-"], input="table ip towline-dns { chain x { drop; }; }\n")
    with running_servers(host, world) as running:
        running.open(CLI, ns)
        assert texts(ask_udp(ns, "web")) == ["10.1.0.2"]


def test_closing_leaves_nothing(running: RunningServers, ns: Namespace) -> None:
    running.close(CLI)
    running.close(CLI)
    assert _sockets(ns) == ()
    assert ns.run(["nft", "list", "ruleset"]) == ""
    with client_socket(ns) as client:
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


def test_a_namespace_that_ends_keeps_its_table(running: RunningServers, ns: Namespace) -> None:
    running.run(running.servers.close(CLI, gone=True))
    assert _sockets(ns) == ()
    assert "dport set" in _table(ns)


@pytest.mark.parametrize(
    "damage", ["flush ruleset", "flush chain ip towline-dns questions", "delete table ip towline-dns"]
)
def test_a_damaged_table_is_seen_and_written_again(running: RunningServers, ns: Namespace, damage: str) -> None:
    assert running.run(running.servers.intact(CLI))
    ns.run(["nft", damage])
    assert not running.run(running.servers.intact(CLI))
    running.run(running.servers.close(CLI, gone=True))
    assert not running.run(running.servers.intact(CLI))
    running.open(CLI, ns)
    assert running.run(running.servers.intact(CLI))
    assert texts(ask_udp(ns, "web")) == texts(ask_tcp(ns, "web")) == ["10.1.0.2"]


def test_opening_and_closing_at_once_end_in_order(running: RunningServers, ns: Namespace) -> None:
    async def storm() -> None:
        servers = running.servers
        steps = [servers.close(CLI) if index % 2 else servers.open(CLI, ns.path, ServerConfig()) for index in range(21)]
        await asyncio.gather(*steps)

    running.run(storm())
    assert texts(ask_udp(ns, "web")) == ["10.1.0.2"]
    assert len(_sockets(ns)) == 2
    running.close(CLI)
    assert ns.run(["nft", "list", "ruleset"]) == ""


def test_opening_twice_is_opening_once(running: RunningServers, ns: Namespace) -> None:
    ports = _sockets(ns)
    running.open(CLI, ns)
    assert _sockets(ns) == ports
    assert running.servers.opened() == (CLI,)


def test_a_sandbox_that_moved_is_served_in_its_new_namespace(running: RunningServers, ns: Namespace) -> None:
    with namespace() as other:
        running.open(CLI, other)
        assert _sockets(ns) == ()
        assert texts(ask_udp(other, "web")) == ["10.1.0.2"]


def test_what_cannot_be_opened_leaves_nothing(host: Namespace, world: World, running: RunningServers) -> None:
    with pytest.raises(TowlineError):
        running.run(running.servers.open(WEB, "/proc/self/nothing", ServerConfig()))
    with pytest.raises(TowlineError):
        running.run(running.servers.open(WEB, "/etc/hostname", ServerConfig()))
    with namespace() as bare:
        bare.run(["ip", "address", "flush", "dev", "lo"])
        with pytest.raises(KernelError, match="open the DNS sockets of sandbox") as refused:
            running.open(WEB, bare)
        assert refused.value.errno == errno.EADDRNOTAVAIL
        assert bare.run(["nft", "list", "ruleset"]) == ""
    assert running.servers.opened() == (CLI,)


def test_sandboxes_do_not_see_each_other(host: Namespace, ns: Namespace, world: World) -> None:
    world.join(world.add_network("other"), "alone", ipv4="10.9.0.2")
    with namespace() as second, running_servers(host, world) as running:
        running.open(CLI, ns)
        running.open(sandbox_id_of("alone"), second)
        assert texts(ask_udp(ns, "web")) == ["10.1.0.2"]
        assert ask_udp(second, "web").rcode() == dns.rcode.SERVFAIL
        assert texts(ask_udp(second, "alone")) == ["10.9.0.2"]
        assert ask_udp(ns, "alone").rcode() == dns.rcode.SERVFAIL
        assert running.servers.counters.queries == 4


def test_nobody_outside_reaches_the_server(host: Namespace, ns: Namespace, running: RunningServers) -> None:
    with client_socket(host) as client:
        client.send(dns.message.make_query("web", "A").to_wire())
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


def test_without_servers_the_rest_fails_at_once(running: RunningServers, ns: Namespace) -> None:
    for ask in (ask_udp, ask_tcp):
        reply = ask(ns, "example.com")
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert not reply.flags & dns.flags.RA


def test_a_flood_of_rubbish_and_questions_is_survived(running: RunningServers, ns: Namespace) -> None:
    query = dns.message.make_query("web", "A").to_wire()
    loop = query[:12] + b"\xc0\x0c\x00\x01\x00\x01"
    with client_socket(ns) as flood, client_socket(ns) as client:
        for index in range(3000):
            for data in (query, loop, query[: index % len(query)], b"\xff" * (index % 1500)):
                _send(flood, data)
            if index % 500 == 0:
                assert _patient(client, "web") == "10.1.0.2"
    assert texts(ask_tcp(ns, "web")) == ["10.1.0.2"]


def test_a_datagram_longer_than_we_take_is_refused(running: RunningServers, ns: Namespace) -> None:
    query = dns.message.make_query("web", "A", use_edns=0, pad=8192).to_wire(max_size=65535)
    assert len(query) == 8192
    with client_socket(ns) as client:
        client.send(query)
        assert dns.message.from_wire(client.recv(4096)).rcode() == dns.rcode.FORMERR


def test_one_stream_carries_many_questions(running: RunningServers, ns: Namespace) -> None:
    queries = [dns.message.make_query("web", kind) for kind in ("A", "AAAA", "MX") * 20]
    with client_socket(ns, socket.SOCK_STREAM) as client:
        client.sendall(b"".join(frame(query.to_wire()) for query in queries))
        for query in queries:
            reply, _ = dns.query.receive_tcp(client)
            assert query.is_response(reply)


@pytest.mark.parametrize("size", [0, 1, 11, 65535])
def test_frames_of_any_length(running: RunningServers, ns: Namespace, size: int) -> None:
    """What is no message ends the stream; what has a header is refused; the server stays."""
    with client_socket(ns, socket.SOCK_STREAM) as client:
        client.sendall(frame(b"\x12\x34\x01\x00\x00\x01" + b"\xc0" * (size - 6) if size > 12 else b"x" * size))
        said = client.recv(100, socket.MSG_WAITALL)
        assert said == b"" if size < 12 else said[2:4] == b"\x12\x34"
    assert texts(ask_tcp(ns, "web")) == ["10.1.0.2"]


def test_64_kib_of_question_over_tcp(running: RunningServers, ns: Namespace) -> None:
    query = dns.message.make_query("web", "A", use_edns=0, pad=65024).to_wire(max_size=65535)
    with client_socket(ns, socket.SOCK_STREAM) as client:
        client.sendall(frame(query))
        reply, _ = dns.query.receive_tcp(client)
        assert texts(reply) == ["10.1.0.2"]


def test_idle_streams_are_bounded(running: RunningServers, ns: Namespace) -> None:
    held = [client_socket(ns, socket.SOCK_STREAM) for _ in range(40)]
    try:
        closed: set[socket.socket] = set()
        while len(closed) < 8:
            readable, _, _ = select.select([client for client in held if client not in closed], [], [], 5)
            assert readable
            closed.update(readable)
        assert len(closed) == 8
        assert texts(ask_udp(ns, "web")) == ["10.1.0.2"]
    finally:
        for client in held:
            client.close()


def _first(client: socket.socket, name: str) -> str | None:
    """The first address that the server gives to this client; None if it has none."""
    query = dns.message.make_query(name, "A")
    client.send(query.to_wire())
    while True:
        reply = dns.message.from_wire(client.recv(4096))
        if query.is_response(reply):
            return str(reply.answer[0][0]) if reply.answer else None


def _patient(client: socket.socket, name: str) -> str | None:
    """As resolvers do: ask again after a second without an answer, four times."""
    client.settimeout(1.0)
    for _ in range(4):
        with suppress(TimeoutError):
            return _first(client, name)
    return None


def _send(client: socket.socket, data: bytes) -> None:
    with suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
        client.send(data)


def _sockets(ns: Namespace) -> tuple[int, ...]:
    """Ports on 127.0.0.11 that somebody has bound, UDP then TCP."""
    lines = ns.run(["ss", "-Hnluat", "src", RESOLVER]).splitlines()
    return tuple(int(line.split()[4].rpartition(":")[2]) for line in sorted(lines, reverse=True))


def _table(ns: Namespace) -> str:
    """With handles, which change when it is written; without counters."""
    return ns.run(["nft", "-a", "-s", "list", "table", "ip", "towline-dns"])
