"""Running containers, in each engine's own words: sandboxes for ours, busybox containers for Docker.

What happens to them afterwards (connect, disconnect, inspect) is the same request for both.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from bench.client import BadReply, Client, Reply, request_bytes, send_all
from bench.peers import OURS, Engine

CLIENTS = 8
FIRST_PORT = 20_000  # below the ephemeral range
_IMAGE = "bench"
_SLEEP = ["sleep", "1000000"]


class Box(msgspec.Struct, frozen=True):
    """targets: its ports that are published, the first on host port `first`, the second on the next, and so on."""

    name: str
    network: str
    targets: tuple[int, ...] = ()
    first: int = FIRST_PORT

    @property
    def published(self) -> Iterable[tuple[int, int]]:
        """(host port, port)."""
        return enumerate(self.targets, self.first)


class Dialect(Protocol):
    def create(self, box: Box) -> bytes: ...
    def start(self, name: str) -> bytes: ...
    def remove(self, name: str) -> bytes: ...


class _Ours:
    def create(self, box: Box) -> bytes:
        body = {
            "name": box.name,
            "networks": [{"network": box.network}],
            "command": _SLEEP,
            "ports": [f"{host}:{port}" for host, port in box.published],
        }
        return request_bytes("POST", "/towline/v1/sandboxes", msgspec.json.encode(body))

    def start(self, name: str) -> bytes:
        return request_bytes("POST", f"/towline/v1/sandboxes/{name}/start")

    def remove(self, name: str) -> bytes:
        return request_bytes("DELETE", f"/towline/v1/sandboxes/{name}?force=1")


class _Docker:
    def create(self, box: Box) -> bytes:
        body = {
            "Image": _IMAGE,
            "Cmd": _SLEEP,
            "ExposedPorts": {f"{port}/tcp": {} for port in box.targets},
            "HostConfig": {
                "NetworkMode": box.network,
                "PortBindings": {f"{port}/tcp": [{"HostPort": str(host)}] for host, port in box.published},
            },
        }
        return request_bytes("POST", f"/containers/create?name={box.name}", msgspec.json.encode(body))

    def start(self, name: str) -> bytes:
        return request_bytes("POST", f"/containers/{name}/start")

    def remove(self, name: str) -> bytes:
        return request_bytes("DELETE", f"/containers/{name}?force=1")


def connect_request(network: str, name: str) -> bytes:
    return request_bytes("POST", f"/networks/{network}/connect", msgspec.json.encode({"Container": name}))


def disconnect_request(network: str, name: str) -> bytes:
    return request_bytes("POST", f"/networks/{network}/disconnect", msgspec.json.encode({"Container": name}))


class Boxes:
    """The containers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.client = Client(engine.socket)
        self._dialect: Dialect = _Ours() if engine.name == OURS else _Docker()
        if engine.name != OURS:
            target = f"/images/create?fromSrc=-&repo={_IMAGE}"
            self.client.expect(200, request_bytes("POST", target, _image(), "application/x-tar"))

    def network(self, name: str, *, internal: bool = False) -> None:
        body = msgspec.json.encode({"Name": name, "Driver": "bridge", "Internal": internal})
        self.client.expect(201, request_bytes("POST", "/networks/create", body))

    def run(self, boxes: Sequence[Box]) -> None:
        """Create and start them, several at a time."""
        self._all(201, (self._dialect.create(box) for box in boxes))
        self._all(200 if self.engine.name == OURS else 204, (self._dialect.start(box.name) for box in boxes))

    def remove(self, names: Iterable[str]) -> None:
        self._all(204, (self._dialect.remove(name) for name in names))

    def connect(self, network: str, name: str) -> float:
        """Seconds."""
        return self.client.expect(200, connect_request(network, name)).seconds

    def disconnect(self, network: str, name: str) -> float:
        """Seconds."""
        return self.client.expect(200, disconnect_request(network, name)).seconds

    def namespace(self, name: str) -> str:
        """Path of its network namespace."""
        return self.engine.sandbox.namespace(self._shown(name)["State"]["Pid"])

    def address(self, name: str, network: str) -> str:
        return str(self._shown(name)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def close(self) -> None:
        self.client.close()

    def _shown(self, name: str) -> Any:
        return msgspec.json.decode(self.client.expect(200, request_bytes("GET", f"/containers/{name}/json")).body)

    def _all(self, status: int, requests: Iterable[bytes]) -> None:
        require(status, send_all(self.engine.socket, requests, CLIENTS))


def require(status: int, replies: Iterable[Reply]) -> None:
    """BadReply with the engine's words if one has another status."""
    for reply in replies:
        if reply.status != status:
            raise BadReply(f"{reply.status} instead of {status}: {reply.body[:300].decode(errors='replace')}")


def _image() -> bytes:
    """An image without a registry: a static busybox and the one applet that is needed."""
    program = shutil.which("busybox")
    if program is None:
        raise BadReply("no busybox here for Docker's containers")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(program, "bin/busybox")
        link = tarfile.TarInfo("bin/sleep")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    return made.getvalue()
