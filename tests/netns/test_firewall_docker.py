"""Docker's own daemon in the same network namespace: its rules stand, it can change them, and our networks work."""

from __future__ import annotations

import json

from tests.support.dockerd import running_dockerd
from tests.support.firewall_lab import lab
from towline.firewall import admit_changes
from towline.model.desired import FamilyRules, NetworkRules

RULES = NetworkRules("br-a", FamilyRules(), FamilyRules())


def test_docker_and_our_networks_beside_each_other() -> None:
    with lab() as world:
        world.router.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
        with running_dockerd(net=world.router) as docker:
            world.program(RULES)
            assert "-P FORWARD DROP" in world.router.run(["iptables", "-S", "FORWARD"])
            assert world.a1.no_dial(world.outside.ipv4, 80)
            world.nft.commit(admit_changes(world.nft.foreign_forward_chains()))
            assert world.a1.dial(world.outside.ipv4, 80)

            assert docker.http("POST", "/networks/create", json.dumps({"Name": "theirs"}).encode()).status == 201
            assert "-o br-" in world.router.run(["iptables", "-S"])
            docker.stop()
            docker.start()
            assert admit_changes(world.nft.foreign_forward_chains()) == ()
            assert world.a1.dial(world.outside.ipv4, 81)
            assert world.outside.no_dial(world.a1.ipv4, 80)

            assert docker.http("DELETE", "/networks/theirs").status == 204
            assert "-o br-" not in world.router.run(["iptables", "-S"])
            assert world.a1.dial(world.outside.ipv4, 80)
