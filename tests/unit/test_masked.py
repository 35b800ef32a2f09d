"""What holds secrets does not tell them when it is shown."""

from __future__ import annotations

import pytest

from towline.api.wire_swarm import JoinRequest as ApiJoin
from towline.api.wire_swarm import UnlockRequest
from towline.cluster.etcd_gateway import Login
from towline.cluster.identity import Credentials
from towline.cluster.node_api import JoinRequest, MemberGrant
from towline.cluster.pki import KeyPair
from towline.cluster.tokens import Token
from towline.model.cluster import Cluster, Secrets, Swarm
from towline.model.requests import JoinSwarm
from towline.policy.swarm import JoinPlan
from towline.policy.swarm_address import HostPort

_HOLDERS = [
    Secrets("hush", "hush", "hush", "open", "hush"),
    Swarm(Cluster("open", 1), "hush", "hush"),
    JoinSwarm(token="hush", listen_addr="open"),
    JoinPlan(HostPort("open", 1), None, "", (), "hush", "active"),
    ApiJoin(join_token="hush", listen_addr="open"),
    UnlockRequest("hush"),
    JoinRequest("hush", "open", 1),
    MemberGrant("open", "open", "hush", 1, {}),
    Credentials("open", "hush", "open"),
    KeyPair("open", "hush"),
    Token("open", "hush"),
    Login("open", "hush"),
]


@pytest.mark.parametrize("holder", _HOLDERS, ids=lambda holder: type(holder).__name__)
def test_secrets_are_not_shown(holder: object) -> None:
    for text in (repr(holder), str(holder), f"{holder}", repr([holder])):
        assert "hush" not in text
        assert "***" in text
        assert type(holder).__name__ in text
        assert "open" in text or isinstance(holder, UnlockRequest)


def test_an_absent_secret_is_shown_as_absent() -> None:
    assert repr(JoinSwarm()) == (
        "JoinSwarm(listen_addr='', advertise_addr='', data_path_addr='', remote_addrs=(), token='', availability='')"
    )
