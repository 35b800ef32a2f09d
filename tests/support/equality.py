"""Do store and kernel agree? Asked of the daemon, and of `ip` and `nft`, which know nothing of ours."""

from __future__ import annotations

import json
from typing import Any

from tests.support.daemon import Daemon
from tests.support.equality_sandboxes import assert_sandboxes_equal


def networks(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Inspect of every network, by name."""
    answer = daemon.http("GET", "/v1.56/networks")
    assert answer.status == 200, answer
    return {network["Name"]: network for network in answer.json}


def link_of(network: dict[str, Any]) -> str:
    return str(network["Options"].get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}")


def assert_equal(daemon: Daemon) -> None:
    """Every network has its link, address and rules, and nothing that is ours is in the kernel besides."""
    findings = daemon.http("GET", "/towline/v1/diagnose").json
    assert findings == []
    bridged = {link_of(n): n for n in networks(daemon).values() if n["Driver"] == "bridge"}
    links = {link["ifname"]: link for link in json.loads(daemon.run("ip", "-j", "-d", "address"))}
    ours = {name for name, link in links.items() if link.get("ifalias", "").startswith("towline:")}
    plugged = assert_sandboxes_equal(daemon, links)
    assert ours == set(bridged) | plugged
    assert {name for name in links if name.startswith("br-")} <= ours
    for name, network in bridged.items():
        assert links[name]["ifalias"] == f"towline:network:{network['Id']}"
        assert "UP" in links[name]["flags"]
        assert addresses(links[name]) == gateways(network)
        assert settings(daemon, name) == expected_settings(network)
    assert members(daemon, "bridges") == set(bridged)


def settings(daemon: Daemon, link: str) -> list[str]:
    """disable_ipv6, accept_ra and route_localnet, as the kernel's files say; accept_ra does not matter without IPv6."""
    paths = [f"ipv6/conf/{link}/disable_ipv6", f"ipv6/conf/{link}/accept_ra", f"ipv4/conf/{link}/route_localnet"]
    off, accept_ra, localnet = daemon.run("cat", *(f"/proc/sys/net/{path}" for path in paths)).split()
    return [off, "0" if off == "1" else accept_ra, localnet]


def expected_settings(network: dict[str, Any]) -> list[str]:
    mode = {6: "nat", 4: "nat"} | {
        family: network["Options"][key]
        for family in (4, 6)
        if (key := f"com.docker.network.bridge.gateway_mode_ipv{family}") in network["Options"]
    }
    ipv6 = network["EnableIPv6"] and mode[6] != "isolated"
    localnet = network["EnableIPv4"] and not network["Internal"] and mode[4] in ("nat", "nat-unprotected")
    return [str(int(not ipv6)), "0", str(int(localnet))]


def addresses(link: dict[str, Any]) -> set[str]:
    return {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"}


def gateways(network: dict[str, Any]) -> set[str]:
    pools = network["IPAM"]["Config"] or []
    return {f"{p['Gateway']}/{p['Subnet'].partition('/')[2]}" for p in pools if p.get("Gateway")}


def members(daemon: Daemon, name: str) -> set[str]:
    listed = json.loads(daemon.run("nft", "-j", "list", "set", "inet", "towline", name))
    found = next(item["set"] for item in listed["nftables"] if "set" in item)
    return {str(element) for element in found.get("elem", [])}
