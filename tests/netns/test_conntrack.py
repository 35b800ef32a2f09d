"""The `Flows` contract on the real kernel; the `conntrack` tool makes the entries and is the second opinion."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.netns import Namespace, namespace
from tests.support.sandboxes_conformance import FlowsConformance, FlowsEnv
from towline.kernel import conntrack_codec as codec
from towline.kernel.conntrack import CtNetlinkFlows
from towline.kernel.netlink import NetlinkSocket
from towline.model.errors import KernelError


@pytest.fixture
def flows(ns: Namespace) -> Iterator[CtNetlinkFlows]:
    made = ns.call(CtNetlinkFlows)
    yield made
    made.close()


def add(ns: Namespace, protocol: str, client: str, to: str, port: int, answers: str) -> None:
    state = {"tcp": ["--state", "ESTABLISHED"], "sctp": ["--state", "ESTABLISHED"], "udp": []}[protocol]
    ports = ["--sport", "4711", "--dport", str(port), "--reply-port-src", "999", "--reply-port-dst", "4711"]
    ends = ["-s", client, "-d", to, "-r", answers, "-q", client]
    ns.run(["conntrack", "-I", "-p", protocol, *ends, *ports, "-t", "600", *state])


def listed(ns: Namespace) -> set[tuple[str, str]]:
    text = "".join(ns.run(["conntrack", "-L", "-f", family]) for family in ("ipv4", "ipv6"))
    return set(re.findall(r"^\w+ .*?src=(\S+) dst=(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("many", [0, 10_000], ids=["kernel filters", "we filter"])
class TestCtNetlinkFlows(FlowsConformance):
    @pytest.fixture
    def env(self, ns: Namespace, flows: CtNetlinkFlows, many: int, monkeypatch: pytest.MonkeyPatch) -> FlowsEnv:
        monkeypatch.setattr("towline.kernel.conntrack._MANY", many)
        return FlowsEnv(flows, lambda *flow: add(ns, *flow), lambda: listed(ns))


def test_a_dump_agrees_with_the_tool(ns: Namespace, flows: CtNetlinkFlows) -> None:
    add(ns, "udp", "192.0.2.1", "192.0.2.9", 53, "10.1.0.7")
    add(ns, "tcp", "192.0.2.2", "192.0.2.9", 80, "10.1.0.7")
    sock = ns.call(NetlinkSocket, codec.NETLINK_NETFILTER)
    found = [codec.parse_flow(body) for _, body in sock.dump(codec.get_flows(socket.AF_INET))]
    counts = [codec.parse_count(body) for _, body in sock.get(codec.get_count())]
    sock.close()
    assert {
        (
            socket.inet_ntoa(flow.original.source),
            socket.inet_ntoa(flow.reply.source),
            flow.original.protocol,
            flow.original.port,
            flow.reply.port,
        )
        for flow in found
        if flow
    } == {("192.0.2.1", "10.1.0.7", 17, 53, 4711), ("192.0.2.2", "10.1.0.7", 6, 80, 4711)}
    assert counts == [2]
    assert ns.run(["conntrack", "-C"]).strip() == "2"


def test_an_entry_with_the_same_tuple_and_another_id_stays(ns: Namespace) -> None:
    add(ns, "udp", "192.0.2.1", "192.0.2.9", 53, "10.1.0.7")
    sock = ns.call(NetlinkSocket, codec.NETLINK_NETFILTER)
    ((_, body),) = sock.dump(codec.get_flows(socket.AF_INET))
    flow = codec.parse_flow(body)
    assert flow is not None
    other = flow._replace(key=flow.key[:-1] + bytes([flow.key[-1] ^ 1]))
    assert [ack.errno for ack in sock.transact([codec.delete_flow(other)])] == [errno.ENOENT]
    assert listed(ns) == {("192.0.2.1", "192.0.2.9")}
    assert [ack.errno for ack in sock.transact([codec.delete_flow(flow)])] == [0]
    assert listed(ns) == set()
    sock.close()


RULES = """
table ip test {{
  chain pre {{ type nat hook output priority -100;
    ip daddr 192.0.2.9 udp dport 53 dnat to {target}:53
  }}
}}
"""


def test_a_udp_flow_leaves_a_dead_endpoint(ns: Namespace, flows: CtNetlinkFlows) -> None:
    """A client that goes on sending from one socket is led to the new endpoint, without having to pause."""
    for address in ("192.0.2.9", "10.1.0.7", "10.1.0.8"):
        ns.run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
    old, new, client = (_udp(ns, address) for address in ("10.1.0.7", "10.1.0.8", ""))

    def ask(server: socket.socket) -> bool:
        client.sendto(b"?", ("192.0.2.9", 53))
        try:
            return server.recv(10) == b"?"
        except TimeoutError:
            return False

    ns.run(["nft", "-f", "-"], input=RULES.format(target="10.1.0.7"))
    assert ask(old)
    ns.run(["nft", "-f", "-"], input="delete table ip test" + RULES.format(target="10.1.0.8"))
    assert not ask(new)
    assert old.recv(10) == b"?"
    assert flows.forget(["10.1.0.7"], protocol="udp", port=53) == 1
    assert ask(new)
    for sock in (old, new, client):
        sock.close()


def _udp(ns: Namespace, address: str) -> socket.socket:
    sock = ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.2)
    if address:
        sock.bind((address, 53))
    return sock


def test_only_this_namespaces_flows_go(ns: Namespace, flows: CtNetlinkFlows) -> None:
    with namespace() as other:
        for each in (ns, other):
            add(each, "udp", "192.0.2.1", "192.0.2.9", 53, "10.1.0.7")
        assert flows.forget(["10.1.0.7"]) == 1
        assert listed(other) == {("192.0.2.1", "192.0.2.9")}


def test_a_table_that_cannot_be_read_is_an_error(
    ns: Namespace, flows: CtNetlinkFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ns, "udp", "192.0.2.1", "192.0.2.9", 53, "10.1.0.7")

    def refuse(_self: object, _message: object) -> Any:
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(NetlinkSocket, "dump", refuse)
    with pytest.raises(KernelError, match="list flows: operation not permitted"):
        flows.forget(["10.1.0.7"])
    assert listed(ns)
