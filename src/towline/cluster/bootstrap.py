"""A new cluster's first records, in one transaction."""

from __future__ import annotations

from msgspec.structs import replace

from towline.cluster import codec
from towline.cluster.contract import Compare, Etcd, PutKey
from towline.cluster.state import State
from towline.model.cluster import Cluster, Node, Secrets
from towline.model.errors import Conflict, Unavailable
from towline.model.requests import CreateNetwork
from towline.plan.global_network import plan_global_network

_ATTEMPTS = 5
INGRESS = CreateNetwork("ingress", driver="overlay", scope="swarm", enable_ipv4=True, ingress=True)


async def bootstrap(etcd: Etcd, cluster: Cluster, secrets: Secrets, node: Node, *, ingress_id: str, now: int) -> int:
    """The cluster, its secrets, its first node, and the network "ingress"; the revision of them.

    Conflict if etcd holds another cluster, or anything of one; called again for the same one it changes
    nothing. now: nanoseconds.
    """
    ingress, last_vni = plan_global_network(
        replace(INGRESS, ipam_driver="default"),
        cluster,
        State().networks,
        network_id=ingress_id,
        now=now,
        last_vni=0,
    )
    puts = (
        PutKey(codec.CLUSTER_KEY, codec.encode(replace(cluster, index=0))),
        PutKey(codec.SECRETS_KEY, codec.encode(secrets)),
        PutKey(codec.node_key(node.id), codec.encode(replace(node, index=0))),
        PutKey(codec.network_key(ingress.id), codec.encode(ingress)),
        PutKey(codec.NETWORKS_GUARD, codec.encode(codec.Guard(last_vni))),
    )
    cause = ""
    for _ in range(_ATTEMPTS):
        try:
            revision = await etcd.transact([Compare(codec.PREFIX, 0, prefix=True)], puts)
            if revision is not None:
                return revision
            found = await etcd.get(codec.CLUSTER_KEY)
        except Unavailable as error:
            cause = str(error)
            continue
        if not found.modified:
            raise Conflict(
                f"etcd holds remains of a cluster that is no more: etcdctl del --prefix {codec.PREFIX}, or give this "
                "cluster an empty etcd"
            )
        known = codec.decode(codec.CLUSTER_KEY, found.value)
        if isinstance(known, Cluster) and known.id == cluster.id:
            return found.created
        name = known.id if isinstance(known, Cluster) else "unknown"
        raise Conflict(f"etcd holds the cluster {name} already: join that one, or give this one an empty etcd")
    raise Unavailable(f"the cluster cannot be written to etcd: {cause}")
