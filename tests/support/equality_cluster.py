"""Do etcd, every node's own view and every kernel agree? Asked of etcd by its own client, and of `ip` and `bridge`."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from tests.support.boxes import SANDBOXES
from tests.support.hosts import Host
from tests.support.polling import eventually
from towline.model.secure import node_address, secure_prefix

_PREFIX = "/towline/v1/"
_SILENT = 2.5
"""Seconds: a node that reports each second, or has just begun."""
Rows = dict[str, str]


def etcdctl(manager: Host, *words: str, input: str | None = None, complaints: bool = False) -> str:
    """What a manager's etcd answers, "" if it does not; with `complaints` also what goes to stderr."""
    root = f"/proc/{manager.daemon.pid}/root{manager.daemon.data_root}/cluster/etcd-tls"
    files = [f"--cacert={root}/ca.pem", f"--cert={root}/member.pem", f"--key={root}/member.key"]
    command = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints=https://127.0.0.1:2379", *files, *words]
    if complaints:
        command = ["sh", "-c", '"$@" 2>&1', "-", *command]
    return manager.net.run(command, input=input, check=False)


def etcd_records(manager: Host) -> dict[str, dict[str, Any]]:
    """Everything in etcd by key without prefix, read with a quorum by `etcdctl`."""
    text = etcdctl(manager, "get", "--prefix", _PREFIX, "-w", "json")
    assert text, f"etcd of {manager.address} does not answer"
    pairs = json.loads(text).get("kvs", [])
    values = {b64decode(pair["key"]).decode(): json.loads(b64decode(pair["value"])) for pair in pairs}
    return {key.removeprefix(_PREFIX): value["record"] for key, value in values.items()}


def published(records: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Endpoints by network and id."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key, record in records.items():
        kind, _, rest = key.partition("/")
        if kind == "endpoint":
            network, _, endpoint = rest.partition("/")
            found.setdefault(network, {})[endpoint] = record
    return found


def settled(managers: Sequence[Host], nodes: Iterable[Host], seconds: float = 20.0) -> float:
    """Seconds until all agree; the last difference fails it. managers: that work, at least one. nodes: all that run."""
    return eventually(lambda: assert_agreement(managers[0], managers, list(nodes)), seconds)


def assert_agreement(witness: Host, managers: Sequence[Host], nodes: Sequence[Host]) -> None:
    records = etcd_records(witness)
    endpoints = published(records)
    networks = {key.partition("/")[2]: record for key, record in records.items() if key.startswith("network/")}
    prefix = secure_prefix(records["cluster"]["id"])
    encrypted = {key for key, record in networks.items() if "encrypted" in record.get("options", {})}
    ids = {host.address: _node_id(host) for host in nodes}
    running = set(ids.values())
    had = {(net, key) for net, peers in endpoints.items() for key, peer in peers.items() if peer["node"] in running}
    assert {(network, peer) for host in nodes for network, peer in _own(host)} == had, "endpoints"
    assert set(endpoints) <= set(networks)
    for host in managers:
        shown = {n["Id"]: n["Name"] for n in host.daemon.http("GET", "/networks").json if n["Scope"] == "swarm"}
        assert shown == {key: record["name"] for key, record in networks.items()}, host.address
    for host in nodes:
        node = ids[host.address]
        page = host.daemon.http("GET", "/towline/v1/cluster").json
        assert (page["error"], (page["silence"] or 0) < _SILENT) == ("", True), f"{host.address}: {page}"
        for network, peer in _own(host):
            assert endpoints[network][peer]["node"] == node, f"{peer} of {host.address}"
        _assert_kernel(host, node, endpoints, prefix, encrypted)
        assert host.daemon.http("GET", "/towline/v1/diagnose").json == [], host.address


def _node_id(host: Host) -> str:
    return str(host.daemon.http("GET", "/info").json["Swarm"]["NodeID"])


def _own(host: Host) -> set[tuple[str, str]]:
    """(network, endpoint) on global networks of the sandboxes that run here, and of the routing mesh."""
    shown = host.daemon.http("GET", SANDBOXES).json
    networks = {n["Id"] for n in host.daemon.http("GET", "/networks").json if n["Scope"] == "swarm"}
    return _of_mesh(host) | {
        (endpoint["network"], endpoint["id"])
        for sandbox in shown
        for endpoint in sandbox["endpoints"]
        if endpoint["ifname"] and endpoint["network"] in networks
    }


def _of_mesh(host: Host) -> set[tuple[str, str]]:
    answer = host.daemon.http("GET", "/networks/ingress")
    held = answer.json.get("Containers") or {} if answer.status == 200 else {}
    return {(answer.json["Id"], held["ingress-sbox"]["EndpointID"])} if "ingress-sbox" in held else set()


def _assert_kernel(
    host: Host,
    node: str,
    endpoints: Mapping[str, Mapping[str, dict[str, Any]]],
    prefix: str,
    encrypted: Collection[str],
) -> None:
    """Tunnels of exactly the networks with endpoints here, and on them a row for each endpoint elsewhere."""
    here = {network for network, peers in endpoints.items() if any(p["node"] == node for p in peers.values())}
    links = {link["ifname"] for link in json.loads(host.daemon.run_apart("ip", "-j", "link") or "[]")}
    overlays = {name for name in links if name.startswith("vx-")}
    assert overlays == {f"vx-{network[:12]}" for network in here}, f"tunnels of {host.address}"
    for network in here:
        far = [peer for peer in endpoints[network].values() if peer["node"] != node]
        device = f"vx-{network[:12]}"
        rows = {
            peer["mac"]: node_address(prefix, peer["node"]) if network in encrypted else peer["vtep"] for peer in far
        }
        assert fdb(host, device) == rows, f"FDB of {host.address}"
        wanted = {peer[k].partition("/")[0]: peer["mac"] for peer in far for k in ("ipv4", "ipv6") if peer.get(k)}
        assert neighbours(host, device) == wanted, f"neighbours of {host.address}"


def fdb(host: Host, device: str) -> Rows:
    """MAC -> VTEP."""
    rows = json.loads(host.daemon.run_apart("bridge", "-j", "fdb", "show", "dev", device) or "[]")
    return {row["mac"]: row["dst"] for row in rows if "dst" in row}


def neighbours(host: Host, device: str) -> Rows:
    """Address -> MAC, permanent ones."""
    rows = json.loads(host.daemon.run_apart("ip", "-j", "neigh", "show", "dev", device, "nud", "permanent") or "[]")
    return {row["dst"]: row["lladdr"] for row in rows}
