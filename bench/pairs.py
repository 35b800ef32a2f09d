"""Two hosts of one engine as a cluster: a namespace each, on one cable, with a network that spans both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.boxes import Boxes
from bench.client import Client, request_bytes
from bench.peers import Engine, EngineFailed

NETWORK, LOCAL = "wide", "local0"
_ADDRESSES = ("192.0.2.1", "192.0.2.2")
_POOL = ["172.24.0.0/14"]  # apart from that of local networks
_PATIENCE = 30.0


class Pair:
    """hosts[0] is a manager, hosts[1] a worker. `NETWORK` spans both, each has an internal `LOCAL` too."""

    def __init__(self, make: Callable[[Path], Engine | None], base: Path, stack: contextlib.ExitStack) -> None:
        self.engines: list[Engine] = []
        for side in ("a", "b"):
            engine = make(base.with_name(f"{base.name}-{side}"))
            if engine is None:
                raise EngineFailed(f"{base.name} is not here any more")
            stack.callback(engine.close)
            self.engines.append(engine)
        self.name = self.engines[0].name
        self._cable()
        for engine in self.engines:
            engine.start(60.0)
        self.hosts = [Boxes(engine) for engine in self.engines]
        for boxes in self.hosts:
            stack.callback(boxes.close)
            boxes.network(LOCAL, internal=True)
        self._cluster()

    def _cable(self) -> None:
        first, second = (engine.sandbox for engine in self.engines)
        first.ip(f"link add uplink type veth peer name uplink netns {second.first}")
        for sandbox, address in zip((first, second), _ADDRESSES, strict=True):
            other = _ADDRESSES[1] if address == _ADDRESSES[0] else _ADDRESSES[0]
            sandbox.ip(
                f"address add {address}/24 dev uplink",
                "link set uplink up",
                f"route add default via {other} dev uplink",
            )

    def _cluster(self) -> None:
        manager, worker = (boxes.client for boxes in self.hosts)
        listen = "0.0.0.0:2377"
        init = {"ListenAddr": listen, "AdvertiseAddr": _ADDRESSES[0], "DefaultAddrPool": _POOL, "SubnetSize": 24}
        manager.expect(200, _post("/swarm/init", init))
        swarm = msgspec.json.decode(manager.expect(200, request_bytes("GET", "/swarm")).body)
        token = swarm["JoinTokens"]["Worker"]
        join = {"ListenAddr": listen, "AdvertiseAddr": _ADDRESSES[1], "RemoteAddrs": [f"{_ADDRESSES[0]}:2377"]}
        worker.expect(200, _post("/swarm/join", {**join, "JoinToken": token}))
        self._until_ready()
        create_overlay(manager, NETWORK)

    def _until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            nodes = msgspec.json.decode(self.hosts[0].client.expect(200, request_bytes("GET", "/nodes")).body)
            if [node["Status"]["State"] for node in nodes] == ["ready", "ready"]:
                return
            if time.monotonic() > deadline:
                raise EngineFailed(f"{self.name}: the two hosts are not ready after {_PATIENCE:.0f} s")
            time.sleep(0.05)


def create_overlay(manager: Client, name: str, **options: str) -> None:
    """An attachable network without a way out."""
    network = {"Name": name, "Driver": "overlay", "Attachable": True, "Internal": True, "Options": options}
    manager.expect(201, _post("/networks/create", network))


def _post(target: str, body: object) -> bytes:
    return request_bytes("POST", target, msgspec.json.encode(body))
