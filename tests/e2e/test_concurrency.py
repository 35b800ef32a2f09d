"""Many clients at once, clients that go away in mid-request, and hosts beside each other."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.support.daemon import Answer, Daemon
from tests.support.equality import assert_equal, networks
from tests.support.polling import eventually

PREDEFINED = {"bridge", "host", "none"}
POOL = ("--default-address-pool", "base=10.0.0.0/8,size=24")
MakeDaemon = Callable[..., Daemon]


def at_once(count: int, call: Callable[[int], Answer]) -> list[Answer]:
    """`call(0)` to `call(count - 1)`, each in a thread of its own, let go together."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Answer:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def create(daemon: Daemon, name: str, **fields: object) -> Answer:
    return daemon.http("POST", "/networks/create", {"Name": name, **fields})


def test_fifty_clients_want_one_name(daemon: Daemon) -> None:
    for name in ("web", "mail", "db"):
        answers = at_once(50, lambda _, name=name: create(daemon, name))
        assert Counter(answer.status for answer in answers) == {201: 1, 409: 49}
        refusals = {answer.json["message"] for answer in answers if answer.status == 409}
        assert refusals == {f"network with name {name} already exists"}
        winner = next(answer.json["Id"] for answer in answers if answer.status == 201)
        assert daemon.http("GET", f"/networks/{name}").json["Id"] == winner
    assert_equal(daemon)


def test_twenty_clients_want_one_subnet_and_one_bridge_name(daemon: Daemon) -> None:
    subnet = {"IPAM": {"Config": [{"Subnet": "10.63.0.0/24"}]}}
    answers = at_once(20, lambda n: create(daemon, f"n{n}", **subnet))
    assert Counter(answer.status for answer in answers) == {201: 1, 403: 19}
    assert {a.json["message"].partition(":")[0] for a in answers if a.status == 403} == {"invalid pool request"}
    named = {"Options": {"com.docker.network.bridge.name": "mine"}}
    answers = at_once(20, lambda n: create(daemon, f"m{n}", **named))
    assert Counter(answer.status for answer in answers) == {201: 1, 403: 19}
    assert_equal(daemon)


def test_fifty_clients_remove_one_network(daemon: Daemon) -> None:
    create(daemon, "web")
    answers = at_once(50, lambda _: daemon.http("DELETE", "/networks/web"))
    assert Counter(answer.status for answer in answers) == {204: 1, 404: 49}
    eventually(lambda: assert_equal(daemon))


def test_sixteen_clients_work_on_their_own(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(*POOL).start()

    def work(client: int) -> Answer:
        for turn in range(8):
            name = f"c{client}-{turn}"
            assert create(daemon, name, EnableIPv6=turn % 2 == 0).status == 201
            shown = daemon.http("GET", f"/networks/{name}")
            assert (shown.status, shown.json["Name"]) == (200, name)
            if turn % 4:
                assert daemon.http("DELETE", f"/networks/{name}").status == 204
                assert daemon.http("GET", f"/networks/{name}").status == 404
        return daemon.http("GET", "/networks")

    at_once(16, work)
    expected = {f"c{client}-{turn}" for client in range(16) for turn in (0, 4)}
    present = networks(daemon)
    assert set(present) == PREDEFINED | expected
    subnets = [c["Subnet"] for n in present.values() for c in n["IPAM"]["Config"] or ()]
    assert len(subnets) == len(set(subnets))
    eventually(lambda: assert_equal(daemon))


def request(method: str, path: str, body: object = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def leave(daemon: Daemon, data: bytes, pause: float = 0.0) -> None:
    """Send this much of a request, wait a little, and go away without reading."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(daemon.socket)
        client.sendall(data)
        if pause:
            threading.Event().wait(pause)


def settled(daemon: Daemon) -> set[str]:
    """Names, once all is done that was accepted: a request that comes later is answered after it."""
    assert create(daemon, "last").status == 201
    assert daemon.http("DELETE", "/networks/last?wait=1").status == 204
    eventually(lambda: assert_equal(daemon))
    return set(networks(daemon)) - PREDEFINED


def test_client_that_leaves_in_the_middle_of_its_request_changes_nothing(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(*POOL).start()
    whole = request("POST", "/networks/create", {"Name": "web", "EnableIPv6": True})
    for sent in range(1, len(whole), 7):
        leave(daemon, whole[:sent])
    assert settled(daemon) == set()


def test_client_that_leaves_before_the_answer_leaves_all_or_nothing(make_daemon: MakeDaemon) -> None:
    """It goes at once, and after pauses that fall into planning, commit, kernel and answer."""
    daemon = make_daemon(*POOL).start()
    for number in range(40):
        leave(daemon, request("POST", "/networks/create", {"Name": f"n{number}", "EnableIPv6": True}), number * 0.0001)
    there = settled(daemon)
    assert there <= {f"n{number}" for number in range(40)}
    assert there, "not one was accepted: does the server read what it was sent?"
    for number, name in enumerate(sorted(there)):
        leave(daemon, request("DELETE", f"/networks/{name}"), number * 0.0001)
    left = settled(daemon)
    assert left < there
    leave(daemon, request("POST", "/networks/prune"))
    assert settled(daemon) <= left


def test_client_that_leaves_a_slow_answer(daemon: Daemon) -> None:
    """?wait=1 takes as long as the kernel; the removal goes on without its client."""
    create(daemon, "web")
    leave(daemon, request("DELETE", "/networks/web?wait=1"), 0.005)
    eventually(lambda: assert_equal(daemon))
    assert "web" not in networks(daemon)
    assert "level=error" not in daemon.log


def test_two_hosts_know_nothing_of_each_other(make_daemon: MakeDaemon) -> None:
    one, two = make_daemon(*POOL).start(), make_daemon(*POOL).start()
    same = {"IPAM": {"Config": [{"Subnet": "10.63.0.0/24"}]}, "Options": {"com.docker.network.bridge.name": "mine"}}
    for daemon in (one, two):
        assert create(daemon, "web", **same).status == 201
    assert one.http("DELETE", "/networks/web?wait=1").status == 204
    one.run("nft", "flush", "ruleset")
    one.kill()
    assert_equal(two)
    assert networks(two)["web"]["IPAM"]["Config"][0]["Subnet"] == "10.63.0.0/24"
    one.start()
    assert_equal(one)
    assert two.http("GET", "/towline/v1/state").json["counters"]["drift_repairs"] == 0
    ids = {daemon.http("GET", "/towline/v1/state").json["daemon_id"] for daemon in (one, two)}
    assert len(ids) == 2
