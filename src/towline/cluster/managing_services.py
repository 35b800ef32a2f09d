"""Services: created, changed and removed by a manager, each in one transaction. docs/design/cluster.md, Services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from towline.cluster import codec
from towline.cluster.contract import Compare, DeleteKey, PutKey
from towline.cluster.feed import Feed
from towline.cluster.managing_networks import readable
from towline.cluster.settling import check_settled
from towline.cluster.state import State
from towline.cluster.transactions import Commits, Transaction, same_life, unchanged
from towline.model.cluster import Block
from towline.model.network import Network
from towline.model.requests import CreateService, UpdateService
from towline.model.service import Member, Service, ServiceStatus, places_of
from towline.plan.service import blocks_of, plan_ports, plan_vips
from towline.policy.rpc import refusal
from towline.policy.service import admit_service, admit_update, check_service_removal


class Services:
    """One change at a time on each manager: the next one is planned on a copy that has the last one."""

    def __init__(self, feed: Feed, commits: Commits, *, new_id: Callable[[], str], clock: Callable[[], int]) -> None:
        self._feed = feed
        self._commits = commits
        self._new_id = new_id
        self._clock = clock
        self._one = asyncio.Lock()

    async def create(self, request: CreateService) -> Service:
        """Networks by their ids. Errors of `policy.service` and `plan.service`; Unavailable without etcd."""
        service_id, now = self._new_id(), self._clock()
        planned: list[Service] = []

        def plan(state: State) -> Transaction:
            _readable(state)
            wanted = admit_service(request, state.networks, state.services)
            service, then = _change(state, replace(wanted, id=service_id, created=now, updated=now), None)
            planned.append(service)
            return then

        await self._commits.run(
            plan,
            what=f"service {request.name[:64]} cannot be created",
            proof=lambda state: state.services.get(service_id) is not None,
            one=self._one,
        )
        return self._feed.state.services.get(service_id) or planned[-1]

    async def update(self, service_id: str, request: UpdateService) -> Service:
        """NotFound, and as `create`."""
        planned: list[Service] = []
        now = self._clock()

        def plan(state: State) -> Transaction:
            _readable(state)
            known = _known(state, service_id)
            wanted = replace(admit_update(request, known, state.networks, state.services), updated=now)
            service, then = _change(state, wanted, known)
            planned.append(service)
            return then

        def done(state: State) -> bool:
            found = state.services.get(service_id)
            return found is not None and bool(planned) and replace(found, index=0) == replace(planned[-1], index=0)

        await self._commits.run(plan, what=f"service {service_id[:64]} cannot be changed", proof=done, one=self._one)
        return self._feed.state.services.get(service_id) or planned[-1]

    async def remove(self, service_id: str, *, force: bool) -> None:
        """Its addresses and ports are free at once. NotFound; Conflict while it has running members, unless forced."""
        await self._commits.run(
            lambda state: self._removal(state, service_id, force=force),
            what=f"service {service_id[:64]} cannot be removed",
            proof=lambda state: state.services.get(service_id) is None,
            one=self._one,
        )

    def _removal(self, state: State, service_id: str, *, force: bool) -> Transaction:
        service = _known(state, service_id)
        check_service_removal(service, [member.name for member in members_of(state, service)], force=force)
        key = codec.service_key(service_id)
        blocks = (DeleteKey(codec.block_key(*block)) for block in blocks_of(service.vips))
        return Transaction(
            when=(unchanged(state, codec.SERVICES_GUARD), unchanged(state, key)),
            then=(_guard(), DeleteKey(key), *blocks),
        )

    def statuses(self) -> list[ServiceStatus]:
        state = self._feed.state
        return [ServiceStatus(service, tuple(members_of(state, service))) for service in state.services.all()]


def members_of(state: State, service: Service) -> Iterable[Member]:
    """Running sandboxes with an endpoint on a network of the service."""
    places = places_of(service)
    found: dict[str, Member] = {}
    for peer in state.peers.of_service(service.id):
        if peer.network not in places:
            continue
        addresses = {peer.network: tuple(filter(None, (peer.ipv4, peer.ipv6)))}
        known = found.get(peer.sandbox or peer.id)
        if known is not None:
            found[known.sandbox] = replace(known, addresses={**known.addresses, **addresses})
            continue
        node = state.nodes.get(peer.node)
        found[peer.sandbox or peer.id] = Member(
            sandbox=peer.sandbox or peer.id,
            name=peer.name,
            node=peer.node,
            hostname=node.description.hostname if node is not None else "",
            up=peer.node in state.alive,
            addresses=addresses,
        )
    return found.values()


def _readable(state: State) -> None:
    for kind in (codec.SERVICE, codec.BLOCK):
        readable(state, kind)


def _known(state: State, service_id: str) -> Service:
    service = state.services.get(service_id)
    if service is None:
        raise refusal("NotFound", f"service {service_id[:64]} not found")
    return service


def _change(state: State, wanted: Service, before: Service | None) -> tuple[Service, Transaction]:
    """wanted: admitted, with the virtual addresses that it has. The record, and what writes it with what it takes and
    gives back."""

    def is_free(protocol: str, port: int) -> bool:
        other = state.services.publishing(protocol, port)
        on_hosts = state.services.publishing_on_hosts(protocol, port, besides=wanted.id)
        return on_hosts is None and (other is None or other.id == wanted.id)

    service = plan_ports(wanted, is_free)
    service, taken = plan_vips(service, _with_vips(state, service), state.blocks.taken)
    kept = set(blocks_of(service.vips))
    returned = [block for block in blocks_of(before.vips) if block not in kept] if before is not None else []
    key = codec.service_key(service.id)
    epochs = {block.network: state.version(codec.blocks_guard(block.network)).modified or 1 for block in taken}
    when = [unchanged(state, codec.SERVICES_GUARD), unchanged(state, key)]
    when += [same_life(state, codec.network_key(network_id)) for network_id in sorted(places_of(service))]
    then: list[PutKey | DeleteKey] = [_guard(), PutKey(key, codec.encode(replace(service, index=0)))]
    for network_id in epochs:
        check_settled(state, network_id)
        guard = codec.blocks_guard(network_id)
        when.append(unchanged(state, guard))
        then.append(PutKey(guard, codec.encode(codec.Guard())))
    for block in taken:
        when.append(Compare(_block_key(block), 0))
        then.append(PutKey(_block_key(block), codec.encode(replace(block, epoch=epochs[block.network]))))
    then += [DeleteKey(codec.block_key(*block)) for block in returned]
    return service, Transaction(tuple(when), tuple(then))


def _with_vips(state: State, service: Service) -> list[Network]:
    """Networks on which it has an address: its own, and the ingress network for ports that every node publishes."""
    found = [state.networks.get(network_id) for network_id in service.networks] if service.mode == "vip" else []
    if service.ingress_ports:
        found.append(state.networks.ingress())
    return [network for network in found if network is not None]


def _block_key(block: Block) -> str:
    return codec.block_key(block.network, block.prefix)


def _guard() -> PutKey:
    return PutKey(codec.SERVICES_GUARD, codec.encode(codec.Guard()))
