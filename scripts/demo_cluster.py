"""`make demo-cluster`: three hosts become one cluster, with networks that span them, told step by step. Takes root.

The hosts are namespaces on one switch; daemons, etcd, VXLAN tunnels and packets are real. Each claim is checked before
it is printed; the exit status is 1 if one is false. What was made is taken away again whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from demo_stage import BOLD, PLAIN, RED, WELCOME, ClaimFailedError, Snapshot, Stage, chapter, claim, claim_soon, show
from demo_switch import Switch

_SHOP = "http://shop:8080/"
_SLEEP = ("--", "sleep", "600")
_LOCAL = {"bridge", "host", "none"}


class Hosts:
    """stages[0] is host1, at addresses[0], in port 1 of the switch; and so on."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.switch = Switch()
        stack.callback(self.switch.close)
        self.stages: list[Stage] = []
        self.addresses: list[str] = []
        for number in (1, 2, 3):
            at = directory / f"host{number}"
            at.mkdir()
            stage = Stage(at, f"host{number}")
            stack.callback(stage.close)
            self.stages.append(stage)
            self.addresses.append(self.switch.plug(stage, number))
        for stage in self.stages:
            stage.start_daemon()


def nodes(stage: Stage) -> dict[str, dict[str, str]]:
    """Hostname -> how a manager sees the node; nothing while it does not work yet."""
    said = stage.ask("/nodes")
    return {
        node["Description"]["Hostname"]: {
            "id": node["ID"],
            "state": node["Status"]["State"],
            "manager": node.get("ManagerStatus", {}).get("Reachability", ""),
        }
        for node in (said if isinstance(said, list) else ())
    }


def ready(stage: Stage) -> int:
    return sum(node["state"] == "ready" for node in nodes(stage).values())


def mac(stage: Stage, sandbox: str) -> str:
    return str(stage.sandbox(sandbox)["endpoints"][0]["mac"])


def address(stage: Stage, sandbox: str) -> str:
    return str(stage.sandbox(sandbox)["endpoints"][0]["ipv4"].partition("/")[0])


def found(stage: Stage, sandbox: str, url: str = _SHOP) -> bool:
    return stage.exec_get(sandbox, url) == WELCOME


def gather(hosts: Hosts) -> None:
    chapter("2. Three hosts become one cluster")
    one, two, three = hosts.stages
    first, second, third = hosts.addresses
    one.client("swarm", "init", "--advertise-addr", first)
    claim("host1 runs an etcd of its own", len(etcd(one)) == 1)
    tokens = {role: one.client("swarm", "join-token", "-q", role).strip() for role in ("manager", "worker")}
    wrong = tokens["worker"][:-4] + ("aaaa" if not tokens["worker"].endswith("aaaa") else "bbbb")
    said = three.refused("swarm", "join", "--advertise-addr", third, "--token", wrong, f"{first}:2377")
    claim("a wrong token opens nothing", "join token" in said)
    two.client("swarm", "join", "--advertise-addr", second, "--token", tokens["manager"], f"{first}:2377")
    three.client("swarm", "join", "--advertise-addr", third, "--token", tokens["worker"], f"{first}:2377")
    claim_soon("all three are ready", lambda: ready(one) == 3)
    claim_soon("host2 is a manager", lambda: bool(nodes(one)["host2"]["manager"]), 20.0)
    claim("host3 is none, and has no etcd", not nodes(one)["host3"]["manager"] and not etcd(three))
    two.client("node", "ls")
    three.refused("network", "create", "-d", "overlay", "other")


def etcd(stage: Stage) -> list[str]:
    """Its process, if the host has one."""
    return [line for line in stage.processes() if Path(line.split()[1]).name == "etcd"]


def span(hosts: Hosts) -> None:
    chapter("3. A network over all of them: names, addresses, packets")
    one, two, three = hosts.stages
    one.client("network", "create", "-d", "overlay", "--attachable", "wide")
    link = f"vx-{one.networks()['wide'][:12]}"
    claim("no host has a tunnel: nobody is on the network", all(link not in s.tunnels for s in hosts.stages))
    one.run("shop", "wide", "--", *one.shop(8080))
    two.run("till", "wide", *_SLEEP)
    three.run("guest", "wide", *_SLEEP)
    claim("each host has one now", all(link in stage.tunnels for stage in hosts.stages))
    claim_soon("till, on host2, reaches shop, on host1, by its name", lambda: found(two, "till"))
    claim_soon("guest, on host3, as well", lambda: found(three, "guest"))
    rows, neighbours = three.apart(f"bridge fdb show dev {link}"), three.apart(f"ip neighbour show dev {link}")
    row = f"{mac(one, 'shop')} dst {hosts.addresses[0]} "
    claim("host3's kernel knows behind which host shop's MAC is", row in rows)
    known = f"{address(one, 'shop')} lladdr {mac(one, 'shop')} PERMANENT"
    claim("and answers ARP for shop itself", known in neighbours)
    one.client("network", "create", "-d", "overlay", "--attachable", "--internal", "back")
    two.run("vault", "back", *_SLEEP)
    three.run("safe", "back", "--", *three.shop(8080))
    claim_soon("vault, on host2, reaches safe, on host3", lambda: found(two, "vault", "http://safe:8080/"))
    claim("vault, on the network back, knows no shop", "no answer" in two.exec_get("vault", _SHOP))
    direct = f"http://{address(one, 'shop')}:8080/"
    claim("and has no way to its address", "no answer" in two.exec_get("vault", direct, "0.7"))


def lose_manager(hosts: Hosts) -> None:
    chapter("4. A third manager, and the first one dies with traffic going on")
    one, two, three = hosts.stages
    one.client("node", "promote", "host3")
    reachable = lambda: [node["manager"] for node in nodes(two).values()] == ["reachable"] * 3  # noqa: E731
    claim_soon("host3 is a manager", reachable, 40.0)
    claim_soon("and has an etcd", lambda: len(etcd(three)) == 1, 20.0)
    three.run("stall", "wide", "--", *three.shop(8080))
    three.run("customer", "wide", "--", three.program("customer"), "shop")
    claim_soon("a customer on host3 is connected to shop", lambda: "connected" in three.logs("customer"))
    claim("host1's daemon is dead, its etcd with it", one.end_daemon(signal.SIGKILL) == -signal.SIGKILL)
    claim_soon("names and packets need it not", lambda: found(three, "guest"))
    claim_soon("the other two are a majority: they make networks", lambda: makes(two, "meanwhile"), 30.0)
    two.run("late", "wide", *_SLEEP)
    claim_soon("and who joins now finds stall, on host3", lambda: found(two, "late", "http://stall:8080/"))
    one.start_daemon()
    claim_soon("host1's kernel has learned of it: late reaches shop", lambda: found(two, "late"), 30.0)
    claim_soon("host1 is back and knows what was made meanwhile", lambda: "meanwhile" in one.networks(), 30.0)
    claim_soon("all three are ready", lambda: ready(one) == 3, 30.0)
    three.towline("stop", "customer")
    said = three.logs("customer")
    show("towline logs customer", said, three.name)
    claim("the customer lost no request", "on one connection" in said)


def makes(stage: Stage, name: str) -> bool:
    """Whether this host can make a network now, or has."""
    with contextlib.suppress(ClaimFailedError):
        stage.client("network", "create", "-d", "overlay", name)
    return name in stage.networks()


def cut(hosts: Hosts) -> None:
    chapter("5. A host is cut off, and catches up by itself")
    one, two, three = hosts.stages
    hosts.switch.cut(3)
    claim_soon("two hosts go on: they make a network", lambda: makes(one, "unheard"), 30.0)
    one.run("kiosk", "wide", "--", *one.shop(8080))
    claim_soon("and a kiosk that host2 finds", lambda: found(two, "till", "http://kiosk:8080/"))
    claim("host3 knows no kiosk", "no answer" in three.exec_get("guest", "http://kiosk:8080/"))
    claim("its own sandboxes talk on, by name", found(three, "guest", "http://stall:8080/"))
    hosts.switch.mend(3)
    claim_soon("the kiosk is found from host3", lambda: found(three, "guest", "http://kiosk:8080/"), 40.0)
    claim_soon("and so is the network", lambda: "unheard" in three.networks(), 40.0)
    three.towline("cluster", "status")


def damage(hosts: Hosts) -> None:
    chapter("6. Somebody breaks things by hand")
    one, two, three = hosts.stages
    before = etcd(two)
    two.inside("pkill -9 -x etcd")
    claim_soon("host2's etcd runs again", lambda: etcd(two) not in ([], before))
    claim_soon("and host2 makes networks", lambda: makes(two, "again"), 30.0)
    link, to = f"vx-{three.networks()['wide'][:12]}", hosts.addresses[0]
    rows = lambda: three.apart(f"bridge fdb show dev {link}", quiet=True)  # noqa: E731
    row = f"{mac(one, 'shop')} dst {to} "
    three.apart(f"bridge fdb delete {mac(one, 'shop')} dev {link} dst {to}")
    claim_soon("the row is back", lambda: row in rows())
    three.apart(f"ip link delete {link}")
    claim_soon("the tunnel is back, with its rows", lambda: link in three.tunnels and row in rows())
    claim_soon("guest reaches shop", lambda: found(three, "guest"))
    for stage in hosts.stages:
        stage.towline("doctor")


def remove(hosts: Hosts, empty: Sequence[Snapshot]) -> None:
    chapter("7. Remove everything")
    one, two, three = hosts.stages
    one.towline("rm", "--force", "shop", "kiosk")
    two.towline("rm", "--force", "till", "vault", "late")
    three.towline("rm", "--force", "guest", "safe", "customer", "stall")
    tunnels = lambda: [name for stage in hosts.stages for name in stage.tunnels]  # noqa: E731
    claim_soon("no tunnel is left: they went with their last endpoints", lambda: not tunnels())
    one.client("network", "rm", "wide", "back", "meanwhile", "unheard", "again")
    retire(one, three)
    retire(one, two)
    claim_soon("host1 sees them gone", lambda: ready(one) == 1, 20.0)
    one.client("swarm", "leave", "--force")
    for stage, before in zip(hosts.stages, empty, strict=True):
        gone(stage, before)


def is_worker(stage: Stage) -> bool:
    """By its certificate, which comes last."""
    return "Worker nodes can't" in str(stage.ask("/swarm").get("message", ""))


def retire(manager: Stage, stage: Stage) -> None:
    manager.client("node", "demote", stage.name)
    claim_soon(f"{stage.name} is a worker, without etcd", lambda: is_worker(stage) and etcd(stage) == [], 40.0)
    stage.client("swarm", "leave")


def gone(stage: Stage, empty: Snapshot) -> None:
    if "docker_gwbridge" in stage.networks():
        stage.client("network", "rm", "docker_gwbridge")
    name = stage.name
    claim(f"{name}: the predefined networks are left", set(stage.networks()) == _LOCAL)
    claim_soon(f"{name}: no link, address or rule more than before", lambda: stage.snapshot() == empty)
    claim(f"{name}: no namespace of a sandbox is held", stage.pinned == [])
    claim_soon(f"{name}: no process but the daemon runs", lambda: len(stage.processes()) == 1)
    claim(f"{name}: the daemon stops cleanly", stage.end_daemon(signal.SIGTERM) == 0)
    claim(f"{name}: and no process is left", stage.processes() == [])


def tell(hosts: Hosts) -> None:
    empty = [stage.snapshot() for stage in hosts.stages]
    gather(hosts)
    span(hosts)
    lose_manager(hosts)
    cut(hosts)
    damage(hosts)
    remove(hosts, empty)


def main() -> int:
    if os.geteuid() != 0:
        print("demo: network namespaces take root: sudo make demo-cluster", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="towline-demo-") as directory, contextlib.ExitStack() as stack:
        try:
            chapter("1. Three hosts on one switch, a daemon on each")
            tell(Hosts(Path(directory), stack))
        except ClaimFailedError as failure:
            print(f"  {RED}NOT TRUE:{PLAIN} {failure}", flush=True)
            for log in sorted(Path(directory).glob("host*/log")):
                said = log.read_text(errors="replace")[-2000:]
                print(f"\nThe log of {log.parent.name}'s daemon ends with:\n{said}", flush=True)
            return 1
    print(f"\n{BOLD}Hosts, switch, daemons and files of this demo are gone; your own network was not touched.{PLAIN}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
