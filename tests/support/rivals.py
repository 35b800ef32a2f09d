"""Managers that compete for names, VXLAN ids, subnets and blocks on one etcd, and what must hold afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from tests.support.managers import node
from towline.cluster import codec
from towline.cluster.contract import Etcd
from towline.cluster.manager import Manager
from towline.cluster.state import State
from towline.ipam.prefix import format_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import Block
from towline.model.errors import Conflict, Failure, Forbidden, TowlineError, Unavailable
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest
from towline.plan.global_network import VNI_LIST, vnis_of

Outcome = Network | TowlineError


def rival_request(random: Random, names: int) -> CreateNetwork:
    """Names repeat, also in other case; given subnets overlap; some bring VXLAN ids of their own."""
    name = f"net{random.randrange(names)}"
    asked: tuple[PoolRequest, ...] = ()
    if random.random() < 0.4:
        length = random.choice([16, 20, 24, 24, 24])
        asked = (PoolRequest(str(parse_prefix(f"10.{random.randrange(4)}.{random.randrange(256)}.0/{length}"))),)
    options = {VNI_LIST: str(random.randrange(4096, 4200))} if random.random() < 0.2 else {}
    return CreateNetwork(
        random.choice([name, name.upper()]),
        driver="overlay",
        pools=asked,
        options=options,
        enable_ipv6=random.random() < 0.2,
    )


async def compete(managers: Sequence[Manager], requests: Sequence[CreateNetwork]) -> list[Outcome]:
    """Each request is a client of one of the managers; all at once."""

    async def one(at: int, request: CreateNetwork) -> Outcome:
        try:
            return await managers[at % len(managers)].networks.create(request)
        except TowlineError as error:
            return error

    return await asyncio.gather(*(one(at, request) for at, request in enumerate(requests)))


async def check_networks(etcd: Etcd, requests: Sequence[CreateNetwork], outcomes: Sequence[Outcome]) -> list[Network]:
    """Who was told yes has what it was told; nothing is given twice; who was told no was told why."""
    found = await etcd.range(codec.PREFIX)
    kept = State(found.revision, found.items).networks.all()
    told = [each for each in outcomes if isinstance(each, Network)]
    unknown = [each for each in outcomes if isinstance(each, Unavailable)]
    by_id = {each.id: each for each in kept}
    for each in told:
        assert by_id.get(each.id) == each
    assert len(kept) - 1 - len(told) in range(len(unknown) + 1)
    names = [each.name.lower() for each in kept]
    assert len(names) == len(set(names))
    vnis = [vni for each in kept for vni in vnis_of(each)]
    assert len(vnis) == len(set(vnis))
    subnets = PrefixSet()
    for pool in (pool for each in kept for pool in each.pools):
        assert not subnets.overlaps(pool.subnet)
        subnets.add(pool.subnet)
    for request, outcome in zip(requests, outcomes, strict=True):
        if isinstance(outcome, TowlineError) and not isinstance(outcome, Unavailable):
            assert _why(request, kept)(outcome), (request, outcome)
    return kept


def _why(request: CreateNetwork, kept: Sequence[Network]) -> Callable[[TowlineError], bool]:
    """A reason for the refusal is still there: nothing was removed meanwhile."""

    def true(error: TowlineError) -> bool:
        same = [each for each in kept if each.name.lower() == request.name.lower()]
        if isinstance(error, Failure):
            return "name conflicts" in str(error) and bool(same)
        if isinstance(error, Conflict) and "already exists" in str(error):
            return any(each.name == request.name for each in same)
        if isinstance(error, Conflict):
            return any(int(request.options[VNI_LIST]) in vnis_of(each) for each in kept)
        taken = PrefixSet(pool.subnet for each in kept for pool in each.pools)
        return isinstance(error, Forbidden) and taken.overlaps(request.pools[0].subnet)

    return true


async def compete_for_blocks(managers: Sequence[Manager], network: Network, leases: Sequence[int]) -> list[Block]:
    """leases: numbers of nodes, each asks once, all at once, some for an address; the blocks that were given."""
    subnet = parse_prefix(network.pools[0].subnet)

    async def one(at: int, owner: int) -> Block | None:
        manager = managers[at % len(managers)]
        address = format_address(subnet.start + at * 7 % subnet.size, subnet.v6) if at % 3 == 0 else ""
        try:
            return await manager.lease_block(node(owner).id, network.id, str(subnet), address)
        except (Unavailable, Conflict):
            return None

    given = await asyncio.gather(*(one(at, owner) for at, owner in enumerate(leases)))
    return [block for block in given if block is not None]


async def check_blocks(etcd: Etcd, network: Network, given: Sequence[Block]) -> None:
    found = await etcd.range(codec.blocks_prefix(network.id))
    kept = {block.id: block for item in found.items if isinstance(block := codec.decode(item.key, item.value), Block)}
    assert len(kept) == len(found.items)
    for block in given:
        assert kept[block.id] == block  # so what was given twice, was given to one node, for addresses of it
    taken = PrefixSet()
    for block in kept.values():
        assert not taken.overlaps(block.prefix)
        taken.add(block.prefix)
