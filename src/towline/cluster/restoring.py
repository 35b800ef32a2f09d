"""A backup put back: who this node is in that cluster, and what is different afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from towline.cluster import codec, pki
from towline.cluster.backup import Backup
from towline.cluster.contract import Compare, Etcd, PutKey
from towline.cluster.identity import Credentials, Identity
from towline.cluster.ids import new_id
from towline.cluster.settling import RESTORED
from towline.model.cluster import FIRST_VNI, Cluster, Description, Node, Secrets
from towline.model.errors import Conflict, Unavailable
from towline.policy.swarm import InitPlan
from towline.policy.swarm_address import HostPort
from towline.policy.swarm_spec import cert_expiry

_CHUNK, _CHUNK_BYTES = 90, 512 << 10
_ATTEMPTS = 5
_PAUSE = 0.5
_SKIPPED_VNIS = 2048
"""VXLAN ids that are passed over: networks of after the backup have them, on nodes that do not know yet that those are
gone."""
_VNIS = (1 << 24) - FIRST_VNI


class Restoration(NamedTuple):
    """node: this node's record; others: (key, value) of everything else that is put back."""

    identity: Identity
    credentials: Credentials
    cluster: Cluster
    secrets: Secrets
    node: Node
    others: tuple[tuple[str, bytes], ...]

    def __repr__(self) -> str:
        return f"Restoration({self.cluster.id}, node={self.identity.node})"


def for_new(backup: Backup, plan: InitPlan, description: Description, now: int) -> Restoration:
    """This host is in no cluster. If the backup has a node at its address, it is that one. now: nanoseconds."""
    mine = [node for node in backup.nodes if node.manager_address == str(plan.advertise)]
    mine += [node for node in backup.nodes if node.address == plan.advertise.host]
    identity = Identity(
        node=mine[0].id if mine else new_id(),
        cluster=backup.cluster.id,
        listen=plan.listen.host,
        advertise=plan.advertise.host,
        data_path=plan.data_path,
        local=plan.local,
        port=plan.listen.port,
        data_path_port=backup.cluster.data_path_port,
    )
    return _restoration(backup, identity, description, now)


def for_member(backup: Backup, identity: Identity, description: Description, now: int) -> Restoration:
    """This host is a node of that cluster; it becomes a manager if it was none. Conflict for another cluster's."""
    if identity.cluster != backup.cluster.id:
        raise Conflict(
            f"the backup is of cluster {backup.cluster.id}, and this node is in {identity.cluster}: restore it on a "
            "node of that cluster, or on one that is in none"
        )
    return _restoration(backup, identity, description, now)


def _restoration(backup: Backup, identity: Identity, description: Description, now: int) -> Restoration:
    address = str(HostPort(identity.advertise, identity.port))
    cluster = replace(
        backup.cluster,
        era=max(now // 1_000_000_000, backup.cluster.era + 1, identity.era + 1),
        updated=now,
        index=0,
    )
    known = next((node for node in backup.nodes if node.id == identity.node), Node(identity.node, now))
    node = replace(
        known,
        updated=now,
        spec=replace(known.spec, role="manager"),
        description=description,
        address=identity.advertise,
        data_path=identity.data_path,
        manager_address=address,
        index=0,
    )
    signing = pki.new_request()
    root = pki.KeyPair(cluster.ca, backup.secrets.ca_key)
    subject = pki.Subject(identity.node, "manager", cluster.id)
    certificate = pki.issue_node(root, signing.certificate, subject, seconds=cert_expiry(cluster.spec))
    return Restoration(
        identity=replace(identity, managers=(address,), era=cluster.era, enlisting=False),
        credentials=Credentials(certificate, signing.key, cluster.ca),
        cluster=cluster,
        secrets=backup.secrets,
        node=node,
        others=tuple(_others(backup, identity.node)),
    )


def _others(backup: Backup, own: str) -> Iterator[tuple[str, bytes]]:
    """No other node is a manager until it comes again."""
    for node in backup.nodes:
        if node.id != own:
            yield codec.node_key(node.id), codec.encode(replace(node, manager_address="", index=0))
    for key, value in backup.others:
        if key == codec.NETWORKS_GUARD and isinstance(guard := codec.decode(key, value), codec.Guard):
            last = FIRST_VNI + (max(guard.last_vni, FIRST_VNI) - FIRST_VNI + _SKIPPED_VNIS) % _VNIS
            value = codec.encode(replace(guard, last_vni=last))
        yield key, value


async def put_back(etcd: Etcd, what: Restoration) -> None:
    """The record of the cluster comes last: before that, there is none. Conflict if etcd is not empty. Unavailable."""
    if (await etcd.range(codec.PREFIX)).items:
        raise Conflict(
            f"the etcd holds records of a cluster: a backup is put back into an empty one. If they are of no use any "
            f"more: etcdctl del --prefix {codec.PREFIX}"
        )
    for chunk in _chunks(what.others):
        await _sure(etcd, (), [PutKey(key, value) for key, value in chunk])
    lease = await etcd.grant(RESTORED)
    last = (
        PutKey(codec.SECRETS_KEY, codec.encode(what.secrets)),
        PutKey(codec.node_key(what.node.id), codec.encode(what.node)),
        PutKey(codec.SETTLING_KEY, codec.encode(codec.Settling(what.cluster.era)), lease),
        PutKey(codec.CLUSTER_KEY, codec.encode(what.cluster)),
    )
    if await _sure(etcd, (Compare(codec.CLUSTER_KEY, 0),), last) is None:
        found = await etcd.get(codec.CLUSTER_KEY)
        if found.value != codec.encode(what.cluster):
            raise Conflict("another manager has begun a cluster in this etcd meanwhile")


def _chunks(items: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for key, value in items:
        if chunk and (len(chunk) == _CHUNK or size + len(value) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((key, value))
        size += len(key) + len(value)
    if chunk:
        yield chunk


async def _sure(etcd: Etcd, when: Sequence[Compare], then: Sequence[PutKey]) -> int | None:
    """Tried again where the answer is lost."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            return await etcd.transact(when, then)
        except Unavailable:
            if not left:
                raise
            await asyncio.sleep(_PAUSE)
    raise AssertionError
