"""A new cluster, before anything of it is kept: its first node's identity, its keys, its first records."""

from __future__ import annotations

from typing import NamedTuple

from towline.cluster import pki, tokens
from towline.cluster.identity import Credentials, Identity
from towline.cluster.ids import new_id
from towline.model.cluster import Cluster, Description, Node, NodeSpec, Secrets
from towline.policy.swarm import InitPlan
from towline.policy.swarm_spec import cert_expiry


class Founding(NamedTuple):
    identity: Identity
    credentials: Credentials
    cluster: Cluster
    secrets: Secrets
    node: Node


def founding(plan: InitPlan, description: Description, now: int) -> Founding:
    """now: nanoseconds since the epoch."""
    root, etcd_root = pki.new_root(), pki.new_root("etcd-ca")
    cluster = Cluster(
        id=new_id(),
        created=now,
        updated=now,
        spec=plan.spec,
        ca=root.certificate,
        pools=plan.pools,
        subnet_size=plan.subnet_size,
        data_path_port=plan.data_path_port,
    )
    secrets = Secrets(
        ca_key=root.key,
        worker_token=tokens.new_token(root.certificate),
        manager_token=tokens.new_token(root.certificate),
        etcd_ca=etcd_root.certificate,
        etcd_ca_key=etcd_root.key,
    )
    identity = Identity(
        node=new_id(),
        cluster=cluster.id,
        listen=plan.listen.host,
        advertise=plan.advertise.host,
        data_path=plan.data_path,
        local=plan.local,
        port=plan.listen.port,
        data_path_port=plan.data_path_port,
        managers=(str(plan.advertise),),
    )
    signing = pki.new_request()
    subject = pki.Subject(identity.node, "manager", cluster.id)
    certificate = pki.issue_node(root, signing.certificate, subject, seconds=cert_expiry(cluster.spec))
    node = Node(
        id=identity.node,
        created=now,
        updated=now,
        spec=NodeSpec(role="manager", availability=plan.availability),
        description=description,
        address=plan.advertise.host,
        data_path=plan.data_path,
        manager_address=str(plan.advertise),
    )
    return Founding(identity, Credentials(certificate, signing.key, root.certificate), cluster, secrets, node)
