"""A cluster of three managers and two workers whose sandboxes talk, for tests of what befalls it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from tests.support.boxes import Box, create, enter, make_network, pools, run, start
from tests.support.equality_cluster import settled
from tests.support.flows import Conversation
from tests.support.hosts import Host, hosts, start_all
from tests.support.plugs import Plug
from tests.support.polling import eventually, until

LONG = 40.0
"""Seconds until a test gives up on a cluster."""


class Five(NamedTuple):
    """boxes: w<n> on host n, on "wide"."""

    hosts: list[Host]
    boxes: list[Box]

    @property
    def managers(self) -> list[Host]:
        return self.hosts[:3]

    def settled(self) -> None:
        settled(self.managers, self.hosts, LONG)

    def assert_traffic(self) -> None:
        for box in self.boxes:
            for peer in self.boxes:
                assert peer is box or box.dial(peer.ipv4, 80, 1), f"{box.name} -> {peer.name}"


def cluster(five: Sequence[Host]) -> None:
    """Three managers, the others workers. A node that says nothing for three seconds is down."""
    five[0].init()
    five[0].docker("swarm", "update", "--dispatcher-heartbeat", "1s")
    for host in five[1:]:
        host.join(five[0], "manager" if host.number <= 3 else "worker")


def knows(host: Host, *names: str) -> bool:
    return set(names) <= {n["Name"] for n in host.daemon.http("GET", "/networks").json}


@contextmanager
def five_hosts() -> Iterator[list[Host]]:
    """Not started yet, so that a test can change how they are."""
    with hosts(5, start=False) as made:
        yield made


@contextmanager
def talking(made: list[Host]) -> Iterator[Five]:
    """Start them as a cluster with a sandbox on each."""
    with ExitStack() as stack:
        start_all(made)
        cluster(made)
        make_network(made[0].daemon, "wide", Driver="overlay", Attachable=True, **pools("10.9.0.0/16", "fd00:9::/64"))
        until(lambda: all(knows(host, "wide") for host in made[:3]))
        for host in made:
            run(host.daemon, f"w{host.number}", "wide")
        boxes = [enter(host.daemon, f"w{host.number}") for host in made]
        whole = Five(made, boxes)
        for number in range(len(boxes)):  # a test may put another in its place
            stack.callback(lambda number=number: boxes[number].close())
        whole.settled()
        whole.assert_traffic()
        yield whole


@contextmanager
def undisturbed(*pairs: tuple[Box, Box]) -> Iterator[None]:
    """A TCP connection between each two goes on while the body runs, and ends whole."""
    with ExitStack() as stack:
        talks = []
        for port, (client, server) in enumerate(pairs, 7100):
            talks.append(Conversation(Plug(client.ns, client.ipv4), Plug(server.ns, server.ipv4), port))
            stack.callback(talks[-1].close)
        until(lambda: all(talk.rounds > 20 or talk.error for talk in talks))
        yield
        goals = [talk.rounds + 20 for talk in talks]
        until(lambda: all(t.rounds >= goal or t.error for t, goal in zip(talks, goals, strict=True)))
        assert [talk.end() for talk in talks] == [None] * len(talks)


def leader_of(managers: Sequence[Host], witness: Host) -> Host | None:
    answer = witness.daemon.http("GET", "/nodes")
    nodes = answer.json if answer.status == 200 else []
    found = [n["ManagerStatus"]["Addr"] for n in nodes if n.get("ManagerStatus", {}).get("Leader")]
    return next((host for host in managers if f"{host.address}:2377" in found), None)


def move(host: Host, name: str, asked: dict[str, str]) -> None:
    """Run it where its address was another node's: that node returns the block in the background."""

    def attempt() -> None:
        answer = create(host.daemon, name, asked, command=["sleep", "600"])
        assert answer.status == 201, answer

    eventually(attempt, LONG)
    start(host.daemon, name)


def silence(host: Host) -> float:
    """Seconds since a manager has heard of it."""
    shown = host.daemon.http("GET", "/towline/v1/cluster")
    assert shown.status == 200, shown
    return float(shown.json["silence"] or 0)


def assert_state(manager: Host, host: Host, wanted: str) -> None:
    """Docker's state of a node, as "down"."""
    nodes = {n["Status"]["Addr"]: n["Status"]["State"] for n in manager.daemon.http("GET", "/nodes").json}
    assert nodes[host.address] == wanted


def assert_up(manager: Host, wanted: Sequence[Host]) -> None:
    """These are ready, and no others."""
    nodes = manager.daemon.http("GET", "/nodes").json
    up = {n["Status"]["Addr"] for n in nodes if n["Status"]["State"] == "ready"}
    assert up == {host.address for host in wanted}
