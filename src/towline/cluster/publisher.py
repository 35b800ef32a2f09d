"""Makes the cluster's word of this node's endpoints what the node has."""

from __future__ import annotations

import asyncio

from towline.cluster.claims import Claims
from towline.cluster.contract import Link, Replica
from towline.cluster.following import Following
from towline.model.cluster import Peer
from towline.model.errors import Conflict


class Publisher:
    """One publication at a time."""

    def __init__(self, link: Link, replica: Replica, following: Following, claims: Claims) -> None:
        self._link = link
        self._replica = replica
        self._following = following
        self._claims = claims
        self._publishing = asyncio.Lock()

    async def publish(self, network_id: str) -> None:
        """Of one network. As `Link.publish`."""
        async with self._publishing:
            await self._publish_differences(network_id)

    async def _publish_differences(self, network_id: str) -> None:
        follower = self._following.networks.get(network_id)
        own = {peer.id: peer for peer in self._replica.own(network_id) if peer.id not in self._claims.lost}
        known = await self._published(network_id) if follower is None or follower.own is None else follower.own
        puts = [peer for peer in own.values() if known.get(peer.id) != peer]
        gone = [peer_id for peer_id in known if peer_id not in own]
        if not puts and not gone:
            return
        try:
            await self._tell(network_id, puts, gone)
        except Conflict:
            await self._tell_each(network_id, puts, gone)

    async def _tell_each(self, network_id: str, puts: list[Peer], gone: list[str]) -> None:
        """One whose address is another's by now keeps no other from being published. Raises the last refusal that is
        not for good."""
        await self._tell(network_id, [], gone)
        refusal: Conflict | None = None
        for peer in puts:
            try:
                await self._tell(network_id, [peer], [])
            except Conflict as error:
                refusal = await self._claim(peer, error) or refusal
        if refusal is not None:
            raise refusal

    async def _claim(self, peer: Peer, refusal: Conflict) -> Conflict | None:
        """What is left of the refusal."""
        outcome = await self._claims.claim(peer)
        if outcome == "regained":
            try:
                await self._tell(peer.network, [peer], [])
            except Conflict as error:
                return error
        return refusal if outcome == "had" else None

    async def _tell(self, network_id: str, puts: list[Peer], gone: list[str]) -> None:
        await self._link.publish(network_id, puts, gone)
        follower = self._following.networks.get(network_id)
        if follower is not None and follower.own is not None:
            follower.told(puts, gone)

    async def _published(self, network_id: str) -> dict[str, Peer]:
        return {peer.id: peer for peer in await self._link.published() if peer.network == network_id}
