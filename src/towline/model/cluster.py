"""Records of a cluster: itself, its nodes, and what nodes tell each other of endpoints and addresses.

Ids of the cluster, of nodes and of global networks are 25 digits of base 36, as Docker's (swarmkit identity).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["worker", "manager"]
Availability = Literal["active", "pause", "drain"]
FIRST_VNI = 4096
DATA_PATH_PORT = 4789
LISTEN_PORT = 2377


class NodeSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator decides of a node. role: wanted; what it is, its certificate says."""

    role: Role = "worker"
    availability: Availability = "active"
    name: str = ""
    labels: dict[str, str] = {}


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node says of itself. memory: bytes."""

    hostname: str = ""
    architecture: str = ""
    os: str = "linux"
    nano_cpus: int = 0
    memory: int = 0
    engine_version: str = ""
    network_drivers: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """created, updated: nanoseconds since the epoch. address: bare IP by which managers see it. data_path: bare IP of
    its VTEP. manager_address: host:port of its node API while it is a manager, else "". index: revision of its last
    change.
    """

    id: str
    created: int
    updated: int = 0
    spec: NodeSpec = NodeSpec()
    description: Description = Description()
    address: str = ""
    data_path: str = ""
    manager_address: str = ""
    index: int = 0


class Alive(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's last report; it vanishes with the node's lease. revision: of the cluster, applied there. clock: its
    clock when it reported, nanoseconds; skew: its clock less the manager's, seconds. repairs: rows and links set right.
    """

    node: str
    revision: int = 0
    clock: int = 0
    skew: float = 0.0
    repairs: int = 0
    problem: str = ""


class Cluster(msgspec.Struct, frozen=True, omit_defaults=True):
    """spec: Docker's Spec as sent, with defaults filled in. ca: certificate of the root, PEM. pools: CIDR."""

    id: str
    created: int
    updated: int = 0
    spec: dict[str, object] = {}
    ca: str = ""
    pools: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = DATA_PATH_PORT
    index: int = 0


class Secrets(msgspec.Struct, frozen=True):
    """Never leaves the managers. ca_key: PEM. Tokens in full, as `docker swarm join-token` shows them."""

    ca_key: str
    worker_token: str
    manager_token: str


class Peer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint on a global network as the other nodes know it.

    id: of the endpoint. ipv4, ipv6: CIDR or "". vtep: bare address of the node's data path. epoch: counts moves.
    """

    id: str
    network: str
    node: str
    vtep: str
    mac: str
    sandbox: str = ""
    name: str = ""
    ipv4: str = ""
    ipv6: str = ""
    dns_names: tuple[str, ...] = ()
    epoch: int = 1


class Block(msgspec.Struct, frozen=True, omit_defaults=True):
    """Part of a subnet, leased to a node: it alone hands out addresses of it. prefix: CIDR; subnet: the pool's."""

    network: str
    subnet: str
    prefix: str
    node: str
    epoch: int = 1

    @property
    def id(self) -> str:
        return f"{self.network}/{self.prefix}"


class Underlay(msgspec.Struct, frozen=True):
    """Where this node sends and receives VXLAN: its own address, the UDP port, and the MTU of the uplink (bytes)."""

    local: str
    port: int = DATA_PATH_PORT
    mtu: int = 1500
