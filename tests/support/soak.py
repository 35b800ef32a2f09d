"""A client that works at random and remembers what it was told, so that it knows what must be there."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.support.daemon import Answer, Daemon

CUT = (http.client.HTTPException, OSError)
SLOTS = 24  # subnets, bridge names: each client has its own
OPTION = "com.docker.network."
MODES = ("nat", "nat-unprotected", "routed")


class Client:
    """known: name -> id of what was acknowledged. bodies: what was asked for them. unsure: names whose last request
    was cut off. wait_up: blocks until the daemon is there again after it was killed."""

    def __init__(self, daemon: Daemon, number: int, seed: int, wait_up: Callable[[], object]) -> None:
        self._daemon = daemon
        self._number = number
        self._random = random.Random(f"{seed}/{number}")
        self._wait_up = wait_up
        self._count = 0
        self.known: dict[str, str] = {}
        self.bodies: dict[str, dict[str, Any]] = {}
        self.unsure: set[str] = set()
        self.cuts = 0

    def step(self) -> None:
        """One operation; if it is cut off, wait for the daemon and find out what became of it."""
        operation = self._random.choices(
            (self._create, self._remove, self._prune, self._list, self._inspect, self._fight), (8, 6, 0.4, 2, 3, 2)
        )[0]
        try:
            operation()
        except CUT:
            self.cuts += 1
            self.settle()

    def settle(self) -> None:
        while True:
            self._wait_up()
            try:
                found = self._own()
            except CUT:
                continue
            break
        sure = {name: i for name, i in self.known.items() if name not in self.unsure}
        assert {name: i for name, i in found.items() if name not in self.unsure} == sure
        for name in self.unsure:
            before = self.known.pop(name, None)
            if name in found:
                assert before in (None, found[name]), "a network came back with another id"
                self.known[name] = found[name]
            else:
                self.bodies.pop(name, None)
        self.unsure.clear()

    def _own(self) -> dict[str, str]:
        listed = self._daemon.http("GET", f"/networks?{self._mine()}").json
        return {network["Name"]: network["Id"] for network in listed}

    def _mine(self, key: str = "client") -> str:
        return urlencode({"filters": json.dumps({"label": {f"{key}={self._number}": True}})})

    def _create(self) -> None:
        if len(self.known) > 12:
            return self._remove()
        self._count += 1
        name = f"c{self._number}-{self._count}"
        body = self._body(name)
        self.unsure.add(name)
        self.bodies[name] = body
        answer = self._daemon.http("POST", "/networks/create", body)
        self.unsure.discard(name)
        if self._must_refuse(name, body):
            assert answer.status in (403, 409), answer
            del self.bodies[name]
        else:
            assert answer.status == 201, (body, answer)
            self.known[name] = answer.json["Id"]
        return None

    def _must_refuse(self, name: str, body: dict[str, Any]) -> bool:
        """Does it want what another network of ours has?"""
        others = [b for n, b in self.bodies.items() if n != name and n in self.known and not b.get("ConfigOnly")]
        wanted = _claims(body, self.bodies)
        return any(wanted & _claims(other, self.bodies) for other in others)

    def _remove(self) -> None:
        if not self.known:
            return
        name = self._random.choice(sorted(self.known))
        in_use = any(b.get("ConfigFrom", {}).get("Network") == name and n in self.known for n, b in self.bodies.items())
        self.unsure.add(name)
        wait = self._random.choice(("", "?wait=1"))
        answer = self._daemon.http("DELETE", f"/networks/{self._random.choice((name, self.known[name]))}{wait}")
        self.unsure.discard(name)
        if in_use:
            assert answer.status == 403, answer
            return
        assert answer.status == 204, (name, answer)
        del self.known[name], self.bodies[name]

    def _prune(self) -> None:
        """Config-only networks stay, and so do those that have no label of ours to be pruned by."""
        usual = {n for n in self.known if not self.bodies[n].get("ConfigOnly")}
        going = {n for n in usual if "prunable" in _source(self.bodies[n], self.bodies)["Labels"]}
        self.unsure |= going
        answer = self._daemon.http("POST", f"/networks/prune?{self._mine('prunable')}")
        self.unsure -= going
        if answer.status == 409:  # another client prunes just now
            return
        assert set(answer.json["NetworksDeleted"] or ()) == going
        for name in going:
            del self.known[name], self.bodies[name]

    def _list(self) -> None:
        assert self._own() == self.known

    def _inspect(self) -> None:
        if not self.known:
            return
        name = self._random.choice(sorted(self.known))
        shown = self._daemon.http("GET", f"/networks/{name}").json
        assert shown["Id"] == self.known[name]
        assert shown["ConfigOnly"] == bool(self.bodies[name].get("ConfigOnly"))
        if not shown["ConfigOnly"]:
            subnets = {config["Subnet"] for config in shown["IPAM"]["Config"]}
            assert _subnets(_source(self.bodies[name], self.bodies)) <= subnets, (shown, self.bodies)

    def _fight(self) -> None:
        """Names that all clients want: who has one changes all the time."""
        name = f"shared-{self._random.randrange(3)}"
        answer: Answer
        if self._random.random() < 0.5:
            answer = self._daemon.http("POST", "/networks/create", {"Name": name})
            assert answer.status in (201, 409), answer
        else:
            answer = self._daemon.http("DELETE", f"/networks/{name}")
            assert answer.status in (204, 404), answer

    def _body(self, name: str) -> dict[str, Any]:
        labels = {"client": str(self._number)}
        configs = [n for n in sorted(self.known) if self.bodies[n].get("ConfigOnly")]
        if configs and self._random.random() < 0.15:
            return {"Name": name, "ConfigFrom": {"Network": self._random.choice(configs)}}
        if self._random.random() < 0.6:
            labels["prunable"] = str(self._number)
        body: dict[str, Any] = {"Name": name, "Labels": labels, **self._pools()}
        if self._random.random() < 0.1:
            return {**body, "ConfigOnly": True}
        return {**body, **self._options(body)}

    def _pools(self) -> dict[str, Any]:
        slot, four = self._random.randrange(SLOTS), f"10.{100 + self._number}"
        choice = self._random.randrange(6)
        ipv4 = {"Subnet": f"{four}.{slot}.0/24"}
        if choice == 1:
            ipv4 |= {"IPRange": f"{four}.{slot}.128/25", "Gateway": f"{four}.{slot}.254"}
        if choice < 2:
            return {"IPAM": {"Config": [ipv4]}}
        if choice == 2:
            ipv6 = {"Subnet": f"fd00:{self._number}:{slot + 1:x}::/64"}
            return {"EnableIPv6": True, "IPAM": {"Config": [ipv4, ipv6]}}
        return {"EnableIPv6": True} if choice == 3 else {}

    def _options(self, body: dict[str, Any]) -> dict[str, Any]:
        """Options of the bridge driver, and what goes with them."""
        options, fields = {}, {}
        if self._random.random() < 0.3:
            options[f"{OPTION}bridge.name"] = f"t{self._number}-{self._random.randrange(SLOTS)}"
        if self._random.random() < 0.3:
            options[f"{OPTION}driver.mtu"] = str(self._random.randrange(1280, 9000))
        if self._random.random() < 0.3:
            options[f"{OPTION}bridge.enable_icc"] = "false"
        if self._random.random() < 0.5:
            options[f"{OPTION}bridge.gateway_mode_ipv4"] = self._random.choice(MODES)
        if self._random.random() < 0.2:
            fields["Internal"] = True
            if self._random.random() < 0.5 and "Gateway" not in str(body):
                options[f"{OPTION}bridge.gateway_mode_ipv4"] = "isolated"
        return {**fields, "Options": options}


Bodies = dict[str, dict[str, Any]]


def _source(body: dict[str, Any], bodies: Bodies) -> dict[str, Any]:
    """The body that holds the configuration: another one's for a network that is made from it."""
    return bodies[body["ConfigFrom"]["Network"]] if "ConfigFrom" in body else body


def _subnets(body: dict[str, Any]) -> set[str]:
    return {config["Subnet"] for config in body.get("IPAM", {}).get("Config", [])}


def _claims(body: dict[str, Any], bodies: Bodies) -> set[str]:
    """Subnets and bridge names that only one network can have."""
    if body.get("ConfigOnly"):
        return set()
    source = _source(body, bodies)
    name = source.get("Options", {}).get(f"{OPTION}bridge.name")
    return _subnets(source) | ({name} if name else set())
