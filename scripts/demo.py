"""`make demo`: Towline on real kernel objects in half a minute, told step by step. Takes root.

Everything happens in network, mount and process namespaces made for the occasion. Each claim is checked before it is
printed; the exit status is 1 if one is false. What was made is taken away again whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from demo_stage import BOLD, PLAIN, RED, WELCOME, ClaimFailedError, Snapshot, Stage, chapter, claim, claim_soon, show

_STREET = ("ip", "netns", "exec", "street")
_OUTSIDE, _HOST = "198.51.100.2", "198.51.100.1"


def same_but_index(one: Snapshot, other: Snapshot) -> bool:
    """The same links, addresses and rules, though some links may have been made anew."""
    return (one.links.keys(), one.addresses, one.rules) == (other.links.keys(), other.addresses, other.rules)


def create(stage: Stage) -> None:
    chapter("2. Two networks, made by the client that you know")
    stage.client("network", "create", "web")
    stage.client("network", "create", "--internal", "--subnet", "10.88.0.0/24", "--label", "tier=data", "db")
    stage.client("network", "ls")
    ids, kernel = stage.networks(), stage.snapshot()
    for name in ("web", "db"):
        claim(f"the network {name} exists", name in ids)
        bridge = f"br-{ids[name][:12]}"
        stage.inside(f"ip -brief address show dev {bridge}")
        claim(f"{name} is the bridge {bridge} in the kernel", bridge in kernel.links)
        claim(f"it holds the gateway {stage.gateway(name)}", (bridge, stage.gateway(name)) in kernel.addresses)
        claim("the firewall knows it", any(bridge in word for word in kernel.rules))
    for part in ("set inet towline bridges", "set inet towline internal4", "chain inet towline forward"):
        stage.inside(f"nft list {part}")


def talk(stage: Stage) -> None:
    chapter("3. Processes on these networks: they find each other by name, and the world finds them by port")
    stage.run("shop", "web", "-p", "8080:80", "--", *stage.shop())
    stage.run("till", "web", "--", "sleep", "600")
    stage.run("vault", "db", "--", "sleep", "600")
    stage.client("ps")
    claim_soon("till reaches shop by its name", lambda: stage.exec_get("till", "http://shop/") == WELCOME)
    street(stage)
    claim("its published port answers this host", stage.get("http://127.0.0.1:8080/") == WELCOME)
    outside = stage.get(f"http://{_HOST}:8080/", where=_STREET)
    claim("and a host outside, at the address of this one", outside == WELCOME)
    address = stage.sandbox("shop")["endpoints"][0]["ipv4"].partition("/")[0]
    claim("vault, on db, knows no shop", "no answer" in stage.exec_get("vault", "http://shop/"))
    direct = stage.exec_get("vault", f"http://{address}/", "0.7")
    claim("and has no way to its address", "no answer" in direct)


def street(stage: Stage) -> None:
    """A host outside, on a cable."""
    stage.inside("ip netns add street", quiet=True)
    stage.inside("ip link add wan type veth peer name eth0 netns street", quiet=True)
    stage.inside(f"ip address add {_HOST}/24 dev wan", quiet=True)
    stage.inside("ip link set wan up", quiet=True)
    stage.inside(f"ip -n street address add {_OUTSIDE}/24 dev eth0", quiet=True)
    stage.inside("ip -n street link set eth0 up", quiet=True)


def crash(stage: Stage) -> None:
    chapter("4. kill -9: traffic does not need the daemon, and the daemon forgets nothing")
    before, ids, pid = stage.snapshot(), stage.networks(), stage.sandbox("shop")["pid"]
    customer = stage.start(f"ip netns exec street {stage.program('customer')} {_HOST}")
    assert customer.stdout is not None
    claim("a customer outside is connected to the shop", customer.stdout.readline() == "connected\n")
    claim("the daemon is dead", stage.end_daemon(signal.SIGKILL) == -signal.SIGKILL)
    claim("every link, address and rule stays while nobody runs", stage.snapshot() == before)
    claim("the port answers new customers too", stage.get(f"http://{_HOST}:8080/", where=_STREET) == WELCOME)
    stage.start_daemon()
    claim_soon("names answer again", lambda: stage.exec_get("till", "http://shop/") == WELCOME)
    claim("it knows the same networks by the same ids", stage.networks() == ids)
    claim("the shop is the same process", stage.sandbox("shop")["pid"] == pid)
    claim("and it found nothing to change: the links are the same objects", stage.snapshot() == before)
    claim("the customer is still there", customer.poll() is None)
    stage.inside("pkill -INT -f customer", quiet=True)
    said = customer.communicate(timeout=10)[0]
    show("the customer, 50 requests a second at most, all the while", said)
    claim("no request was lost", "on one connection" in said)


def damage(stage: Stage) -> None:
    chapter("5. Somebody breaks things by hand")
    before, bridge = stage.snapshot(), f"br-{stage.networks()['web'][:12]}"
    link = stage.sandbox("shop")["endpoints"][0]["host_link"]
    stage.inside(f"ip link delete {link}")
    claim_soon("the shop's cable is back", lambda: same_but_index(stage.snapshot(), before))
    stage.inside(f"ip link delete {bridge}")
    claim_soon("the bridge is back, with its address", lambda: same_but_index(stage.snapshot(), before))
    stage.inside("nft flush ruleset")
    claim_soon("all rules are back", lambda: same_but_index(stage.snapshot(), before))
    claim_soon("till reaches shop by its name", lambda: stage.exec_get("till", "http://shop/") == WELCOME)
    claim("the daemon is dead once more", stage.end_daemon(signal.SIGKILL) == -signal.SIGKILL)
    stage.inside(f"ip link delete {bridge}")
    stage.inside("nft flush ruleset")
    stage.start_daemon()
    claim_soon("what broke while nobody looked is repaired", lambda: same_but_index(stage.snapshot(), before))
    claim("the port answers", stage.get(f"http://{_HOST}:8080/", where=_STREET) == WELCOME)
    stage.towline("doctor")


def remove(stage: Stage, empty: Snapshot) -> None:
    chapter("6. Remove everything")
    stage.towline("rm", "--force", "shop", "till", "vault")
    stage.client("network", "rm", "web", "db")
    stage.inside("ip netns delete street", quiet=True)
    claim("the predefined networks are left", set(stage.networks()) == {"bridge", "host", "none"})
    claim_soon("the kernel is as it was before: no link, address or rule more", lambda: stage.snapshot() == empty)
    claim("no namespace of a sandbox is held", stage.pinned == [])
    claim_soon("no process but the daemon runs", lambda: len(stage.processes()) == 1)
    claim("the daemon stops cleanly", stage.end_daemon(signal.SIGTERM) == 0)
    claim("and no process is left", stage.processes() == [])


def tell(stage: Stage) -> None:
    stage.start_daemon()
    empty = stage.snapshot()
    claim("Docker's predefined networks are there", set(stage.networks()) == {"bridge", "host", "none"})
    create(stage)
    talk(stage)
    crash(stage)
    damage(stage)
    remove(stage, empty)


def main() -> int:
    if os.geteuid() != 0:
        print("demo: network namespaces take root: sudo make demo", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="towline-demo-") as directory, contextlib.ExitStack() as stack:
        try:
            chapter("1. A daemon in a network namespace of its own")
            stage = Stage(Path(directory))
            stack.callback(stage.close)
            tell(stage)
        except ClaimFailedError as failure:
            print(f"  {RED}NOT TRUE:{PLAIN} {failure}", flush=True)
            log = Path(directory, "log")
            if log.exists():
                print(f"\nThe daemon's log ends with:\n{log.read_text(errors='replace')[-3000:]}", flush=True)
            return 1
    print(f"\n{BOLD}Namespace, daemon and files of this demo are gone; your own network was not touched.{PLAIN}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
