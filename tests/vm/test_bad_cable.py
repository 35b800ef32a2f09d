"""Two hosts whose cable loses and delays packets: daemons, a cluster, joins, names and traffic must do all the same."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from tests.support.boxes import running
from tests.support.equality_cluster import settled
from tests.support.hosts import hosts
from tests.support.overlay_lab import lab, overlay
from tests.support.polling import until

CABLE = ("delay", "20ms", "5ms", "loss", "3%")
_PATIENCE = 60.0


def test_an_overlay_network_over_a_bad_cable() -> None:
    with lab(2) as made:
        network = overlay("a", 4097)
        for node in made.nodes:
            node.ns.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", *CABLE])
        one, two = made.run(made.nodes[0], network, 11), made.run(made.nodes[1], network, 12)
        for address in (two.ipv4, two.ipv6):
            until(lambda address=address: one.pings(address), _PATIENCE)
        assert one.ns.run(["ip", "neigh", "show", "to", two.ipv4]).split()[4] == two.endpoint.mac


@pytest.mark.timeout(400)
def test_a_cluster_over_a_bad_cable() -> None:
    """A worker joins, a network is made, sandboxes on both hosts know each other by name and reach each other."""
    with ExitStack() as stack:
        manager, worker = stack.enter_context(hosts(2))
        for host in (manager, worker):
            host.net.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", *CABLE])
        manager.init()
        worker.join(manager)
        manager.docker(
            "network", "create", "-d", "overlay", "--attachable", "--ipv6", "--subnet", "fd00:9::/64", "wide"
        )
        one = stack.enter_context(running(manager.daemon, "one", "wide"))
        two = stack.enter_context(running(worker.daemon, "two", "wide"))
        settled([manager], [manager, worker], _PATIENCE)
        for box, peer in ((one, two), (two, one)):
            assert box.ask(peer.name) == [peer.ipv4]
            assert box.ask(peer.name, "AAAA") == [str(ip_address(peer.ipv6))]
            for family in (4, 6):
                until(lambda box=box, peer=peer, family=family: box.dial(peer.address(family), 80), _PATIENCE)
