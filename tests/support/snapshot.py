"""All that a request may change, as values to compare: links, addresses, routes, rules, namespaces, records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.daemon import Daemon
from tests.support.equality import assert_equal
from tests.support.polling import eventually
from tests.support.remains import pins

_VOLATILE = frozenset({"handle", "packets", "bytes", "metainfo", "operstate"})

LINK = ("ifindex", "ifname", "ifalias", "link_type", "mtu", "address", "master", "group", "inet6_addr_gen_mode")
KERNEL = " proto kernel "  # routes that follow from addresses


def snapshot(daemon: Daemon) -> dict[str, Any]:
    """From `ip`, `nft` and the API; without counters and handles, and not in an order that only history explains."""
    return {
        "links": _sorted([_link(link) for link in json.loads(daemon.run("ip", "-j", "-d", "address"))]),
        "routes": sorted(r for r in daemon.run("ip", "route", "show", "table", "all").splitlines() if KERNEL not in r),
        "rules": without_volatile(json.loads(daemon.run("nft", "-j", "list", "ruleset"))),
        "networks": _sorted(daemon.http("GET", "/v1.56/networks").json),
        "sandboxes": _sorted(daemon.http("GET", "/towline/v1/sandboxes").json),
        "namespaces": pins(daemon.exec_root),
        "forwarding": daemon.run("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
    }


@contextmanager
def nothing_changes(daemon: Daemon, *, undone: bool = False) -> Iterator[None]:
    """What happens inside leaves no trace in store and kernel, and these agree.

    undone: it is refused so late that the store has taken an intent and taken it back, and links may still be going.
    """
    before, revision = snapshot(daemon), _revision(daemon)
    yield
    if undone:
        eventually(lambda: assert_equal(daemon))
    assert snapshot(daemon) == before
    assert undone or _revision(daemon) == revision
    assert_equal(daemon)


def _link(link: dict[str, Any]) -> dict[str, Any]:
    """Carrier and duplicate address detection come and go by themselves."""
    addresses = [{key: a[key] for key in ("local", "prefixlen", "scope")} for a in link["addr_info"]]
    return {key: link[key] for key in LINK if key in link} | {"up": "UP" in link["flags"], "addresses": addresses}


def without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_volatile(item) for key, item in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [without_volatile(item) for item in value]
    return value


def _sorted(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((without_volatile(item) for item in objects), key=lambda item: json.dumps(item, sort_keys=True))


def _revision(daemon: Daemon) -> int:
    return int(daemon.http("GET", "/towline/v1/state").json["revision"])
