"""Where Towline answers otherwise than the recorded Docker about endpoints and ports."""

from __future__ import annotations

from typing import Any

from tests.support.replay import Difference, scenarios

_RECORDED = scenarios()

SAYS_WHY = "the message also says what is wrong"
EARLIER = "refused before anything is made, as a mistake in the request"
NO_IPV6_TO_IPV4 = "no proxy process: a sandbox without IPv6 is not reached over the host's IPv6"
KEEPS = "a sandbox that does not run keeps its addresses, and shows them"
UNKNOWN_NETWORK = "connecting to a network that does not exist is refused at once, also while the sandbox does not run"
NOT_STORED = f"follows from step 4: {UNKNOWN_NETWORK}"


def _refused(status: int, message: str, reason: str) -> Difference:
    return Difference(status, {"message": message}, reason)


def _settings(what: str) -> str:
    return f"invalid endpoint settings:\n{what}"


def _endpoint(network: str, address: str, names: list[str] | None) -> dict[str, Any]:
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "DriverOpts": None,
        "GwPriority": 0,
        "NetworkID": network,
        "EndpointID": "{hex64}",
        "Gateway": address.rpartition(".")[0] + ".1",
        "IPAddress": address,
        "MacAddress": "{mac}",
        "IPPrefixLen": 24,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": names,
    }


def _network_settings(networks: dict[str, Any], *, running: bool = False) -> dict[str, Any]:
    sandbox = {"SandboxID": "{hex64}", "SandboxKey": "{netns}"} if running else {"SandboxID": "", "SandboxKey": ""}
    return {"NetworkSettings": {**sandbox, "Ports": {}, "Networks": networks}}


def _without_ipv6(scenario: str, step: int) -> Difference:
    """As recorded, less the bindings to [::]."""
    body = _RECORDED[scenario][step]["body"]
    if isinstance(body, list):
        ports: Any = [{**item, "Ports": [port for port in item["Ports"] if port["IP"] != "::"]} for item in body]
        return Difference(200, ports, NO_IPV6_TO_IPV4)
    settings = body["NetworkSettings"]
    shown = {key: [b for b in bindings if b["HostIp"] != "::"] for key, bindings in settings["Ports"].items()}
    return Difference(200, {"NetworkSettings": {**settings, "Ports": shown}}, NO_IPV6_TO_IPV4)


def _in_use(step: int, used: int, free: int) -> Any:
    body = _RECORDED["stopped container"][step]["body"]
    status = {"IPAM": {"Subnets": {"10.0.1.0/24": {"IPsInUse": used, "DynamicIPsAvailable": free}}}}
    return {**body, "Status": status}


_S1 = {
    "bridge": _endpoint("{hex64}", "10.0.0.2", None),
    "web": _endpoint("{id:web}", "10.0.1.2", ["s1", "{short:s1}", "hs1"]),
}
_P2 = {"web": _endpoint("{id:web}", "10.0.1.3", ["p2", "{short:p2}", "hp2"])}
_IFNAME = "(com.docker.network.endpoint.ifname)"
_PORT = "is a number from 0 to 65535, or a range of them"

ENDPOINT_DIFFERENCES: dict[tuple[str, int], Difference] = {
    ("refused endpoint settings", 26): _refused(
        400,
        _settings(
            "invalid MAC address: 01:00:5e:00:00:01: it is a multicast address; the first octet must be even",
        ),
        EARLIER,
    ),
    ("refused endpoint settings", 30): _refused(
        500, "write sysctl net/ipv4/conf/eth1/nosuch: no such file or directory", "the words are the kernel's"
    ),
    ("refused endpoint settings", 32): _refused(
        400,
        _settings(
            f"invalid interface name 'a/b' {_IFNAME}: it may not hold '/', ':', '%', blanks or control characters, "
            "or be '.' or '..'"
        ),
        EARLIER,
    ),
    ("refused endpoint settings", 34): _refused(
        400, _settings(f"invalid interface name 'averyverylongname' {_IFNAME}: it is longer than 15 bytes"), EARLIER
    ),
    ("exhausted", 6): _refused(
        500,
        "no available IPv4 addresses on this network's address pools: tiny ({id:tiny}): 10.81.0.0/30: 4 of 4 taken",
        SAYS_WHY,
    ),
    ("published ports", 1): Difference(
        201, {"Id": "{id:p1}", "Warnings": []}, "-p has no form for an empty list of bindings"
    ),
    ("published ports", 3): _without_ipv6("published ports", 3),
    ("published ports", 4): _without_ipv6("published ports", 4),
    ("published ports", 5): _without_ipv6("published ports", 5),
    ("published ports", 8): Difference(200, _network_settings(_P2), "a failed start does not lose the networks"),
    ("bad ports", 0): _refused(400, 'invalid proto: foo: in "1:80/foo" it is none of tcp, udp, sctp', EARLIER),
    ("bad ports", 1): _refused(404, "No such container: b0", "follows from step 0"),
    ("bad ports", 2): _refused(404, "No such container: b0", "follows from step 0"),
    ("bad ports", 3): _refused(
        400, 'invalid port specification: "0": in "1:0/tcp" 0 is no port; the lowest is 1', SAYS_WHY
    ),
    ("bad ports", 6): _refused(
        400, f'invalid port specification: "70000": in "70000:80/tcp" a host port {_PORT}', SAYS_WHY
    ),
    ("bad ports", 9): _refused(400, f'invalid port specification: "x": in "x:80/tcp" a host port {_PORT}', SAYS_WHY),
    ("bad ports", 12): _refused(
        400, 'invalid IP address: 1.2.3: in "1.2.3:1000:80/tcp" it is no IPv4 or IPv6 address', SAYS_WHY
    ),
    ("bad ports", 18): _refused(
        400, 'invalid port specification: "5-3": in "5-3:80/tcp" the range is reversed; write 3-5', SAYS_WHY
    ),
    ("stopped container", 3): Difference(200, _network_settings(_S1), KEEPS),
    ("stopped container", 4): _refused(404, "network nope not found", UNKNOWN_NETWORK),
    ("stopped container", 5): Difference(204, "", NOT_STORED),
    ("stopped container", 6): Difference(200, _network_settings(_S1, running=True), NOT_STORED),
    ("stopped container", 7): _refused(404, "network nope not found", NOT_STORED),
    ("stopped container", 8): Difference(204, "", "it ran since step 5"),
    ("stopped container", 9): Difference(200, _network_settings(_S1), KEEPS),
    ("stopped container", 10): Difference(200, _in_use(10, 4, 252), KEEPS),
}
