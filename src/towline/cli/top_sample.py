"""One look at the networks and their traffic, and the rates between two looks.

Bytes come from the kernel's counters of the host's ends of the endpoints, as this process sees them, or of the ends
inside a sandbox where the host's are not to be seen (overlay networks): with a daemon in another network namespace or
on another host they are unknown.
"""

from __future__ import annotations

import os
import time

from towline.cli.client import Client
from towline.cli.errors import ApiError
from towline.cli.values import Object, as_list, as_object, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTERS = "/proc/self/net/dev"
Traffic = dict[str, tuple[int, int]]


class Sample:
    """at: seconds on the monotonic clock. traffic: host link -> bytes (to the sandbox, from it). queries: name queries
    that the daemon has answered, None if it does not say."""

    __slots__ = ("at", "networks", "queries", "sandboxes", "traffic")

    def __init__(
        self, at: float, networks: list[Object], sandboxes: list[Object], traffic: Traffic, queries: int | None
    ) -> None:
        self.at = at
        self.networks = networks
        self.sandboxes = sandboxes
        self.traffic = traffic
        self.queries = queries


def look(client: Client) -> Sample:
    networks = client.objects("GET", "/networks")
    sandboxes = client.objects("GET", "/towline/v1/sandboxes")
    traffic = read_counters(COUNTERS)
    for sandbox in sandboxes:
        traffic.update(inside(sandbox, traffic))
    return Sample(time.monotonic(), networks, sandboxes, traffic, _queries(client))


def read_counters(path: str) -> Traffic:
    """By link. What the host's end has sent is what the sandbox got."""
    found: Traffic = {}
    with open(path) as file:
        for line in file:
            name, colon, fields = line.partition(":")
            if colon:
                numbers = fields.split()
                found[name.strip()] = int(numbers[8]), int(numbers[0])
    return found


def inside(sandbox: Object, known: Traffic) -> Traffic:
    """By the host's ends that are not known. Only of a process that is in this sandbox, by its namespace: another host
    has other processes under these numbers."""
    endpoints = [as_object(endpoint) for endpoint in as_list(sandbox.get("endpoints"))]
    links = {as_text(e.get("ifname")): as_text(e.get("host_link")) for e in endpoints}
    process = f"/proc/{sandbox.get('pid')}"
    if sandbox.get("state") != "running" or not links.keys() or all(link in known for link in links.values()):
        return {}
    try:
        if not os.path.samefile(as_text(sandbox.get("netns")), f"{process}/ns/net"):
            return {}
        counters = read_counters(f"{process}/net/dev")
    except OSError:
        return {}
    return {link: counters[name][::-1] for name, link in links.items() if link not in known and name in counters}


def _queries(client: Client) -> int | None:
    try:
        count = as_object(client.object("GET", "/towline/v1/state").get("counters")).get("dns_queries")
    except ApiError:
        return None
    return count if isinstance(count, int) else None


def picture(before: Sample, after: Sample) -> Object:
    """What `top --json` prints: bytes since the endpoint was made, rates in bytes a second; null where unknown."""
    seconds = max(after.at - before.at, 1e-6)
    endpoints = [row for sandbox in after.sandboxes for row in _endpoints(sandbox, before.traffic, after, seconds)]
    asked = None if None in (before.queries, after.queries) else (after.queries or 0) - (before.queries or 0)
    return {
        "Interval": round(seconds, 3),
        "Networks": [_network(network, endpoints) for network in after.networks],
        "Sandboxes": len(after.sandboxes),
        "Running": sum(sandbox.get("state") == "running" for sandbox in after.sandboxes),
        "Endpoints": sorted(endpoints, key=_busiest_first),
        "DnsQueries": after.queries,
        "DnsRate": None if asked is None else round(max(asked, 0) / seconds, 1),
    }


def _endpoints(sandbox: Object, before: Mapping[str, tuple[int, int]], after: Sample, seconds: float) -> list[Object]:
    rows: list[Object] = []
    for endpoint in map(as_object, as_list(sandbox.get("endpoints"))):
        link = as_text(endpoint.get("host_link"))
        now = after.traffic.get(link) if sandbox.get("state") == "running" else None
        then = before.get(link, now)
        rows.append(
            {
                "Sandbox": as_text(sandbox.get("name")),
                "Network": as_text(endpoint.get("network_name")),
                "Interface": as_text(endpoint.get("ifname")),
                "Address": (as_text(endpoint.get("ipv4")) or as_text(endpoint.get("ipv6"))).partition("/")[0],
                "Received": now[0] if now else None,
                "Sent": now[1] if now else None,
                "ReceiveRate": _rate(then[0], now[0], seconds) if now and then else None,
                "SendRate": _rate(then[1], now[1], seconds) if now and then else None,
            }
        )
    return rows


def _rate(then: int, now: int, seconds: float) -> int:
    return max(0, round((now - then) / seconds))


def _network(network: Object, endpoints: list[Object]) -> Object:
    name = as_text(network.get("Name"))
    own = [row for row in endpoints if row["Network"] == name]
    return {
        "Name": name,
        "Driver": as_text(network.get("Driver")),
        "Endpoints": len(own),
        "ReceiveRate": total(own, "ReceiveRate"),
        "SendRate": total(own, "SendRate"),
    }


def total(rows: list[Object], field: str) -> int | None:
    """Sum of what is known; None if nothing is."""
    known = [value for row in rows if isinstance(value := row[field], int)]
    return sum(known) if known else None


def _busiest_first(row: Object) -> tuple[int, str, str]:
    busy = (total([row], "ReceiveRate") or 0) + (total([row], "SendRate") or 0)
    return -busy, as_text(row["Sandbox"]), as_text(row["Network"])
