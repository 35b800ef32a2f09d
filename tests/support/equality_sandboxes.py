"""Sandboxes in store and kernel: links and what is inside, elements, pinned namespaces, processes and files."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from typing import Any

from tests.support.daemon import Daemon
from tests.support.remains import pins, shims

LINK_LOCAL = "link"
Links = dict[str, dict[str, Any]]


def assert_sandboxes_equal(daemon: Daemon, links: Links) -> set[str]:
    """links: `ip -j -d address` of the daemon's namespace, by name. Answers the names of the host ends."""
    answer = daemon.http("GET", "/towline/v1/sandboxes")
    assert answer.status == 200, answer
    sandboxes = answer.json
    running = [sandbox for sandbox in sandboxes if sandbox["state"] == "running"]
    ends = {e["host_link"]: e for sandbox in running for e in sandbox["endpoints"] if e["host_link"]}
    for name, endpoint in ends.items():
        _assert_host_end(name, endpoint, links)
    assert {name for name in links if name.startswith("veth")} == set(ends)
    for sandbox in running:
        _assert_inside(daemon, sandbox)
    for sandbox in sandboxes:
        if sandbox["state"] != "running":
            assert (sandbox["netns"], sandbox["pid"]) == ("", 0)
            assert not any(e["ifname"] or e["published"] for e in sandbox["endpoints"])
    _assert_elements(daemon, ends)
    _assert_remains(daemon, sandboxes, running)
    return set(ends)


def _assert_host_end(name: str, endpoint: dict[str, Any], links: Links) -> None:
    link = links.get(name)
    assert link is not None, f"{name} is missing"
    assert link["ifalias"] == f"towline:endpoint:{endpoint['id']}"
    assert "UP" in link["flags"]
    assert links[link["master"]]["ifalias"] == f"towline:network:{endpoint['network']}"


def _assert_inside(daemon: Daemon, sandbox: dict[str, Any]) -> None:
    """Interfaces of ours, their addresses, and default routes through gateways of the sandbox's networks."""
    if not sandbox["netns"]:
        return
    inside = json.loads(_in(daemon, sandbox, "address"))
    ours = {link["ifname"]: link for link in inside if link.get("ifalias", "").startswith("towline:")}
    wanted = {e["ifname"]: e for e in sandbox["endpoints"] if e["host_link"]}
    assert set(ours) == set(wanted), sandbox["name"]
    for name, endpoint in wanted.items():
        link = ours[name]
        assert (link["ifalias"], link["address"]) == (f"towline:endpoint:{endpoint['id']}", endpoint["mac"])
        assert "UP" in link["flags"]
        given = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if not _is_automatic(a, endpoint)]
        assert sorted(given) == sorted(_addresses(endpoint)), sandbox["name"]
    for family in (4, 6):
        gateways = {e[f"gateway_ipv{family}"] for e in wanted.values()} - {""}
        routes = json.loads(_in(daemon, sandbox, "route", "show", "default", family=family) or "[]")
        ours_only = [r for r in routes if r["dev"] in wanted]
        assert len(ours_only) == bool(gateways), sandbox["name"]
        assert all(route["gateway"] in gateways for route in ours_only)


def _in(daemon: Daemon, sandbox: dict[str, Any], *words: str, family: int = 0) -> str:
    kind = [f"-{family}"] if family else []
    return daemon.run("nsenter", f"--net={sandbox['netns']}", "ip", "-j", "-d", *kind, *words)


def _addresses(endpoint: dict[str, Any]) -> list[str]:
    asked = (f"{a}/{64 if ':' in a else 16}" for a in endpoint["config"]["link_local"])
    return [*filter(None, (endpoint["ipv4"], endpoint["ipv6"])), *asked]


def _is_automatic(address: dict[str, Any], endpoint: dict[str, Any]) -> bool:
    """The IPv6 link-local address that comes from the MAC."""
    return address["scope"] == LINK_LOCAL and address["local"] not in endpoint["config"]["link_local"]


def _assert_elements(daemon: Daemon, ends: dict[str, dict[str, Any]]) -> None:
    assert _elements(daemon, "bridge", "guarded") == set(ends)
    wanted = {(name, e["mac"]) for name, e in ends.items()}
    assert _elements(daemon, "bridge", "port_mac") == wanted
    assert _elements(daemon, "bridge", "icc") | _elements(daemon, "bridge", "noicc") == set(ends)
    four = {(name, e["mac"], _bare(a)) for name, e in ends.items() for a in _addresses(e) if ":" not in a}
    assert _elements(daemon, "bridge", "port_ip4") == four
    published = [(p, e) for e in ends.values() for p in e["published"] if p["host_port"]]
    for family in (4, 6):
        here = [(p, e) for p, e in published if (":" in p["host_ip"]) == (family == 6) and e[f"ipv{family}"]]
        found = _elements(daemon, "inet", f"dnat{family}_any")
        assert found == {
            ((p["protocol"], p["host_port"]), (_bare(e[f"ipv{family}"]), p["port"]))
            for p, e in here
            if ip_address(p["host_ip"]).is_unspecified
        }
        one = {
            ((p["host_ip"], p["protocol"], p["host_port"]), (_bare(e[f"ipv{family}"]), p["port"]))
            for p, e in here
            if not ip_address(p["host_ip"]).is_unspecified
        }
        assert _elements(daemon, "inet", f"dnat{family}") == one


def _elements(daemon: Daemon, family: str, name: str) -> set[Any]:
    kind = "map" if name.startswith("dnat") else "set"
    listed = json.loads(daemon.run("nft", "-n", "-j", "list", kind, family, "towline", name))
    found = next(item[kind] for item in listed["nftables"] if kind in item)
    return {_plain(element) for element in found.get("elem", [])}


PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}


def _plain(element: Any) -> Any:
    """Names and tuples instead of nft's objects."""
    match element:
        case {"concat": parts}:
            return tuple(PROTOCOLS.get(part, part) if i < len(parts) - 1 else part for i, part in enumerate(parts))
        case [key, data]:
            return (_plain(key), _plain(data))
        case {"elem": {"val": inner}}:
            return _plain(inner)
        case _:
            return element


def _assert_remains(daemon: Daemon, sandboxes: list[dict[str, Any]], running: list[dict[str, Any]]) -> None:
    """A namespace pinned for each that runs, processes for no other, and files for no sandbox that does not exist."""
    own = [sandbox for sandbox in running if sandbox["origin"] == "run"]
    pinned = [sandbox for sandbox in own if sandbox["netns"]]
    assert {str(pin) for pin in pins(daemon.exec_root)} == {sandbox["netns"] for sandbox in pinned}
    assert _names(daemon.exec_root / "netns") == {sandbox["id"][:12] for sandbox in pinned}
    known = {sandbox["id"] for sandbox in sandboxes}
    for root in (daemon.exec_root, daemon.data_root):
        assert _names(root / "sandboxes") <= known
    assert len(shims(daemon.exec_root)) <= len(own)
    assert all(os.path.exists(f"/proc/{sandbox['pid']}") for sandbox in own)


def _names(directory: os.PathLike[str]) -> set[str]:
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()


def _bare(cidr: str) -> str:
    return cidr.partition("/")[0]
