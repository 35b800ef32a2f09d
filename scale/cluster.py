"""The real half: one member of etcd, one manager with its node API, and the nodes that it admitted."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from scale.wire import Seed
from towline.cluster import pki
from towline.cluster.founding import Founding, founding
from towline.cluster.identity import Credentials, Identity, IdentityFiles
from towline.cluster.ids import new_id
from towline.cluster.manager import Manager
from towline.cluster.stack import Stack
from towline.model.cluster import DATA_PATH_PORT, Description, Node
from towline.policy.swarm import InitPlan
from towline.policy.swarm_address import HostPort
from towline.policy.swarm_spec import default_spec

_HOST = "127.0.0.1"
_YEAR = 365 * 86400.0
_METRICS = {
    "etcd_mvcc_txn_total": "transactions",  # those of several changes only
    "etcd_mvcc_put_total": "puts",
    "etcd_network_client_grpc_received_bytes_total": "bytes_in",
    "etcd_network_client_grpc_sent_bytes_total": "bytes_out",
    "etcd_disk_wal_fsync_duration_seconds_count": "fsyncs",
    "process_cpu_seconds_total": "cpu_seconds",
    "process_resident_memory_bytes": "resident",
    "etcd_mvcc_db_total_size_in_bytes": "database",
}
_LINE = re.compile(r"^([a-z_]+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class ScaledCluster:
    """folder: empty. `start`, `admit`, `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._founded: Founding = founding(_plan(_free_port()), Description(hostname="manager"), time.time_ns())
        self._files = IdentityFiles(folder / "manager")
        self._files.begin(self._founded.identity, self._founded.credentials)
        self._stack = Stack(self._founded.identity, self._files, store="", clock=time.time_ns)

    @property
    def manager(self) -> Manager:
        return self._stack.manager

    async def start(self) -> None:
        await self._stack.found(self._founded.cluster, self._founded.secrets, self._founded.node)

    @property
    def address(self) -> str:
        """Of the manager's node API."""
        return self._founded.node.manager_address

    async def close(self) -> None:
        await self._stack.close()

    async def admit(self, at: int) -> Seed:
        """A new node of the cluster, with its files."""
        vtep = f"10.{16 + (at >> 16)}.{at >> 8 & 255}.{at & 255}"
        description = Description(hostname=f"host{at}", architecture="x86_64", nano_cpus=2 * 10**9, memory=1 << 34)
        node = Node(id=new_id(), created=time.time_ns(), description=description, address=vtep, data_path=vtep)
        node = await self.manager.nodes.admit(node)
        signing = pki.new_request()
        cluster = self._founded.cluster
        root = pki.KeyPair(cluster.ca, self._founded.secrets.ca_key)
        certificate = pki.issue_node(
            root, signing.certificate, pki.Subject(node.id, "worker", cluster.id), seconds=_YEAR
        )
        files = IdentityFiles(self._folder / node.id)
        identity = Identity(node.id, cluster.id, _HOST, _HOST, node.data_path)
        files.begin(identity, Credentials(certificate, signing.key, cluster.ca))
        return Seed(at, str(self._folder / node.id), node)

    async def etcd(self) -> dict[str, float]:
        """Its counters since it started."""
        tls = self._files.etcd_tls
        context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
        context.load_cert_chain(tls / "member.pem", tls / "member.key")
        url = f"https://{_HOST}:{self._founded.identity.port + 2}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
            text = await answer.text()
        found: dict[str, float] = {}
        for name, value in _LINE.findall(text):
            if name in _METRICS:
                found[_METRICS[name]] = found.get(_METRICS[name], 0.0) + float(value)
        return found


def _plan(port: int) -> InitPlan:
    here = HostPort(_HOST, port)
    return InitPlan(here, here, _HOST, _HOST, DATA_PATH_PORT, ("10.0.0.0/8",), 24, "active", default_spec())


def _free_port() -> int:
    """The first of three in a row that nobody has now."""
    for port in range(20377, 30000, 7):
        opened: list[socket.socket] = []
        try:
            opened = [socket.create_server((_HOST, port + more)) for more in range(3)]
        except OSError:
            continue
        finally:
            _close(opened)
        return port
    raise OSError("no three free ports in a row")


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()
