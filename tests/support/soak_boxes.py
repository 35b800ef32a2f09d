"""A client that runs, joins, stops and kills sandboxes at random and remembers what it was told."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import dns.exception

from tests.support import boxes
from tests.support.boxes import SANDBOXES
from tests.support.daemon import Answer, Daemon
from tests.support.polling import eventually
from tests.support.remains import end_exactly
from tests.support.soak import CUT

MOST = 3  # sandboxes of one client at a time
PATIENCE = 20.0
Shape = dict[str, Any]


class BoxClient:
    """known: name -> what must be there: id, state, and per network its addresses and MAC. Each client has two networks
    and a range of ports of its own."""

    def __init__(self, daemon: Daemon, number: int, seed: int, wait_up: Callable[[], object]) -> None:
        self._daemon = daemon
        self._random = random.Random(f"{seed}/boxes/{number}")
        self._number = number
        self._wait_up = wait_up
        self._count = 0
        self.networks = [f"b{number}-{end}" for end in ("front", "back")]
        self.known: dict[str, Shape] = {}
        self.unsure: set[str] = set()
        self.cuts = 0

    def prepare(self) -> None:
        for index, name in enumerate(self.networks):
            net = 2 * self._number + index
            boxes.make_network(self._daemon, name, **boxes.pools(f"10.70.{net}.0/24", f"fd00:70:{net:x}::/64"))

    def step(self) -> None:
        verbs = (self._run, self._connect, self._disconnect, self._stop, self._start, self._kill, self._remove)
        (verb,) = self._random.choices((*verbs, self._look, self._ask), (6, 4, 3, 2, 3, 1, 3, 4, 3))
        try:
            verb()
        except CUT:
            self.cuts += 1
            self.settle()

    def settle(self) -> None:
        """Find out what became of what was cut off; all else must be as it was."""
        while True:
            self._wait_up()
            try:
                found = {name: self._shape(name) for name in sorted(set(self.known) | self.unsure)}
            except CUT:
                continue
            break
        for name, shape in found.items():
            before = self.known.get(name)
            if name not in self.unsure:
                assert shape == before, name
            elif shape is None:
                self.known.pop(name, None)
            else:
                self._check_same(before, shape)
                self.known[name] = shape
        self.unsure.clear()

    def check(self) -> None:
        for name, shape in self.known.items():
            assert self._shape(name) == shape, name

    def _check_same(self, before: Shape | None, shape: Shape) -> None:
        """Whatever became of it, what was given once stays."""
        if before is not None:
            assert shape["id"] == before["id"]
            for network in before["networks"].keys() & shape["networks"].keys():
                assert shape["networks"][network] == before["networks"][network]

    def _shape(self, name: str) -> Shape | None:
        answer = self._daemon.http("GET", f"{SANDBOXES}/{name}")
        if answer.status == 404:
            return None
        shown = answer.json
        networks = {e["network_name"]: (e["ipv4"], e["ipv6"], e["mac"]) for e in shown["endpoints"]}
        return {"id": shown["id"], "state": shown["state"], "networks": networks}

    def _do(self, name: str, method: str, path: str, body: object = None) -> Answer:
        self.unsure.add(name)
        answer = self._daemon.http(method, path, body)
        self.unsure.discard(name)
        return answer

    def _learn(self, name: str) -> None:
        self.unsure.add(name)
        shape = self._shape(name)
        self.unsure.discard(name)
        assert shape is not None
        self._check_same(self.known.get(name), shape)
        self.known[name] = shape

    def _pick(self, state: str = "") -> str:
        names = [name for name, shape in sorted(self.known.items()) if state in ("", shape["state"])]
        return self._random.choice(names) if names else ""

    def _run(self) -> None:
        if len(self.known) >= MOST:
            return self._remove()
        self._count += 1
        name = f"s{self._number}-{self._count}"
        ports = [f"{20000 + 100 * self._number + self._count % 50}:80"] if self._random.random() < 0.5 else ["80/udp"]
        asked = [{"network": n, "aliases": [f"any{self._number}"]} for n in self._some_networks()]
        body = {"name": name, "networks": asked, "ports": ports, "command": list(boxes.SLEEP)}
        assert self._do(name, "POST", SANDBOXES, body).status == 201
        self._learn(name)
        return self._begin(name)

    def _begin(self, name: str) -> None:
        answer = self._do(name, "POST", f"{SANDBOXES}/{name}/start", {})
        assert answer.status == 200, answer
        self._learn(name)
        assert self.known[name]["state"] == "running"

    def _some_networks(self) -> list[str]:
        return self._random.choice((self.networks[:1], self.networks[1:], self.networks, self.networks[::-1]))

    def _start(self) -> None:
        if name := self._pick("exited") or self._pick("created"):
            self._begin(name)

    def _stop(self) -> None:
        if name := self._pick("running"):
            assert self._do(name, "POST", f"{SANDBOXES}/{name}/stop?t=5").status == 204
            self.known[name]["state"] = "exited"

    def _remove(self) -> None:
        if name := self._pick():
            assert self._do(name, "DELETE", f"{SANDBOXES}/{name}?force=1").status == 204
            del self.known[name]

    def _kill(self) -> None:
        """Its process, from outside."""
        name = self._pick("running")
        if not name:
            return
        self.unsure.add(name)
        if pid := boxes.pid_of(self._daemon, name):
            end_exactly(pid, signal.SIGKILL)
        eventually(lambda: self._is_exited(name), PATIENCE)
        self.unsure.discard(name)
        self.known[name]["state"] = "exited"

    def _is_exited(self, name: str) -> None:
        shape = self._shape(name)
        assert shape is not None
        assert shape["state"] == "exited"

    def _connect(self) -> None:
        if name := self._pick():
            network = self._random.choice(self.networks)
            answer = self._do(name, "POST", f"/networks/{network}/connect", {"Container": name})
            joined = network in self.known[name]["networks"]
            assert answer.status == (403 if joined else 200), answer
            self._learn(name)
            assert network in self.known[name]["networks"]

    def _disconnect(self) -> None:
        if name := self._pick():
            network = self._random.choice(self.networks)
            answer = self._do(name, "POST", f"/networks/{network}/disconnect", {"Container": name})
            assert answer.status == (200 if network in self.known[name]["networks"] else 500), answer
            self._learn(name)
            assert network not in self.known[name]["networks"]

    def _look(self) -> None:
        if name := self._pick():
            assert self._shape(name) == self.known[name]

    def _ask(self) -> None:
        """A running sandbox knows by name exactly the running ones that share a network with it."""
        name, other = self._pick("running"), self._pick()
        if not name or not self.known[name]["networks"]:
            return
        shared = self.known[name]["networks"].keys() & self.known[other]["networks"].keys()
        wanted = {self.known[other]["networks"][n][0].partition("/")[0] for n in shared}
        if self.known[other]["state"] != "running":
            wanted = set()
        with closing(boxes.enter(self._daemon, name)) as box, suppress(dns.exception.Timeout):
            found = set(box.ask(other, patience=2.0))
            assert found <= wanted, (name, other)
            assert bool(found) == bool(wanted), (name, other)
