"""Interfaces on links that not every kernel has: 802.1Q parents, dummy links, ipvlan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.inside import Inside, private_mounts
from tests.support.netns import Namespace
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.sandboxes import RealSandboxes
from towline.kernel.sysctl import ProcSysctl
from towline.model.desired import Defaults, Interface, Parent, Slave, parent_alias

VLAN = Parent("base.10", "vlan", parent_alias("base.10"), "base", 10)


@pytest.fixture
def host(ns: Namespace) -> Namespace:
    ns.call(private_mounts)
    ns.run(["ip", "link", "add", "base", "type", "dummy"])
    ns.run(["ip", "link", "set", "base", "up"])
    return ns


@pytest.fixture
def links(host: Namespace) -> Iterator[Any]:
    made = host.call(RtnlLinks, ProcSysctl())
    yield Inside(host, made)
    made.close()


@pytest.fixture
def sandboxes(host: Namespace) -> Iterator[Any]:
    made = host.call(RealSandboxes, ProcSysctl())
    yield Inside(host, made)
    made.close()


def shown(host: Namespace, name: str, *prefix: str) -> dict[str, Any]:
    (link,) = json.loads(host.run([*prefix, "ip", "-j", "-d", "link", "show", name]))
    return dict(link)


def test_a_vlan_is_made_where_there_is_none(host: Namespace, links: Any) -> None:
    assert links.ensure_parent(VLAN) is None
    made = shown(host, "base.10")
    assert (made["linkinfo"]["info_kind"], made["linkinfo"]["info_data"]["id"]) == ("vlan", 10)
    assert (made["ifalias"], made["link"]) == (VLAN.alias, "base")
    assert "UP" in made["flags"]
    assert links.ensure_parent(VLAN) is None
    assert shown(host, "base.10")["ifindex"] == made["ifindex"]
    assert links.remove(["base.10"]) == [None]
    assert links.find("base.10") is None


def test_a_dead_end_is_a_dummy(host: Namespace, links: Any) -> None:
    assert links.ensure_parent(Parent("dm-a", "dummy", parent_alias("dm-a"))) is None
    assert shown(host, "dm-a")["linkinfo"]["info_kind"] == "dummy"


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_ipvlan(host: Namespace, sandboxes: Any, tmp_path: Path, mode: str, flag: str) -> None:
    paths = []
    for number in (7, 8):
        path = f"{tmp_path}/run/netns/{number:012x}"
        sandboxes.make(path)
        paths.append(path)
        interface = Interface(
            host_name=f"veth000000{number}",
            alias=f"towline:endpoint:{number}",
            bridge="",
            name="eth0",
            mac=f"02:00:00:00:00:0{number}",
            addresses=(f"10.1.0.{number}/24", f"fd00:1::{number}/64"),
            slave=Slave("base", "ipvlan", mode, flag),
        )
        sandboxes.join(path, interface)
        sandboxes.set_defaults(path, Defaults(ipv4=("eth0", "")))
        sandboxes.announce(path, interface)
    made = shown(host, "eth0", "nsenter", f"--net={paths[0]}")
    assert (made["linkinfo"]["info_kind"], made["linkinfo"]["info_data"]["mode"]) == ("ipvlan", mode)
    assert made["address"] == shown(host, "base")["address"]
    inside = sandboxes.look(paths[0])
    (eth0,) = (link for link in inside.links if link.name == "eth0")
    assert {"10.1.0.7/24", "fd00:1::7/64"} <= set(eth0.addresses)
    ping = ["nsenter", f"--net={paths[0]}", "ping", "-n", "-c1", "-W5" if flag == "bridge" else "-W0.3", "10.1.0.8"]
    assert (" 0% packet loss" in host.run(ping, check=False)) == (flag == "bridge")
    assert sandboxes.remove(paths[0], [interface]) == [None]
    assert sandboxes.look(paths[0]).links[-1].name == "eth0", "it has another mark"
