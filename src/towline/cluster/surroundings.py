"""What a node in a cluster needs of the rest of the daemon."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from towline.cluster.contract import Replica
from towline.model.cluster import Description, HostInterface, Node, Underlay
from towline.model.events import Event
from towline.model.network import Network
from towline.model.secure import KeyFile, SecureKey


class Encryption(Protocol):
    """`control.encryption.Encryption`. keys: what the others must know. trouble: in words, "" if there is none."""

    trouble: str

    def restore(self, node: str, cluster: str, file: KeyFile, changed: Callable[[], None]) -> None: ...
    def start(self) -> None: ...
    def hear(self, nodes: Mapping[str, Node], alive: Collection[str]) -> None: ...
    def keys(self) -> tuple[SecureKey, ...]: ...
    def rotate(self) -> None: ...
    def local_change(self, network_id: str) -> None: ...
    async def admit(self, network: Network) -> None: ...
    async def leave(self) -> None: ...
    async def close(self) -> None: ...


async def _nothing() -> None: ...


@dataclass(frozen=True)
class Surroundings:
    """identify: by id and VTEP address who this node is, empty: in no cluster. set_data_path: where it sends and takes
    encapsulated packets (None: nowhere), and the addresses of all nodes. interfaces: the host's. underlay: by (bare
    address, UDP port). repairs: how many differences of store and kernel have been set right. clock: nanoseconds since
    the epoch. ensure_gateway: make the network by which sandboxes on global networks get out; raises nothing. store:
    URL of an etcd that is not ours, "": managers run their own. default_advertise: address or interface."""

    replica: Replica
    identify: Callable[[str, str], None]
    set_data_path: Callable[[Underlay | None, Collection[str]], Awaitable[None]]
    interfaces: Callable[[], Awaitable[Sequence[HostInterface]]]
    underlay: Callable[[str, int], Awaitable[Underlay]]
    describe: Callable[[], Description]
    publish: Callable[[Event], None]
    encryption: Encryption
    repairs: Callable[[], int]
    clock: Callable[[], int] = time.time_ns
    ensure_gateway: Callable[[], Awaitable[None]] = _nothing
    store: str = ""
    default_advertise: str = ""
